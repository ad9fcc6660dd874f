package link

import (
	"errors"
	"io"
	"os"
	"time"
)

const (
	// lingerWait and lingerReadMax bound how long, and how much, a connection is
	// still read after a last packet that the Client should get.
	lingerWait    = 2 * time.Second
	lingerReadMax = 16 << 20
	// lingersMax is how many connections may do so at a time; further ones are
	// closed at once.
	lingersMax = 1024
	// lingerBytes is the size of the buffer for what is thrown away.
	lingerBytes = 4096
)

// MayLinger reports whether a connection may be read on after a last packet, so
// that its Client can read that even if it goes on sending: what the system finds
// unread at a close makes it tear the connection down, and take from the Client what
// that has not read. If so, Lingered must be called in the end.
func (n *Network) MayLinger() bool {
	if n.stopping.Load() {
		return false
	}
	if n.lingering.Add(1) > lingersMax {
		n.lingering.Add(-1)
		return false
	}
	return true
}

// Lingered says that a connection that might linger has ended.
func (n *Network) Lingered() { n.lingering.Add(-1) }

// Lingering is how many connections linger, or will when they end.
func (n *Network) Lingering() int64 { return n.lingering.Load() }

// Linger reads, and throws away, what comes until the peer has closed.
func (n *Network) Linger(t Transport) {
	r, ok := t.(io.Reader) // else it has its own way: see CloseWrite
	until := time.Now().Add(lingerWait)
	if !ok || t.SetReadDeadline(until) != nil || n.stopping.Load() {
		return
	}
	if s := socketOf(t); s != nil {
		n.waiting.addEnded(s) // whoever comes is more welcome
	}
	buf := ReadBuffers.Get(lingerBytes)
	defer ReadBuffers.Put(buf)
	for left := lingerReadMax; left > 0; {
		got, err := r.Read(buf[:cap(buf)])
		if err != nil && !n.lingersOn(t, err, until) {
			return
		}
		left -= got
	}
}

// lingersOn reports whether a read that failed was only woken, by hangups: then
// there is something to read up to the Client's end.
func (n *Network) lingersOn(t Transport, err error, until time.Time) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(until) &&
		t.SetReadDeadline(until) == nil && !n.stopping.Load()
}
