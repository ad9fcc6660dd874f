package link

import (
	"errors"
	"net"
	"sync/atomic"
	"syscall"
)

// A netSocket is a connection of the system: a *net.TCPConn or *net.UnixConn.
type netSocket interface {
	net.Conn
	syscall.Conn
	CloseRead() error
	CloseWrite() error
}

// A socket is a connection over TCP or a Unix socket. Who has entered may use its descriptor
// directly: it stays open until all have left, so if there are such users, Close leaves it to
// the last of them to close it.
type socket struct {
	netSocket

	// Static after accept.
	listener *Listener
	accepted int64 // when, in Unix nanoseconds; 0: by no listener

	origin atomic.Pointer[net.TCPAddr] // where the peer is, as a trusted proxy says; nil: none does

	state   atomic.Int32 // the bits below, and the number of users
	counted atomic.Bool  // as refused, or there is nothing to count

	// Owned by the reader.
	emptied   uint8 // reads that emptied the socket, up to watchAfter
	connected bool  // CONNECT was handled when Receive was called
	silences        // of its peer

	// Guarded by waitingSockets.mu: whether it is among these, and its neighbours.
	among         bool
	before, after *socket

	fd int32 // the descriptor, for who has entered; static after newTransport
}

// rawConn sets fd.
func (s *socket) rawConn() (conn syscall.RawConn, err error) {
	if tcp, ok := s.netSocket.(*net.TCPConn); ok { // apart, since then the function is not allocated
		if conn, err := tcp.SyscallConn(); err == nil {
			return conn, conn.Control(func(fd uintptr) { s.fd = int32(fd) })
		}
	}
	if conn, err = s.SyscallConn(); err != nil {
		return nil, err
	}
	return conn, conn.Control(func(fd uintptr) { s.fd = int32(fd) })
}

// The bits of socket.state; above them is the number of users.
const (
	socketClosed    int32 = 1 << iota // Close was called
	socketWatched                     // hangups watch it
	socketHungUp                      // the peer has ended: it is to be read to its end
	socketBeginning                   // what comes before a request for a WebSocket is awaited, or that
	socketUser                        // one user
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
		_ = s.closeDescriptor() // nobody can do anything about an error
	}
}

// RemoteAddr is where the peer is, as far as that is known.
func (s *socket) RemoteAddr() net.Addr {
	if a := s.origin.Load(); a != nil {
		return a
	}
	if a := s.netSocket.RemoteAddr(); a == nil || a.Network() != "unix" {
		return a
	}
	return localPeer{}
}

// Close closes the socket. If it has users, the peer sees the end now, and the reader is
// woken; the last user closes the descriptor.
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

// closeDescriptor is called when there are no users, nor will be.
func (s *socket) closeDescriptor() error {
	if s.state.Load()&socketWatched != 0 {
		s.listener.network.hangups.forget(s)
	}
	err := s.netSocket.Close()
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
