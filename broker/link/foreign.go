package link

import (
	"bytes"
	"net"

	"github.com/x0a1b/promptmq/broker/trouble"
)

// proxyV2 is how the header of version 2 of the PROXY protocol begins.
var proxyV2 = []byte("\r\n\r\n\x00\r\nQUIT\n")

var httpMethods = [][]byte{
	[]byte("GET "), []byte("HEAD "), []byte("POST "), []byte("PUT "), []byte("DELETE "), []byte("OPTIONS "), []byte("CONNECT "), []byte("PATCH "), []byte("TRACE "),
}

// foreign says what a connection begins with if that is known and for no listener, else "".
// With the PROXY protocol a connection is refused: what the header says is not believed, and
// by the proxy's own address it could pass for one of this machine.
func foreign(b []byte) string {
	switch {
	case bytes.HasPrefix(b, []byte("PROXY ")), bytes.HasPrefix(b, proxyV2):
		return "a header of the PROXY protocol, which this listener does not take: let the proxy send none, or set proxy-protocol of the listener"
	case len(b) >= 3 && b[0] == 0x16 && b[1] == 3 && b[2] <= 4:
		return "a TLS handshake: that is for a listener of kind tls or wss"
	}
	return ""
}

// foreignToMQTT is foreign where plain MQTT is expected.
func foreignToMQTT(b []byte) string {
	for _, method := range httpMethods {
		if bytes.HasPrefix(b, method) {
			return "an HTTP request: MQTT over WebSocket is for the port of server.ws-bind"
		}
	}
	return foreign(b)
}

// foreignToHTTP is foreign where a WebSocket request is expected.
func foreignToHTTP(b []byte) string {
	if len(b) > 0 && b[0] == 0x10 {
		return "MQTT without WebSocket: that is for the port of server.bind"
	}
	return foreign(b)
}

// CheckFirst returns a ForeignError if b, the beginning of a connection, is not for its
// listener. Where MQTT comes within another protocol, that has been looked at before.
func (l *Listener) CheckFirst(b []byte) error {
	if l == nil || l.kind.layered || l.kind.foreign == nil {
		return nil
	}
	if what := l.kind.foreign(b); what != "" {
		return ForeignError(what)
	}
	return nil
}

// A ForeignError says what a connection begins with that is not for its listener.
type ForeignError string

func (e ForeignError) Error() string { return "the connection begins with " + string(e) }

// RefuseForeign counts and logs a connection that begins with what is not for its
// listener.
func (l *Listener) RefuseForeign(remote net.Addr, what ForeignError) {
	n := l.network
	n.c.Metrics.Refused("foreign protocol").Inc()
	n.c.Notices.Warn("foreign protocol", l.String()+string(what), "connection closed", trouble.ForeignProtocol, "listener", l.String(), "remote", remote.String(), "detail", string(what))
}
