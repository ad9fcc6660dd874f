package link

import (
	"errors"
	"io"
	"os"
	"time"
)

const (
	// lingerWait and lingerReadMax bound for how long, and how many bytes, a connection is
	// read after its last packet, and lingersMax how many are at a time.
	lingerWait    = 2 * time.Second
	lingerReadMax = 16 << 20
	lingersMax    = 1024
	lingerBytes   = 4096 // size of the buffer for what is thrown away
)

// MayLinger reports whether a connection may be read on after its last packet, so that a
// Client that goes on sending can read that: if something is unread at a close, the system
// resets the connection, and the Client loses what it has not read yet. If it may, Lingered
// must be called in the end.
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

// Lingering is how many connections linger, or may when they end.
func (n *Network) Lingering() int64 { return n.lingering.Load() }

// Linger reads and throws away what comes, until the peer has closed or the bounds are
// reached.
func (n *Network) Linger(t Transport) {
	r, ok := t.(io.Reader) // else it has its own way: see CloseWrite
	until := time.Now().Add(lingerWait)
	if !ok || t.SetReadDeadline(until) != nil || n.stopping.Load() {
		return
	}
	if s := socketOf(t); s != nil {
		s.listener.waiting.addEnded(s) // whoever comes is more welcome
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

// lingersOn reports whether a read that failed was only woken by hangups: then the rest up
// to the Client's end is there to be read.
func (n *Network) lingersOn(t Transport, err error, until time.Time) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(until) &&
		t.SetReadDeadline(until) == nil && !n.stopping.Load()
}
