package broker_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/codec"
)

// TestProxyIsNotLocal: what a proxy on this machine hands on does not come from
// this machine, where it can be told; without allow-anonymous it is refused.
func TestProxyIsNotLocal(t *testing.T) {
	t.Parallel()
	closed := newListening(t)
	open := newListening(t, func(o *broker.Options) { o.AllowAnonymous = true })
	port := closed.wsAddr()[strings.LastIndexByte(closed.wsAddr(), ':'):]
	for _, c := range []struct {
		line string
		want codec.ReasonCode
	}{
		{"User-Agent: x", codec.Success},
		{"Host: localhost" + port, codec.Success},
		{"Host: LOCALHOST", codec.Success},
		{"Host: [::1]" + port, codec.Success},
		{"Host: 127.3.2.1", codec.Success},
		{"Forwarded: for=192.0.2.60", codec.NotAuthorized},
		{"forwarded: for=127.0.0.1", codec.NotAuthorized},
		{"X-Forwarded-For: 127.0.0.1", codec.NotAuthorized},
		{"x-forwarded-proto: https", codec.NotAuthorized},
		{"X-Real-IP: 192.0.2.60", codec.NotAuthorized},
		{"Via: 1.1 proxy", codec.NotAuthorized},
		{"CF-Connecting-IP: 192.0.2.60", codec.NotAuthorized},
		{"Host: mqtt.example.com", codec.NotAuthorized},
		{"Host: localhost.example.com", codec.NotAuthorized},
		{"Host: 192.0.2.1" + port, codec.NotAuthorized},
	} {
		if _, ack := overWebSocket(t, openWebSocket(t, closed, c.line), "c", nil); ack.Reason != c.want {
			t.Errorf("%s: %v, not %v", c.line, ack.Reason, c.want)
		}
	}
	if _, ack := overWebSocket(t, openWebSocket(t, open, "X-Forwarded-For: 192.0.2.60"), "c", nil); ack.Reason != codec.Success {
		t.Errorf("with allow-anonymous: %v", ack.Reason)
	}
}

// TestForeignProtocols: what is not for a listener is closed, and the log says
// what it is.
func TestForeignProtocols(t *testing.T) {
	t.Parallel()
	s := newListening(t, func(o *broker.Options) { o.AllowAnonymous = true })
	connect := "\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01x"
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x01\x10\x00\x07\x5b"
	for name, c := range map[string]struct{ addr, send, logged string }{
		"PROXY 1":              {s.addr(), "PROXY TCP4 127.0.0.1 127.0.0.1 4096 1883\r\n" + connect, "a header of the PROXY protocol"},
		"PROXY 2":              {s.addr(), v2 + connect, "a header of the PROXY protocol"},
		"PROXY 1 to WebSocket": {s.wsAddr(), "PROXY TCP4 127.0.0.1 127.0.0.1 4096 8080\r\nGET / HTTP/1.1\r\n\r\n", "a header of the PROXY protocol"},
		"PROXY 2 to WebSocket": {s.wsAddr(), v2 + "GET / HTTP/1.1\r\n\r\n", "a header of the PROXY protocol"},
		"HTTP":                 {s.addr(), "GET /mqtt HTTP/1.1\r\nHost: x\r\n\r\n", "an HTTP request"},
		"TLS":                  {s.addr(), "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "a TLS handshake"},
		"TLS to WebSocket":     {s.wsAddr(), "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "a TLS handshake"},
		"MQTT to WebSocket":    {s.wsAddr(), connect + "\r\n\r\n", "MQTT without WebSocket"},
	} {
		nc := dialTCP(t, c.addr)
		at := map[string]string{s.addr(): "mqtt", s.wsAddr(): "websocket"}[c.addr] // one line a minute for each listener and kind
		if _, err := nc.Write([]byte(c.send)); err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, nc); strings.Contains(got, "\x20\x02") {
			t.Errorf("%s: answered %q", name, got)
		}
		_ = nc.Close()
		eventually(t, name+" is logged", func() bool {
			for _, r := range s.journal.all() {
				if r.text("listener") == at && strings.HasPrefix(r.text("detail"), c.logged) {
					return true
				}
			}
			return false
		})
	}
	if n := s.metric("promptmq_sessions"); n != 0 {
		t.Errorf("%v sessions", n)
	}
}

// readAll reads until the broker closes.
func readAll(t *testing.T, nc net.Conn) string {
	t.Helper()
	var all []byte
	b := make([]byte, 1024)
	for {
		if err := nc.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		n, err := nc.Read(b)
		if all = append(all, b[:n]...); isTimeout(err) {
			t.Fatal("the connection stays open")
		}
		if err != nil {
			return string(all)
		}
	}
}
