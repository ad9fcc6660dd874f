package link

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/broker/trouble"
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
	l    *Listener
	pace pace
}

// accept returns the next socket for which there is room. If accepting fails, as without
// file descriptors, it waits and tries again.
func (a *acceptor) accept() (*socket, error) {
	const waitMin, waitMax = 5 * time.Millisecond, time.Second
	wait := waitMin
	for {
		a.awaitClosed()
		a.pace.keep(a.l.network)
		a.l.handling.Store(0)
		nc, err := a.Listener.Accept()
		a.l.handling.Store(a.l.network.c.Now().UnixNano())
		if control.Broken(control.AcceptKept) {
			select {}
		}
		switch {
		case err == nil:
			wait = waitMin
			if s := a.admit(nc.(netSocket)); s != nil {
				return s, nil
			}
		case errors.Is(err, net.ErrClosed):
			return nil, err
		default:
			a.l.network.c.Notices.Warn("accept", a.l.String(), "accept failed", trouble.AcceptFailed, "listener", a.l.String(), "error", err)
			time.Sleep(wait)
			wait = min(2*wait, waitMax)
		}
	}
}

// acceptsWithin is how long a listener may have to do with one socket before it accepts the
// next: nothing that it does takes as long.
var acceptsWithin = control.Sooner(control.StalledSoon, 10*time.Second)

// Accepting returns nil unless a listener has not come back from a socket.
func (n *Network) Accepting() error {
	for _, l := range n.Listeners() {
		began := l.handling.Load()
		if took := n.c.Now().Sub(time.Unix(0, began)); began != 0 && took > acceptsWithin {
			return fmt.Errorf("listener %q has accepted nothing for %v", l, took.Truncate(time.Second))
		}
	}
	return nil
}

// awaitClosed waits, not for long, while several sockets that made room for others are
// still in use, so that their descriptors are not missing elsewhere.
func (a *acceptor) awaitClosed() {
	const beingClosedMax, wait, waits = 4, time.Millisecond, 100
	for range waits {
		if n := a.l.network; n.open.Load() <= n.SocketsMax()+beingClosedMax {
			return
		}
		time.Sleep(wait)
	}
}

// admit returns the socket, or nil if it was closed because there is no room.
func (a *acceptor) admit(nc netSocket) *socket {
	n, c := a.l.network, a.l.config.Load()
	s := &socket{netSocket: nc, listener: a.l, accepted: n.c.Now().UnixNano()}
	if from := s.RemoteAddr(); !c.byProxy(addressOf(from)) && !a.l.admits(from, false) {
		_ = nc.Close()
		return nil
	}
	if a.l.kind.layered {
		s.state.Store(socketBeginning)
	}
	all, own := n.open.Add(1), a.l.open.Add(1)
	limit := n.limit.Load()
	switch {
	case c.MaxConnections > 0 && own > int64(c.MaxConnections):
		most := int64(c.MaxConnections)
		if !a.makeRoom(s, a.l.waiting.oldest(), &socketLimit{most, causeConnections, most, "max-connections of the listener"}) {
			return nil
		}
	case all > limit.sockets:
		if !a.makeRoom(s, n.oldest(), limit) {
			return nil
		}
	}
	a.l.waiting.add(s)
	return s
}

// makeRoom closes a socket that waits or, if there is none, the new one. It reports whether
// the new one stays.
func (a *acceptor) makeRoom(s, waits *socket, limit *socketLimit) bool {
	out := waits
	if out == nil {
		out = s
	}
	a.refuse(out, limit)
	return out != s
}

// refuse closes a socket so that another has room. It is counted, unless its connection had
// ended already.
func (a *acceptor) refuse(s *socket, limit *socketLimit) {
	counted := s.counted.Swap(true)
	_ = s.Close()
	if counted {
		return
	}
	n, name := a.l.network, s.listener.String()
	n.c.Metrics.Refused(limit.cause).Inc()
	n.c.Metrics.ListenerRefused(name).Inc()
	n.c.Notices.Warn(limit.cause, name, "too many connections: one without CONNECT was closed", trouble.TooManyConnections, "listener", name,
		"remote", s.RemoteAddr().String(), "limit", limit.shown, "key", limit.key)
}
