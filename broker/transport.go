package broker

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A transport is a Network Connection: an ordered, lossless stream of bytes in
// both directions. Section 4.2. [MQTT-4.2-1]
type transport interface {
	// read blocks until bytes arrive and reads them into c.readRoom. Before it
	// blocks it calls c.readIdle, so that no buffer is held meanwhile.
	read(c *conn) (int, error)
	// wake makes a read that blocks, or the next one, fail at once with
	// os.ErrDeadlineExceeded. It reports false, and does nothing, if it cannot.
	wake() bool
	// readNow reads what has arrived into c.readRoom, as far as that can be known
	// soon; os.ErrDeadlineExceeded: nothing has.
	readNow(c *conn) (int, error)
	// tryWrite writes what can be written without blocking.
	tryWrite(b []byte) (int, error)
	// writeWithin writes b, and fails if that takes longer than timeout.
	writeWithin(b []byte, timeout time.Duration) (int, error)
	SetReadDeadline(time.Time) error
	RemoteAddr() net.Addr
	// closeWrite ends the stream to the peer, and leaves that from it open, so that it
	// can be read on. It reports false, and has done nothing, if it cannot.
	closeWrite() bool
	Close() error
}

// streamTransport is a transport over a net.Conn that can only block.
type streamTransport struct{ net.Conn }

func (t streamTransport) tryWrite([]byte) (int, error) { return 0, nil }

func (t streamTransport) read(c *conn) (int, error) {
	return t.Read(c.readRoom())
}

func (t streamTransport) wake() bool { return wake(t.Conn) }

// soon is how long a stream that can only block may take to show what has arrived.
const soon = 10 * time.Millisecond

func (t streamTransport) readNow(c *conn) (int, error) {
	if err := t.SetReadDeadline(time.Now().Add(soon)); err != nil {
		return 0, err
	}
	return t.read(c)
}

func (t streamTransport) closeWrite() bool { return closeWrite(t.Conn) }

func closeWrite(c net.Conn) bool {
	half, ok := c.(interface{ CloseWrite() error })
	return ok && half.CloseWrite() == nil
}

func wake(c net.Conn) bool { return c.SetReadDeadline(time.Unix(1, 0)) == nil }

func (t streamTransport) writeWithin(b []byte, timeout time.Duration) (int, error) {
	return writeWithin(t.Conn, b, timeout)
}

func writeWithin(c net.Conn, b []byte, timeout time.Duration) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return 0, err
	}
	n, err := c.Write(b)
	if err != nil {
		return n, err
	}
	return n, c.SetWriteDeadline(time.Time{})
}

// rawTransport is a socket that can be asked without blocking. One goroutine
// reads and, at a time, one writes.
type rawTransport struct {
	net.Conn
	raw    syscall.RawConn
	reader *conn // for which read was called
	ready  func(uintptr) bool
}

// A socketWrite is one write to a rawTransport.
type socketWrite struct {
	out   []byte
	n     int
	err   error
	ready func(uintptr) bool
}

var socketWrites = sync.Pool{New: func() any {
	w := new(socketWrite)
	w.ready = w.writeReady
	return w
}}

func newTransport(c net.Conn) transport {
	if sc, ok := c.(syscall.Conn); ok && nonblocking {
		if raw, err := sc.SyscallConn(); err == nil {
			t := &rawTransport{Conn: c, raw: raw}
			t.ready = t.readReady
			return t
		}
	}
	return streamTransport{c}
}

func (t *rawTransport) wake() bool { return wake(t.Conn) }

func (t *rawTransport) closeWrite() bool { return closeWrite(t.Conn) }

func (t *rawTransport) readNow(c *conn) (n int, err error) {
	again := false
	controlErr := t.raw.Control(func(fd uintptr) { n, again, err = readSocket(fd, c.readRoom()) })
	switch {
	case controlErr != nil:
		return 0, controlErr
	case again:
		return 0, os.ErrDeadlineExceeded
	case err == nil && n == 0:
		return 0, io.EOF
	}
	return n, err
}

func (t *rawTransport) writeWithin(b []byte, timeout time.Duration) (int, error) {
	return writeWithin(t.Conn, b, timeout)
}

func (t *rawTransport) tryWrite(b []byte) (int, error) {
	w := socketWrites.Get().(*socketWrite)
	w.out, w.n, w.err = b, 0, nil
	err := t.raw.Write(w.ready)
	n := w.n
	if w.err != nil {
		err = w.err
	}
	w.out, w.err = nil, nil
	socketWrites.Put(w)
	return n, err
}

func (w *socketWrite) writeReady(fd uintptr) bool {
	w.n, w.err = writeSocket(fd, w.out)
	return true
}

func (t *rawTransport) read(c *conn) (int, error) {
	t.reader = c
	if err := t.raw.Read(t.ready); err != nil {
		return 0, err
	}
	if c.readErr == nil && c.readN == 0 {
		return 0, io.EOF
	}
	return c.readN, c.readErr
}

func (t *rawTransport) readReady(fd uintptr) bool {
	c := t.reader
	n, again, err := readSocket(fd, c.readRoom())
	if again {
		c.readIdle()
		return false
	}
	c.readN, c.readErr = n, err
	return true
}
