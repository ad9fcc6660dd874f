package broker

import (
	"io"
	"net"
	"syscall"
	"time"
)

// A transport is a Network Connection: an ordered, lossless stream of bytes in
// both directions. Section 4.2. [MQTT-4.2-1]
type transport interface {
	// read blocks until bytes arrive and reads them into what room returns.
	// Before it blocks it calls idle, so that no buffer is held meanwhile.
	read(room func() []byte, idle func()) (int, error)
	// tryWrite writes what can be written without blocking.
	tryWrite(b []byte) (int, error)
	// writeWithin writes b, and fails if that takes longer than timeout.
	writeWithin(b []byte, timeout time.Duration) (int, error)
	SetReadDeadline(time.Time) error
	RemoteAddr() net.Addr
	Close() error
}

// streamTransport is a transport over a net.Conn that can only block.
type streamTransport struct{ net.Conn }

func (t streamTransport) tryWrite([]byte) (int, error) { return 0, nil }

func (t streamTransport) read(room func() []byte, _ func()) (int, error) {
	return t.Read(room())
}

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
	raw syscall.RawConn

	// Owned by the reader.
	room    func() []byte
	idle    func()
	readN   int
	readErr error
	onRead  func(uintptr) bool

	// Owned by the writer.
	out      []byte
	writeN   int
	writeErr error
	onWrite  func(uintptr) bool
}

func newTransport(c net.Conn) transport {
	if sc, ok := c.(syscall.Conn); ok && nonblocking {
		if raw, err := sc.SyscallConn(); err == nil {
			t := &rawTransport{Conn: c, raw: raw}
			t.onRead, t.onWrite = t.readReady, t.writeReady
			return t
		}
	}
	return streamTransport{c}
}

func (t *rawTransport) writeWithin(b []byte, timeout time.Duration) (int, error) {
	return writeWithin(t.Conn, b, timeout)
}

func (t *rawTransport) tryWrite(b []byte) (int, error) {
	t.out, t.writeN, t.writeErr = b, 0, nil
	err := t.raw.Write(t.onWrite)
	t.out = nil
	if t.writeErr != nil {
		err = t.writeErr
	}
	return t.writeN, err
}

func (t *rawTransport) writeReady(fd uintptr) bool {
	t.writeN, t.writeErr = writeSocket(fd, t.out)
	return true
}

func (t *rawTransport) read(room func() []byte, idle func()) (int, error) {
	t.room, t.idle, t.readN, t.readErr = room, idle, 0, nil
	if err := t.raw.Read(t.onRead); err != nil {
		return 0, err
	}
	if t.readErr == nil && t.readN == 0 {
		return 0, io.EOF
	}
	return t.readN, t.readErr
}

func (t *rawTransport) readReady(fd uintptr) bool {
	var again bool
	t.readN, again, t.readErr = readSocket(fd, t.room())
	if again {
		t.idle()
		return false
	}
	return true
}
