package link

import (
	"errors"
	"net"
	"sync/atomic"
)

// A socket is one of TCP. Its descriptor may be used directly, by who has entered:
// it stays open until all have left. So Close, which such a user may call too,
// leaves it to the last of them.
type socket struct {
	*net.TCPConn

	// Static after accept.
	listener *Listener
	accepted int64 // in nanoseconds of the Unix time; 0: no listener did

	state   atomic.Int32
	counted atomic.Bool // as refused, or that there is nothing to count

	// Owned by the reader.
	emptied   uint8 // reads that emptied the socket, up to watchAfter
	connected bool  // CONNECT was handled when Receive was called
	silences        // of its peer

	// Its neighbours among the waiting ones, if it is; guarded by waitingSockets.mu.
	among         bool
	before, after *socket

	fd int32 // the descriptor, for who has entered; static after newTransport

	// Owned by the HTTP server of the WebSocket listener.
	answered bool   // there was a request
	first    []byte // how what came begins, until there is
}

// The bits of socket.state; above them is the number of users.
const (
	socketClosed  int32 = 1 << iota // Close was called
	socketWatched                   // by hangups, from when a user of it asked for that
	socketHungUp                    // the peer has ended: it is to be read until that comes
	socketUser
)

// enter keeps the descriptor open until leave. It reports false if it is closed.
func (s *socket) enter() bool {
	if s.state.Add(socketUser)&socketClosed != 0 {
		s.leave()
		return false
	}
	return true
}

func (s *socket) leave() {
	if state := s.state.Add(-socketUser); state&socketClosed != 0 && state < socketUser {
		_ = s.closeDescriptor() // what it reports nobody can mend
	}
}

// socketFirstMax is how much of the beginning is kept: enough for foreign.
const socketFirstMax = 16

// Read is for the HTTP server: a transport reads without it.
func (s *socket) Read(b []byte) (int, error) {
	n, err := s.TCPConn.Read(b)
	if n > 0 && !s.answered && len(s.first) < socketFirstMax {
		s.first = append(s.first, b[:min(n, socketFirstMax-len(s.first))]...)
	}
	return n, err
}

// Close closes the socket, and makes room for another. If it is in use it lets the
// peer see the end, and wakes who waits.
func (s *socket) Close() error {
	old := s.state.Or(socketClosed)
	if old&socketClosed != 0 {
		return net.ErrClosed
	}
	if old < socketUser {
		return s.closeDescriptor()
	}
	_ = s.CloseWrite() // fails if the peer has closed
	return s.SetReadDeadline(longAgo)
}

// closeDescriptor is called when nobody uses it, nor will.
func (s *socket) closeDescriptor() error {
	if s.state.Load()&socketWatched != 0 {
		s.listener.network.hangups.forget(s)
	}
	err := s.TCPConn.Close()
	if s.accepted != 0 && !errors.Is(err, net.ErrClosed) {
		s.listener.network.closed(s)
	}
	return err
}

// hungUp makes the reader read until the connection ends.
func (s *socket) hungUp() {
	s.state.Or(socketHungUp)
	_ = s.SetReadDeadline(longAgo) // fails if it is closed
}
