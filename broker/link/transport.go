package link

import (
	"net"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// CloseWait bounds how long a last packet may take to leave.
const CloseWait = 5 * time.Second

// A Transport is a Network Connection: an ordered, lossless stream of bytes in
// both directions. Section 4.2. [MQTT-4.2-1] One goroutine reads and, at a time,
// one writes; the other methods are for any.
type Transport interface {
	// Receive reads into r.Room and calls r.Received, over and over, until that wants
	// no more, or the connection ends or its deadline passes, which is an error: the
	// one returned or, if that is nil, r.State().Ended. Before it blocks it calls
	// r.Idle, so that no buffer is held.
	Receive(r Reader) error
	// Wake makes Receive, or the next one, return os.ErrDeadlineExceeded as soon as
	// it has handled what it has read.
	Wake()
	// ReadNow reads what has arrived into r.Room, as far as that can be known soon;
	// os.ErrDeadlineExceeded: nothing has.
	ReadNow(r Reader) (int, error)
	// TryWrite writes what can be written without blocking.
	TryWrite(b []byte) (int, error)
	// WriteWithin writes b, and fails if that takes longer than timeout.
	WriteWithin(b []byte, timeout time.Duration) (int, error)
	SetReadDeadline(time.Time) error
	RemoteAddr() net.Addr
	// Listener is who accepted the connection; nil: it did not come through a Network.
	Listener() *Listener
	// EndWith says why Close will be called, where the stream can tell the peer.
	EndWith(codec.ReasonCode)
	// CloseWrite ends the stream to the peer, and leaves that from it open, so that it
	// can be read on. It reports false, and has done nothing, if it cannot.
	CloseWrite() bool
	// Close does not wait for the reader.
	Close() error
}

// A Reader handles what a Transport receives. It is the goroutine that calls
// Receive or ReadNow, and is called on it only.
type Reader interface {
	// Room returns where to read to, and has a buffer and a State from then on, until
	// Idle.
	Room() []byte
	// Received handles n bytes that were read into Room. It reports whether to go on in
	// the same way.
	Received(n int) bool
	// Rearm sets the deadline of reads if it could be too late otherwise.
	Rearm() error
	// Idle gives up the buffer before the connection waits.
	Idle()
	// Connected reports whether the Client's CONNECT was handled.
	Connected() bool
	State() *ReadState
}

// A ReadState is what a Transport and its Reader tell each other of a read.
type ReadState struct {
	Ended error // why nothing more is to be read
	came  int   // what a read brought that receiveFirst is to handle
	// Set by Reader.Received, in nanoseconds of the Unix time: when that was, and when
	// something had come before.
	Now, Before int64
	Asked       bool // there was a whole packet that is no acknowledgement
	Unfinished  bool // there is the beginning of another
}

// Blocks reports whether TryWrite of a Transport can write nothing.
func Blocks(t Transport) bool {
	_, blocks := t.(*stream)
	return blocks
}

// longAgo is a deadline that wakes who waits.
var longAgo = time.Unix(1, 0)

func wake(c interface{ SetReadDeadline(time.Time) error }) {
	_ = c.SetReadDeadline(longAgo) // an error says that it is closed
}

func closeWrite(c net.Conn) bool {
	half, ok := c.(interface{ CloseWrite() error })
	return ok && half.CloseWrite() == nil
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
