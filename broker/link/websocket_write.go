package link

import (
	"encoding/binary"
	"net"
	"time"
)

// TryWrite writes what can be written without blocking. If the socket takes a part of a
// frame, the next WriteWithin writes the rest.
func (t *webSocket) TryWrite(b []byte) (int, error) {
	if !t.writing.TryLock() {
		return 0, nil
	}
	defer t.writing.Unlock()
	switch {
	case t.closed:
		return 0, net.ErrClosed
	case len(t.rest) > 0 || t.owed > 0:
		return 0, nil
	}
	t.quiet = 0
	frame := AppendFrame(OutBuffers.Get(headerMax+len(b)), OpBinary, b)
	n, err := t.out.TryWrite(frame)
	header := len(frame) - len(b)
	switch {
	case err != nil, n == 0, n == len(frame):
		OutBuffers.Put(frame)
		return max(0, n-header), err
	}
	t.rest = frame[n:]
	sent := max(0, n-header)
	t.owed = len(b) - sent
	return sent, nil
}

// WriteWithin writes b, or a beginning of it, and fails if that takes longer than timeout.
// b goes on where the last write ended.
func (t *webSocket) WriteWithin(b []byte, timeout time.Duration) (int, error) {
	t.writing.Lock()
	defer t.writing.Unlock()
	if t.closed {
		return 0, net.ErrClosed
	}
	t.quiet = 0
	if err := t.writeRestLocked(timeout); err != nil {
		return 0, err
	}
	if n := t.owed; n > 0 {
		t.owed = 0
		return n, nil
	}
	frame := AppendFrame(OutBuffers.Get(headerMax+len(b)), OpBinary, b)
	n, err := t.out.WriteWithin(frame, timeout)
	n -= len(frame) - len(b)
	OutBuffers.Put(frame)
	return max(0, n), err
}

// writeRestLocked writes what is left of a frame.
func (t *webSocket) writeRestLocked(timeout time.Duration) error {
	if len(t.rest) == 0 {
		return nil
	}
	n, err := t.out.WriteWithin(t.rest, timeout)
	if t.rest = t.rest[n:]; err == nil {
		t.rest = nil
	}
	return err
}

// writeControl writes a control frame of the library.
func (t *webSocket) writeControl(frame []byte) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	if t.closed {
		return net.ErrClosed
	}
	if err := t.writeRestLocked(CloseWait); err != nil {
		return err
	}
	t.closed = frame[0] == opClose
	_, err := t.out.WriteWithin(frame, CloseWait)
	return err
}

// AppendFrame appends a frame as servers send them. RFC 6455, section 5.2.
func AppendFrame(dst []byte, first byte, payload []byte) []byte {
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, first, byte(n))
	case n <= 0xffff:
		dst = binary.BigEndian.AppendUint16(append(dst, first, 126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, first, 127), uint64(n))
	}
	return append(dst, payload...)
}

// Close sends a close frame, if the socket takes it at once, and has a goroutine wait for
// the peer's.
func (t *webSocket) Close() error {
	if !t.beginClosing() {
		return net.ErrClosed
	}
	if t.writing.TryLock() {
		if !t.closed && len(t.rest) == 0 {
			n, err := t.out.TryWrite(t.closeFrame())
			t.closed = n > 0 || err != nil
		}
		t.writing.Unlock()
	}
	t.s.listener.pings.remove(t)
	wait := CloseWait
	if t.s.listener.waiting.remove(t.s) {
		wait = strangerWait
	}
	t.s.listener.waiting.addEnded(t.s)
	go t.linger(wait)
	return nil
}

func (t *webSocket) closeFrame() []byte {
	return AppendFrame(nil, opClose, binary.BigEndian.AppendUint16(nil, uint16(t.status.Load())))
}

// linger closes the socket when the peer has closed its side, or after a while, so that the
// peer can read what was sent last.
func (t *webSocket) linger(wait time.Duration) {
	t.reading.Lock() // the reader has left
	defer t.reading.Unlock()
	_ = t.writeControl(t.closeFrame()) // unless one was sent
	_ = t.out.CloseWrite()
	_ = t.s.SetReadDeadline(time.Now().Add(wait))
	b := make([]byte, farewellBytes)
	for left, err := farewellBytesMax, error(nil); left > 0 && err == nil; { // whatever ends it, the socket is closed
		var n int
		n, err = t.s.netSocket.Read(b)
		left -= n
	}
	_ = t.s.Close()
	_ = t.ws.CloseNow() // frees what it has
	t.swap(nil, 0)
}

// libraryConn is the socket as the library sees it.
type libraryConn struct{ t *webSocket }

// Read returns bytes that the library may have.
func (l libraryConn) Read(b []byte) (int, error) {
	t := l.t
	n := min(len(b), t.allowed, t.w-t.r)
	if n == 0 {
		return 0, errNothingYet
	}
	copy(b, t.in[t.r:t.r+n])
	t.r += n
	t.allowed -= n
	return n, nil
}

// Write writes a control frame, for the library writes nothing else.
func (l libraryConn) Write(b []byte) (int, error) {
	if err := l.t.writeControl(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (l libraryConn) Close() error                   { return l.t.s.Close() }
func (l libraryConn) LocalAddr() net.Addr            { return l.t.s.LocalAddr() }
func (l libraryConn) RemoteAddr() net.Addr           { return l.t.s.RemoteAddr() }
func (libraryConn) SetDeadline(time.Time) error      { return nil }
func (libraryConn) SetReadDeadline(time.Time) error  { return nil }
func (libraryConn) SetWriteDeadline(time.Time) error { return nil }
