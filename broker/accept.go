package broker

import (
	"errors"
	"net"
	"sync"
	"time"
)

// handshakesMax is how many sockets may be open beyond Options.MaxConnections, for
// connections that have no CONNACK yet or are being closed; no more than
// MaxConnections itself, and no fewer than handshakesMin.
const handshakesMax, handshakesMin = 1024, 8

// An acceptor is a listener whose sockets count from accept until they are
// closed, whatever they say or do not say. When as many as may be are open, a new one
// takes the place of the one that has waited longest without a CONNECT, or after
// its end for the peer to close, so that those who say nothing keep nobody out.
// If there is none, the new one is closed.
type acceptor struct {
	net.Listener
	b    *Broker
	kind listenerKind
}

// Accept returns the next socket there is room for. When the process runs out of
// file descriptors it waits and tries again.
func (a *acceptor) Accept() (net.Conn, error) {
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
			a.b.notices.Warn("accept", a.kind.String(), "accept failed", "listener", a.kind.String(), "error", err)
			time.Sleep(wait)
			wait = min(2*wait, waitMax)
		}
	}
}

// awaitClosed waits while several sockets that made room for others are still in use:
// their descriptors would be missing elsewhere. It does not wait long.
func (a *acceptor) awaitClosed() {
	const beingClosedMax, wait, waits = 4, time.Millisecond, 100
	for range waits {
		if a.b.sockets.Load() <= a.b.limit.sockets+beingClosedMax {
			return
		}
		time.Sleep(wait)
	}
}

// admit returns the socket, or nil if it was closed because there is no room.
func (a *acceptor) admit(nc *net.TCPConn) *socket {
	b := a.b
	s := &socket{TCPConn: nc, b: b, accepted: momentOf(b.clock.Now())}
	if b.sockets.Add(1) > b.limit.sockets {
		out := b.waiting.oldest()
		if out == nil {
			out = s
		}
		a.refuse(out)
		if out == s {
			return nil
		}
	}
	b.waiting.add(s)
	return s
}

// refuse closes a socket so that another has room. That is no refusal if its
// connection had ended.
func (a *acceptor) refuse(s *socket) {
	counted := s.counted.Swap(true)
	_ = s.Close()
	if counted {
		return
	}
	a.b.m.Refused("too many connections").Inc()
	a.b.notices.Warn("too many connections", a.kind.String(), "too many connections: one without CONNECT was closed", "listener", a.kind.String(),
		"remote", s.RemoteAddr().String(), "limit", a.b.limit.connections, "key", a.b.limit.key)
}

// waitingSockets are those that make room for others: without CONNECT, or of
// connections that have ended. The longest there comes first.
type waitingSockets struct {
	mu          sync.Mutex // guards the following, and among, before and after of all sockets
	first, last *socket    // nil: there is none
}

func (w *waitingSockets) add(s *socket) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.among || s.state.Load()&socketClosed != 0 {
		return
	}
	s.among, s.before, s.after = true, w.last, nil
	if w.last == nil {
		w.first = s
	} else {
		w.last.after = s
	}
	w.last = s
}

// addEnded is add for one whose connection has ended.
func (w *waitingSockets) addEnded(s *socket) {
	s.counted.Store(true) // by what ended it
	w.add(s)
}

func (w *waitingSockets) remove(s *socket) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.removeLocked(s)
}

func (w *waitingSockets) removeLocked(s *socket) {
	if !s.among {
		return
	}
	if s.before == nil {
		w.first = s.after
	} else {
		s.before.after = s.after
	}
	if s.after == nil {
		w.last = s.before
	} else {
		s.after.before = s.before
	}
	s.among, s.before, s.after = false, nil, nil
}

// oldest takes out the first; nil: there is none.
func (w *waitingSockets) oldest() *socket {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.first
	if s != nil {
		w.removeLocked(s)
	}
	return s
}

// socketOf returns the socket of a transport; nil: it has none.
func socketOf(t transport) *socket {
	switch t := t.(type) {
	case *webSocketTransport:
		return t.s
	case *rawTransport:
		return t.socket
	case streamTransport:
		s, _ := t.Conn.(*socket)
		return s
	}
	return nil
}
