package broker

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// A transport is a Network Connection: an ordered, lossless stream of bytes in
// both directions. Section 4.2. [MQTT-4.2-1]
type transport interface {
	// receive reads into c.readRoom and calls c.received, over and over, until
	// that wants no more, or the connection ends or its deadline passes, which is
	// an error. Before it blocks it calls c.readIdle, so that no buffer is held.
	receive(c *conn) error
	// wake makes receive, or the next one, return os.ErrDeadlineExceeded as soon as
	// it has handled what it has read.
	wake()
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
	// Close does not wait for the reader.
	Close() error
}

// streamTransport is a transport over a net.Conn that can only block.
type streamTransport struct{ net.Conn }

func (t streamTransport) tryWrite([]byte) (int, error) { return 0, nil }

func (t streamTransport) receive(c *conn) error { return receiveBy(c, t.read) }

// receiveBy is receive by a read that blocks until bytes arrive.
func receiveBy(c *conn, read func(c *conn) (int, error)) error {
	for {
		n, err := read(c)
		if err != nil {
			return err
		}
		if !c.received(n) {
			return nil
		}
		if err := c.rearmDeadline(); err != nil {
			return err
		}
	}
}

func (t streamTransport) read(c *conn) (int, error) {
	return t.Read(c.readRoom())
}

func (t streamTransport) wake() { wake(t.Conn) }

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

func wake(c interface{ SetReadDeadline(time.Time) error }) {
	_ = c.SetReadDeadline(longAgo) // an error says that it is closed
}

// longAgo is a deadline that wakes who waits.
var longAgo = time.Unix(1, 0)

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
//
// Packets are handled inside the one call that also waits for what is read
// (RawConn.Read), so that the poller is not asked anew for each: an edge that
// comes while they are handled is there when the wait begins. What a read left
// of its room says that the socket is empty, so no second read has to. But the
// peer's end may have come with the last bytes, in one edge: it is looked for by
// hangups, and by a second read until these watch.
//
// The descriptor is used directly, between enter and leave of its socket.
type rawTransport struct {
	*socket
	raw    syscall.RawConn
	reader *conn // for which receive was called
	ready  func(uintptr) bool
	fd     int32
}

// watchAfter is how many reads of a connection have emptied its socket when it
// is worth while to watch for its end instead of reading a second time.
const watchAfter = 16

func newTransport(c net.Conn) transport {
	s, ok := c.(*socket)
	if tcp, is := c.(*net.TCPConn); is {
		s, ok = &socket{TCPConn: tcp}, true
	}
	if !ok || !nonblocking {
		return streamTransport{c}
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return streamTransport{c}
	}
	t := &rawTransport{socket: s, raw: raw}
	t.ready = t.readReady
	if err := raw.Control(func(fd uintptr) { t.fd = int32(fd) }); err != nil {
		return streamTransport{c}
	}
	return t
}

func (t *rawTransport) wake() { wake(t.TCPConn) }

func (t *rawTransport) closeWrite() bool { return closeWrite(t.TCPConn) }

func (t *rawTransport) readNow(c *conn) (int, error) {
	if !t.enter() {
		return 0, net.ErrClosed
	}
	defer t.leave()
	n, again, err := readSocket(uintptr(t.fd), c.readRoom())
	switch {
	case again:
		return 0, os.ErrDeadlineExceeded
	case err == nil && n == 0:
		return 0, io.EOF
	}
	return n, err
}

func (t *rawTransport) writeWithin(b []byte, timeout time.Duration) (int, error) {
	return writeWithin(t.TCPConn, b, timeout)
}

func (t *rawTransport) tryWrite(b []byte) (int, error) {
	if !t.enter() {
		return 0, net.ErrClosed
	}
	n, err := writeSocket(uintptr(t.fd), b)
	t.leave()
	return n, err
}

func (t *rawTransport) receive(c *conn) error {
	if !t.enter() {
		return net.ErrClosed
	}
	defer t.leave() // also in a panic
	t.reader = c
	if c.client == nil {
		return t.receiveFirst(c)
	}
	return t.raw.Read(t.ready)
}

// receiveFirst reads and handles what comes before there is a Client: outside of
// the call that waits, since CONNECT may have to wait for others and needs a large
// stack anyway.
func (t *rawTransport) receiveFirst(c *conn) error {
	for {
		if err := t.raw.Read(t.ready); err != nil || c.ended != nil {
			return err
		}
		growStack(0)
		if !c.received(c.came) || c.client != nil {
			return nil
		}
	}
}

// readReady reads and handles what there is. It reports false to wait for more.
func (t *rawTransport) readReady(fd uintptr) bool {
	c := t.reader
	for {
		room := c.readRoom()
		if t.state.Load()&socketClosed != 0 {
			c.ended = net.ErrClosed
			return true
		}
		n, again, err := readSocket(fd, room)
		if err == nil && n == 0 && !again {
			err = io.EOF
		}
		if err != nil {
			c.ended = err
			return true
		}
		if !again && c.client == nil {
			c.came = n
			return true
		}
		if !again {
			last := max(c.lastPacket, c.partial)
			if !c.received(n) {
				return true
			}
			if t.heard(momentOf(c.now), last, c.asked, c.reader.Buffered() > 0) {
				quickAck(fd)
			}
			if n == len(room) || !t.watched(c) {
				continue
			}
		}
		if c.ended = c.rearmDeadline(); c.ended != nil {
			return true
		}
		// In this order: hangups, and who closes, say so before they move the
		// deadline. Where nothing was left to read, the end is an edge of its own.
		state := t.state.Load()
		if state&socketClosed == 0 && (again || state&socketHungUp == 0) {
			c.readIdle()
			return false
		}
	}
}

// watched reports whether the end of the connection will be known without
// reading.
func (t *rawTransport) watched(c *conn) bool {
	if t.emptied < watchAfter {
		if t.emptied++; t.emptied == watchAfter {
			c.b.hangups.watch(t.socket, t.fd)
		}
	}
	return t.state.Load()&(socketWatched|socketHungUp) == socketWatched
}
