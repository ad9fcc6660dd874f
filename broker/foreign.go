package broker

import (
	"bytes"
	"net"
)

// proxyV2 is how the header of version 2 of the PROXY protocol begins.
var proxyV2 = []byte("\r\n\r\n\x00\r\nQUIT\n")

var httpMethods = [][]byte{
	[]byte("GET "), []byte("HEAD "), []byte("POST "), []byte("PUT "), []byte("DELETE "), []byte("OPTIONS "), []byte("CONNECT "), []byte("PATCH "), []byte("TRACE "),
}

// foreign says what it is that a connection begins with, if that is known and not
// for this listener; else it returns "". What a proxy says about where a
// connection comes from is not believed, so the connection is refused: with its
// own address it could pass for one of this machine.
func foreign(b []byte, at listenerKind) string {
	switch {
	case bytes.HasPrefix(b, []byte("PROXY ")), bytes.HasPrefix(b, proxyV2):
		return "a header of the PROXY protocol, which this version does not take: let the proxy send none"
	case len(b) >= 3 && b[0] == 0x16 && b[1] == 3 && b[2] <= 4:
		return "a TLS handshake, which this version does not take: let the client use none, or put what ends TLS in front of the broker"
	case at == webSocketListener && len(b) > 0 && b[0] == 0x10:
		return "MQTT without WebSocket: that is for the port of server.bind"
	}
	for _, method := range httpMethods {
		if at != webSocketListener && bytes.HasPrefix(b, method) {
			return "an HTTP request: MQTT over WebSocket is for the port of server.ws-bind"
		}
	}
	return ""
}

// A foreignError is what foreign says of how a connection begins.
type foreignError string

func (e foreignError) Error() string { return "the connection begins with " + string(e) }

// refuseForeign counts and logs a connection that begins with what is not for its
// listener.
func (b *Broker) refuseForeign(at listenerKind, remote net.Addr, what string) {
	b.m.Refused("foreign protocol").Inc()
	b.notices.Warn("foreign protocol", at.String()+what, "connection closed", "listener", at.String(), "remote", remote.String(), "detail", what)
}
