package link

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coder/websocket"

	"github.com/x0a1b/promptmq/codec"
)

const (
	// controlFrameMax is the size of the largest control frame of a server, headerMax that
	// of the largest header of a client. RFC 6455, sections 5.2 and 5.5.
	controlFrameMax = 2 + 125
	headerMax       = 2 + 8 + 4
	// beginningMax is the size of the buffer in which the beginning of a frame
	// waits: a header, or a whole control frame.
	beginningMax = headerMax + 125
	// farewellBytesMax is how much is read from a peer after the close frame, farewellBytes how
	// much at a time. strangerWait is for how long if it has sent no CONNECT, else CloseWait.
	farewellBytesMax = 1 << 20
	farewellBytes    = 512
	strangerWait     = time.Second

	OpBinary  = 0x82 // a whole message in one frame
	opClose   = 0x88
	opPing    = 0x89
	opControl = 0x08 // the bit of all control frames
)

// errMustWait says that nothing is left of what has come.
var errMustWait = errors.New("nothing is left of what has come")

// errNothingYet is what the library reads when it may read no more. It loses nothing by it.
var errNothingYet = errors.New("no whole frame has come")

// A webSocket is a Network Connection over a WebSocket. The library checks and unmasks
// frames, and answers control frames. It is only called for what has come already, so it
// neither waits, nor holds a buffer, nor has a deadline. What is sent are whole binary
// frames. [MQTT-6.0.0-1]
type webSocket struct {
	// Static after start.
	s     *socket
	raw   syscall.RawConn // nil: the socket can only block
	out   Transport       // what the frames are written to
	tls   *secure         // nil: they are read from the socket
	ws    *websocket.Conn
	ready func(uintptr) bool

	// Owned by the reader.
	reader  Reader     // for which read was called
	reading sync.Mutex // held while it is in read
	in      []byte     // borrowed while something is in it
	r, w    int        // what of it was read and not yet taken
	allowed int        // how much of that the library may take
	message io.Reader  // the message that was begun; nil: none
	left    int64      // of the payload of its frame
	fin     bool       // that frame is its last
	readErr error      // of the socket
	hasty   bool       // nothing is waited for

	status atomic.Int32 // websocket.StatusCode of the close frame

	deadline sync.Mutex // guards the read deadline and the following
	closing  bool

	writing sync.Mutex // guards the following
	rest    []byte     // of a frame that the socket has taken a part of
	owed    int        // bytes of rest, or that were, which no write has returned
	closed  bool       // a close frame was begun: nothing follows
	quiet   uint8      // steps since something was sent: see pings
}

func newWebSocket(o *opening) *webSocket {
	t := &webSocket{s: o.s, out: o.transport()}
	t.tls, _ = t.out.(*secure)
	if Nonblocking {
		t.raw, _ = o.s.SyscallConn() // fails for a closed socket only; then reading does
	}
	t.ready = t.readReady
	t.status.Store(int32(websocket.StatusNormalClosure))
	return t
}

// start begins with the WebSocket that was made of the socket.
func (t *webSocket) start(ws *websocket.Conn) {
	ws.SetReadLimit(-1) // a frame is read in pieces; the limit is that of a packet
	t.ws = ws
	t.s.listener.pings.add(t)
}

func (t *webSocket) RemoteAddr() net.Addr { return t.s.RemoteAddr() }

func (t *webSocket) Listener() *Listener { return t.s.listener }

// SetReadDeadline fails after Close, when the deadline is that of linger.
func (t *webSocket) SetReadDeadline(d time.Time) error {
	t.deadline.Lock()
	defer t.deadline.Unlock()
	if t.closing {
		return net.ErrClosed
	}
	return t.s.SetReadDeadline(d)
}

// Wake makes the reader stop waiting.
func (t *webSocket) Wake() { wake(t) }

// CloseWrite does nothing: Close writes a close frame, and then reads on for a moment.
func (t *webSocket) CloseWrite() bool { return false }

func (t *webSocket) isClosing() bool {
	t.deadline.Lock()
	defer t.deadline.Unlock()
	return t.closing
}

// beginClosing wakes the reader, and reports whether this was the first call.
func (t *webSocket) beginClosing() bool {
	t.deadline.Lock()
	defer t.deadline.Unlock()
	if t.closing {
		return false
	}
	t.closing = true
	_ = t.s.SetReadDeadline(longAgo) // an error says that it is awake
	return true
}

// EndWith chooses the code of the close frame for a Reason Code.
func (t *webSocket) EndWith(reason codec.ReasonCode) {
	t.status.Store(int32(closeStatus(reason)))
}

// closeStatus is the status code that tells a browser what the Reason Code does.
// RFC 6455, section 7.4.1.
func closeStatus(reason codec.ReasonCode) websocket.StatusCode {
	switch reason {
	case codec.Success:
		return websocket.StatusNormalClosure
	case codec.MalformedPacket, codec.ProtocolError, codec.UnsupportedProtocolVersion:
		return websocket.StatusProtocolError
	case codec.PacketTooLarge:
		return websocket.StatusMessageTooBig
	case codec.ServerShuttingDown:
		return websocket.StatusGoingAway
	}
	return websocket.StatusPolicyViolation
}

func (t *webSocket) Receive(r Reader) error {
	if t.raw == nil {
		return receiveBy(r, t.read)
	}
	for {
		n, err := t.read(r)
		switch {
		case err == errMustWait:
			if err := t.await(); err != nil {
				return err
			}
		case err != nil:
			return err
		case !r.Received(n):
			return nil
		default:
			if err := r.Rearm(); err != nil {
				return err
			}
		}
	}
}

// await waits until something has come. It is no part of read, so that a connection that waits
// gets by with a small stack.
func (t *webSocket) await() error {
	if !t.reading.TryLock() { // linger has it
		return net.ErrClosed
	}
	defer t.reading.Unlock()
	if t.isClosing() {
		return net.ErrClosed
	}
	err := t.raw.Read(t.ready)
	if err == nil {
		err, t.readErr = t.readErr, nil
	}
	return err
}

// read reads of the payload of messages: packets need not be aligned with frames. It returns
// errMustWait if that is to be waited for by await. [MQTT-6.0.0-2]
func (t *webSocket) read(r Reader) (int, error) {
	if !t.reading.TryLock() { // linger has it
		return 0, net.ErrClosed
	}
	defer t.reading.Unlock()
	t.reader = r
	for {
		if t.isClosing() {
			return 0, net.ErrClosed
		}
		if t.left == 0 {
			if err := t.nextFrame(); err != nil {
				return 0, t.failed(err)
			}
			continue
		}
		if err := t.need(1); err != nil {
			return 0, t.failed(err)
		}
		room := r.Room()
		t.allowed = int(min(int64(len(room)), int64(t.w-t.r), t.left))
		n, err := t.message.Read(room[:t.allowed])
		t.left -= int64(n)
		t.returnEmpty()
		if err != nil && !errors.Is(err, io.EOF) {
			return n, t.failed(err)
		}
		return n, nil
	}
}

// ReadNow is read, and os.ErrDeadlineExceeded if nothing has come.
func (t *webSocket) ReadNow(r Reader) (int, error) {
	t.hasty = true
	defer func() { t.hasty = false }()
	return t.read(r)
}

// nextFrame has the library take the header of the next frame of a message, or a whole
// control frame.
func (t *webSocket) nextFrame() error {
	if err := t.need(2); err != nil {
		return err
	}
	size, length := headerSize(t.in[t.r+1]), int64(t.in[t.r+1]&0x7f)
	control, fin := t.in[t.r]&opControl != 0, t.in[t.r]&0x80 != 0
	if err := t.need(size); err != nil {
		return err
	}
	switch length {
	case 126:
		length = int64(binary.BigEndian.Uint16(t.in[t.r+2:]))
	case 127:
		length = int64(binary.BigEndian.Uint64(t.in[t.r+2:])) // the library refuses a negative one
	}
	t.allowed = size
	if control && length >= 0 && length <= 125 { // the library refuses a longer one
		if err := t.need(size + int(length)); err != nil {
			return err
		}
		t.allowed += int(length)
	}
	err := t.begin()
	t.returnEmpty()
	switch {
	case errors.Is(err, errNothingYet): // it was a control frame, or an empty one that goes on
		if !control {
			t.fin = fin
		}
		return nil
	case err != nil:
		return err
	}
	t.left, t.fin = length, fin
	return nil
}

// begin has the library read a header.
func (t *webSocket) begin() error {
	if t.message != nil && !t.fin {
		_, err := t.message.Read(nil)
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return err
	}
	typ, message, err := t.ws.Reader(context.Background())
	if err != nil {
		return err
	}
	if typ != websocket.MessageBinary {
		t.status.Store(int32(websocket.StatusUnsupportedData))
		return fmt.Errorf("a %v frame: MQTT is sent in binary ones", typ) // [MQTT-6.0.0-1]
	}
	t.message = message
	return nil
}

// headerSize is the size of a frame's header, by its second byte.
func headerSize(b byte) int {
	size := 2
	switch b & 0x7f {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if b&0x80 != 0 {
		size += 4
	}
	return size
}

// failed returns why reading has ended: the socket's own error, if it was that. For what the
// library found wrong it chooses the code of the close frame.
func (t *webSocket) failed(err error) error {
	switch {
	case t.isClosing():
		return net.ErrClosed
	case t.readErr != nil:
		err, t.readErr = t.readErr, nil
		return err
	case websocket.CloseStatus(err) != -1: // the peer closes; the library has answered
		return io.EOF
	}
	t.status.CompareAndSwap(int32(websocket.StatusNormalClosure), int32(websocket.StatusProtocolError))
	return fmt.Errorf("WebSocket: %w", err)
}

// need waits until n bytes are there.
func (t *webSocket) need(n int) error {
	for t.w-t.r < n {
		if err := t.fill(); err != nil {
			t.readErr = err
			return err
		}
	}
	return nil
}

// fill waits for bytes, if only that is possible. If hasty it does not wait for long, and
// returns os.ErrDeadlineExceeded if there are none.
func (t *webSocket) fill() error {
	switch {
	case t.raw == nil:
		return t.fillBlocking()
	case !t.hasty:
		return errMustWait
	}
	came := false
	if err := t.raw.Control(func(fd uintptr) { came = t.readReady(fd) }); err != nil {
		return err
	}
	if !came {
		return os.ErrDeadlineExceeded
	}
	return t.readErr
}

// fillBlocking is fill where a socket can only block.
func (t *webSocket) fillBlocking() error {
	if t.hasty {
		if err := t.SetReadDeadline(time.Now().Add(soon)); err != nil {
			return err
		}
	}
	t.makeRoom()
	n, err := t.out.(io.Reader).Read(t.in[t.w:])
	t.w += n
	return err
}

// readReady reads what there is. It reports false to wait for it.
func (t *webSocket) readReady(fd uintptr) bool {
	t.makeRoom()
	n, again, err := t.readNow(fd, t.in[t.w:])
	if again {
		t.idle()
		return false
	}
	if t.w += n; n == 0 && err == nil {
		err = io.EOF
	}
	t.readErr = err
	return true
}

func (t *webSocket) readNow(fd uintptr, b []byte) (n int, again bool, err error) {
	if t.tls != nil {
		return t.tls.readNow(b)
	}
	return readSocket(fd, b)
}

// makeRoom makes sure that there is room to read into.
func (t *webSocket) makeRoom() {
	switch {
	case t.in == nil:
		b := ReadBuffers.Get(t.s.listener.network.c.ReadBuffer)
		t.in, t.r, t.w = b[:cap(b)], 0, 0
	case t.w == len(t.in) || t.r == t.w:
		t.w = copy(t.in, t.in[t.r:t.w])
		t.r = 0
	}
}

// idle gives up the buffer before it waits; the beginning of a frame waits in a small one.
func (t *webSocket) idle() {
	if t.returnEmpty(); len(t.in) > beginningMax {
		beginning := make([]byte, beginningMax)
		t.swap(beginning, copy(beginning, t.in[t.r:t.w]))
	}
	t.reader.Idle()
}

// returnEmpty gives the buffer back when nothing is in it.
func (t *webSocket) returnEmpty() {
	if t.r == t.w && t.in != nil {
		t.swap(nil, 0)
	}
}

// swap replaces the buffer.
func (t *webSocket) swap(in []byte, n int) {
	if len(t.in) > beginningMax {
		ReadBuffers.Put(t.in)
	}
	t.in, t.r, t.w = in, 0, n
}

// unread takes what was read from the socket before there was a Transport.
func (t *webSocket) unread(early []byte) {
	if len(early) > 0 {
		b := ReadBuffers.Get(max(len(early), t.s.listener.network.c.ReadBuffer))
		t.in = b[:cap(b)]
		t.w = copy(t.in, early)
	}
}
