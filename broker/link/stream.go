package link

import (
	"net"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// beginningBytes is the size of the buffer with which a stream waits.
const beginningBytes = 512

// A stream is a Transport over a net.Conn that can only block. It waits with a small buffer
// of its own, so that its Reader needs none meanwhile; while there seems to be more, it reads
// into that of its Reader.
type stream struct {
	// Static after accept.
	net.Conn
	listener *Listener
	socket   *socket // below it; nil: there is none

	// Owned by the reader.
	came      []byte // part of beginning that was not handled yet
	more      bool   // the last read filled its buffer
	beginning [beginningBytes]byte
}

func (t *stream) TryWrite([]byte) (int, error) { return 0, nil }

func (t *stream) Receive(r Reader) error { return receiveBy(r, t.read) }

// receiveBy is Receive by a read that blocks until bytes arrive.
func receiveBy(r Reader, read func(r Reader) (int, error)) error {
	for {
		n, err := read(r)
		if err != nil {
			return err
		}
		if !r.Received(n) {
			return nil
		}
		if err := r.Rearm(); err != nil {
			return err
		}
	}
}

func (t *stream) read(r Reader) (int, error) {
	if t.more && len(t.came) == 0 {
		room := r.Room()
		n, err := t.Read(room)
		t.more = n == len(room)
		return n, err
	}
	if len(t.came) == 0 {
		r.Idle()
		n, err := t.Read(t.beginning[:])
		if n == 0 {
			return 0, err
		}
		t.came, t.more = t.beginning[:n], n == len(t.beginning) // an error comes again
	}
	n := copy(r.Room(), t.came)
	t.came = t.came[n:]
	return n, nil
}

func (t *stream) Wake() { wake(t.Conn) }

// soon is how long a stream that can only block may take to show what has arrived.
const soon = 10 * time.Millisecond

func (t *stream) ReadNow(r Reader) (int, error) {
	if err := t.SetReadDeadline(time.Now().Add(soon)); err != nil {
		return 0, err
	}
	return t.read(r)
}

func (t *stream) CloseWrite() bool { return closeWrite(t.Conn) }

func (t *stream) WriteWithin(b []byte, timeout time.Duration) (int, error) {
	return writeWithin(t.Conn, b, timeout)
}

func (t *stream) Listener() *Listener { return t.listener }

func (t *stream) EndWith(codec.ReasonCode) {}
