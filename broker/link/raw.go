package link

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// A raw is a Transport over a socket that can be asked without blocking.
//
// Packets are handled inside the one call that waits (RawConn.Read), so that the poller
// is not asked anew for each: an edge that comes while they are handled is there when the
// wait begins. A read that leaves some of its room has emptied the socket, so there is no
// second read. But the peer's end may have come with the last bytes, in one edge: hangups
// tell of it, and until these watch, a second read does.
//
// The descriptor is used directly, between enter and leave of its socket.
type raw struct {
	*socket
	conn   syscall.RawConn    // static, as is ready
	ready  func(uintptr) bool // readReady
	reader Reader             // for which Receive was called; owned by the reader
}

// watchAfter is how many reads must have emptied a socket before its end is watched for:
// each costs a second read, the watch costs more.
const watchAfter = 16

// newTransport returns the Transport over a socket.
func newTransport(s *socket) Transport {
	if Nonblocking {
		conn, err := s.rawConn()
		if err == nil {
			t := &raw{socket: s, conn: conn}
			t.ready = t.readReady
			return t
		}
	}
	return &stream{Conn: s, listener: s.listener, socket: s}
}

func (t *raw) Wake() { wake(t.netSocket) }

func (t *raw) CloseWrite() bool { return closeWrite(t.netSocket) }

func (t *raw) Listener() *Listener { return t.listener }

func (t *raw) EndWith(codec.ReasonCode) {}

// PeerEnded reports whether the peer has ended the connection, and all that it sent before is
// read. false: it has not, or that cannot be known, as over TLS and WebSocket.
func PeerEnded(t Transport) bool {
	raw, ok := t.(*raw)
	if !ok {
		return false
	}
	if !raw.enter() {
		return true
	}
	defer raw.leave()
	return hasEnded(uintptr(raw.fd))
}

func (t *raw) ReadNow(r Reader) (int, error) {
	if !t.enter() {
		return 0, net.ErrClosed
	}
	defer t.leave()
	n, again, err := readSocket(uintptr(t.fd), r.Room())
	switch {
	case again:
		return 0, os.ErrDeadlineExceeded
	case err == nil && n == 0:
		return 0, io.EOF
	}
	return n, err
}

func (t *raw) WriteWithin(b []byte, timeout time.Duration) (int, error) {
	return writeWithin(t.netSocket, b, timeout)
}

func (t *raw) TryWrite(b []byte) (int, error) {
	if !t.enter() {
		return 0, net.ErrClosed
	}
	n, err := writeSocket(uintptr(t.fd), b)
	t.leave()
	return n, err
}

func (t *raw) Receive(r Reader) error {
	if !t.enter() {
		return net.ErrClosed
	}
	defer t.leave() // also in a panic
	t.reader = r
	if t.connected = r.Connected(); !t.connected {
		return t.receiveFirst(r)
	}
	return t.conn.Read(t.ready)
}

// receiveFirst reads and handles what comes before there is a Client, outside of the call
// that waits, since CONNECT may have to wait for others and needs a large stack anyway.
func (t *raw) receiveFirst(r Reader) error {
	for {
		if err := t.conn.Read(t.ready); err != nil || r.State().Ended != nil {
			return err
		}
		if !r.Received(r.State().came) || r.Connected() {
			return nil
		}
	}
}

// readReady reads and handles what there is. It reports false to wait for more.
func (t *raw) readReady(fd uintptr) bool {
	for {
		room := t.reader.Room()
		if t.state.Load()&socketClosed != 0 {
			return t.end(net.ErrClosed)
		}
		n, again, err := readSocket(fd, room)
		switch {
		case err != nil:
			return t.end(err)
		case again:
		case n == 0:
			return t.end(io.EOF)
		case !t.connected:
			t.reader.State().came = n
			return true
		default:
			if !t.reader.Received(n) {
				return true
			}
			t.acknowledge()
			if n == len(room) || !t.watched() {
				continue
			}
		}
		if err := t.reader.Rearm(); err != nil {
			return t.end(err)
		}
		// After Rearm: hangups, and who closes, set their bit before they move the
		// deadline. When nothing was left to read, the end is an edge of its own.
		bits := t.state.Load()
		if bits&socketClosed == 0 && (again || bits&socketHungUp == 0) {
			t.reader.Idle()
			return false
		}
	}
}

// acknowledge has the system acknowledge at once, if the peer waits for that. Neither it
// nor end is inlined: the stack of an idle connection should not have to grow.
//
//go:noinline
func (t *raw) acknowledge() {
	if t.heard(t.reader.State()) {
		quickAck(uintptr(t.fd))
	}
}

// end says why there is nothing more to read.
//
//go:noinline
func (t *raw) end(err error) bool {
	t.reader.State().Ended = err
	return true
}

// watched reports whether hangups will tell of the end of the connection.
func (t *raw) watched() bool {
	if t.emptied < watchAfter {
		if t.emptied++; t.emptied == watchAfter {
			t.listener.network.hangups.watch(t.socket)
		}
	}
	return t.state.Load()&(socketWatched|socketHungUp) == socketWatched
}

// GrowStack grows the stack of the goroutine now, while few frames have to be copied, to
// what the end of a connection needs. It would grow soon anyway.
//
//go:noinline
func GrowStack(at int) byte {
	var room [2048]byte
	return room[at] // else there would be no room
}

// GrowForConnect is GrowStack for a whole CONNECT, which needs more. One that waits for its rest
// does not.
//
//go:noinline
func GrowForConnect(at int) byte {
	var room [3072]byte
	return room[at]
}
