package broker

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
)

// closeWith writes last and closes, so that the Client can read it even if it goes
// on sending: what the system finds unread at a close makes it tear the connection
// down, and take from the Client what that has not read.
func (c *conn) closeWith(last []byte) {
	if len(last) > 0 && !c.marked(lingers) && !c.b.stopping.Load() {
		if c.b.lingering.Add(1) <= lingersMax {
			c.mark(lingers)
		} else {
			c.b.lingering.Add(-1)
		}
	}
	c.out.close(last)
}

// hangUp ends the Network Connection, when the Session has let go of it. A Client
// that has only ended its own side gets the answers that await a commit.
func (c *conn) hangUp() {
	if c.marked(finished) {
		c.out.settle()
	}
	c.closeWith(c.lastWord())
	if c.marked(lingers) {
		defer c.b.lingering.Add(-1)
		defer c.out.hangUp()
		c.linger()
	}
}

// linger reads, and throws away, what the Client sends until it has closed.
func (c *conn) linger() {
	r, ok := c.net.(io.Reader) // else it has its own way: see closeWrite
	until := time.Now().Add(lingerWait)
	if !ok || c.net.SetReadDeadline(until) != nil || c.b.stopping.Load() {
		return
	}
	if s := socketOf(c.net); s != nil {
		c.b.waiting.addEnded(s) // whoever comes is more welcome
	}
	buf := readBuffers.get(partialBytesMax)
	defer readBuffers.put(buf)
	for left := lingerReadMax; left > 0; {
		n, err := r.Read(buf[:cap(buf)])
		if err != nil && !c.lingersOn(err, until) {
			return
		}
		left -= n
	}
}

// lingersOn reports whether a read that failed was only woken, by hangups: then
// there is something to read up to the Client's end.
func (c *conn) lingersOn(err error, until time.Time) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(until) &&
		c.net.SetReadDeadline(until) == nil && !c.b.stopping.Load()
}
