package link

import (
	"io"
	"net"

	"github.com/x0a1b/promptmq/broker/trouble"
)

// begins reports whether something comes before MQTT, or the request for a WebSocket.
func (l *Listener) begins() bool { return l.kind.secure || l.config.Load().ProxyProtocol }

// begin does what comes before. It returns nil if that fails; then s is closed.
func (l *Listener) begin(s *socket) *opening {
	if l.config.Load().ProxyProtocol {
		if reason, err := l.readOrigin(s); err != nil {
			l.refuse(s, reason, err)
			return nil
		}
		if from := s.RemoteAddr(); !l.config.Load().forwards(addressOf(from)) && !l.admits(from, s.origin.Load() == nil) {
			s.counted.Store(true)
			_ = s.Close()
			return nil
		}
	}
	o := &opening{Conn: s, s: s}
	if l.kind.secure {
		var nc net.Conn
		if o.secure, nc = l.handshake(s); o.secure == nil {
			return nil
		}
		o.Conn = nc
	}
	return o
}

// refuse counts, logs and closes a socket that does not begin as it should. One that sent
// nothing, as of a load balancer that tries the port, is not logged.
func (l *Listener) refuse(s *socket, reason string, err error) {
	defer s.Close()
	if s.counted.Swap(true) {
		return
	}
	c := &l.network.c
	c.Metrics.Refused(reason).Inc()
	if err != io.EOF {
		c.Notices.Warn(reason, HostOf(s.RemoteAddr()), "connection closed", trouble.ProxyHeader, "listener", l.String(), "remote", s.RemoteAddr().String(), "reason", reason, "error", err)
	}
}

// transport is what MQTT comes over, or the frames of a WebSocket.
func (o *opening) transport() Transport {
	if o.secure != nil {
		return o.secure
	}
	return newTransport(o.s)
}

// establish has a Transport over TLS not block any more.
func establish(t Transport) {
	if t, ok := t.(*secure); ok {
		t.established = true
	}
}
