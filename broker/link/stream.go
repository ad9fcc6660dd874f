package link

import (
	"net"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// A stream is a Transport over a net.Conn that can only block.
type stream struct {
	net.Conn
	listener *Listener
	socket   *socket // below it; nil: there is none
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

func (t *stream) read(r Reader) (int, error) { return t.Read(r.Room()) }

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
