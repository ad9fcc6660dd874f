package link

import (
	"errors"
	"net"
	"time"
)

// As many sockets as Config.MaxConnections, within these bounds, may be open beyond that:
// for connections that have no CONNACK yet or are being closed.
const handshakesMax, handshakesMin = 1024, 8

// An acceptor is a listener whose sockets count from accept until they are closed. At the
// limit a new one takes the place of the one that has waited longest without a CONNECT, or
// for its peer to close, so that those who say nothing keep nobody out. If there is none,
// the new one is closed.
type acceptor struct {
	net.Listener
	l *Listener
}

// Accept is accept for an HTTP server.
func (a *acceptor) Accept() (net.Conn, error) {
	s, err := a.accept()
	if err != nil {
		return nil, err
	}
	return s, nil
}

// accept returns the next socket for which there is room. If accepting fails, as without
// file descriptors, it waits and tries again.
func (a *acceptor) accept() (*socket, error) {
	const waitMin, waitMax = 5 * time.Millisecond, time.Second
	wait := waitMin
	for {
		a.awaitClosed()
		nc, err := a.Listener.Accept()
		switch {
		case err == nil:
			wait = waitMin
			if s := a.admit(nc.(*net.TCPConn)); s != nil {
				return s, nil
			}
		case errors.Is(err, net.ErrClosed):
			return nil, err
		default:
			a.l.network.c.Notices.Warn("accept", a.l.String(), "accept failed", "listener", a.l.String(), "error", err)
			time.Sleep(wait)
			wait = min(2*wait, waitMax)
		}
	}
}

// awaitClosed waits, not for long, while several sockets that made room for others are
// still in use, so that their descriptors are not missing elsewhere.
func (a *acceptor) awaitClosed() {
	const beingClosedMax, wait, waits = 4, time.Millisecond, 100
	for range waits {
		if n := a.l.network; n.open.Load() <= n.limit.sockets+beingClosedMax {
			return
		}
		time.Sleep(wait)
	}
}

// admit returns the socket, or nil if it was closed because there is no room.
func (a *acceptor) admit(nc *net.TCPConn) *socket {
	n := a.l.network
	s := &socket{TCPConn: nc, listener: a.l, accepted: n.c.Now().UnixNano()}
	if n.open.Add(1) > n.limit.sockets {
		out := n.waiting.oldest()
		if out == nil {
			out = s
		}
		a.refuse(out)
		if out == s {
			return nil
		}
	}
	n.waiting.add(s)
	return s
}

// refuse closes a socket so that another has room. It is counted, unless its connection had
// ended already.
func (a *acceptor) refuse(s *socket) {
	counted := s.counted.Swap(true)
	_ = s.Close()
	if counted {
		return
	}
	n := a.l.network
	n.c.Metrics.Refused("too many connections").Inc()
	n.c.Notices.Warn("too many connections", a.l.String(), "too many connections: one without CONNECT was closed", "listener", a.l.String(),
		"remote", s.RemoteAddr().String(), "limit", n.limit.connections, "key", n.limit.key)
}
