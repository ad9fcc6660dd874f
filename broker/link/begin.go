package link

import (
	"net"
)

// begins reports whether something comes before MQTT, or the request for a WebSocket.
func (l *Listener) begins() bool { return l.kind.secure }

// begin does what comes before. It returns nil if that fails; then s is closed.
func (l *Listener) begin(s *socket) *opening {
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
