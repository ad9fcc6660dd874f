package link

import (
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/x0a1b/promptmq/codec"
)

func TestCloseStatus(t *testing.T) {
	for reason, want := range map[codec.ReasonCode]websocket.StatusCode{
		codec.Success:                    websocket.StatusNormalClosure,
		codec.MalformedPacket:            websocket.StatusProtocolError,
		codec.ProtocolError:              websocket.StatusProtocolError,
		codec.UnsupportedProtocolVersion: websocket.StatusProtocolError,
		codec.PacketTooLarge:             websocket.StatusMessageTooBig,
		codec.ServerShuttingDown:         websocket.StatusGoingAway,
		codec.NotAuthorized:              websocket.StatusPolicyViolation,
		codec.SessionTakenOver:           websocket.StatusPolicyViolation,
	} {
		if got := closeStatus(reason); got != want {
			t.Errorf("%v: %d, not %d", reason, got, want)
		}
	}
}

func TestViaProxy(t *testing.T) {
	for host, local := range map[string]bool{
		"localhost": true, "localhost:8080": true, "LocalHost.": true, "a.localhost": true, "127.0.0.1:1": true, "[::1]": true, "[::1]:8080": true,
		"::1": true, "[::ffff:127.0.0.1]:1": true, "": false, "example.com": false, "localhost.example.com": false, "10.0.0.1": false,
		"127.0.0.1.example.com": false, "0.0.0.0": false, "[::]": false, "xlocalhost": false,
	} {
		if got := !viaProxy(&http.Request{Host: host, Header: http.Header{}}); got != local {
			t.Errorf("%q: local %v", host, got)
		}
	}
	for _, name := range []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Proto", "X-Real-IP", "True-Client-IP"} {
		h := http.Header{}
		h.Set(name, "x")
		if !viaProxy(&http.Request{Host: "localhost", Header: h}) {
			t.Errorf("%s: local", name)
		}
	}
}

func TestForeign(t *testing.T) {
	for _, c := range []struct {
		b    string
		at   string
		want string
	}{
		{"PROXY UNKNOWN\r\n", KindTCP, "a header of the PROXY"},
		{"\r\n\r\n\x00\r\nQUIT\n", KindWS, "a header of the PROXY"},
		{"GET / HTTP/1.1", KindTCP, "an HTTP request"},
		{"GET / HTTP/1.1", KindWS, ""},
		{"\x16\x03\x01", KindTCP, "a TLS"},
		{"\x10\x10\x00\x04MQTT", KindTCP, ""},
		{"\x10\x10\x00\x04MQTT", KindWS, "MQTT without"},
		{"", KindTCP, ""}, {"", KindWS, ""}, {"PROX", KindTCP, ""}, {"\x16", KindTCP, ""},
	} {
		if got := kinds[c.at].foreign([]byte(c.b)); !strings.HasPrefix(got, c.want) || (c.want == "") != (got == "") {
			t.Errorf("%q at %s: %q", c.b, c.at, got)
		}
	}
}
