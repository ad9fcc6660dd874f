package link

import (
	"net"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// CloseWait is how long a last packet may take to leave.
const CloseWait = 5 * time.Second

// A Transport is a Network Connection: an ordered, lossless stream of bytes in
// both directions. Section 4.2. [MQTT-4.2-1] One goroutine reads and, at a time,
// one writes; the other methods are for any.
type Transport interface {
	// Receive reads into r.Room and calls r.Received, over and over, until that wants no
	// more, or the connection ends or its deadline passes. The error is the one returned
	// or, if that is nil, r.State().Ended. It calls r.Idle before it blocks.
	Receive(r Reader) error
	// Wake has Receive, or the next call of it, return os.ErrDeadlineExceeded when what was
	// read is handled.
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
	// EndWith says why Close will be called, for a Transport that can tell the peer.
	EndWith(codec.ReasonCode)
	// CloseWrite ends the stream to the peer and leaves the one from it open. If it cannot,
	// it does nothing and reports false.
	CloseWrite() bool
	// Close closes both, without blocking. Only the first call does something.
	Close() error
}

// A Reader handles what a Transport receives, on the goroutine that calls Receive or
// ReadNow.
type Reader interface {
	// Room returns where to read to. The Reader has a buffer and a State from then on,
	// until Idle.
	Room() []byte
	// Received handles n bytes that were read into Room, and reports whether to read on.
	Received(n int) bool
	// Rearm sets the deadline of reads if the one that is set is too late.
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
	came  int   // bytes that receiveFirst is to handle
	// Set by Reader.Received, in nanoseconds of the Unix time: when that was, and when
	// something had come before.
	Now, Before int64
	Asked       bool // there was a whole packet that is no acknowledgement
	Unfinished  bool // there is the beginning of another
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
