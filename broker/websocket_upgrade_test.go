package broker_test

import (
	"io"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/codec"
)

// TestWebSocketRefusals: a client that will not become one is told why in place
// of 101, and the connection is closed, counted and logged.
func TestWebSocketRefusals(t *testing.T) {
	t.Parallel()
	s := newListening(t)
	for _, c := range []struct {
		name   string
		lines  []string
		status int
		body   string
		reason string
	}{
		{"another case", []string{"Sec-WebSocket-Protocol: Mqtt"}, 400, `"Mqtt"`, "sub-protocol"},
		{"none", []string{"Sec-WebSocket-Protocol: "}, 400, "must offer the WebSocket sub-protocol mqtt", "sub-protocol"},
		{"others", []string{"Sec-WebSocket-Protocol: chat, mqtt5"}, 400, `"chat, mqtt5"`, "sub-protocol"},
		{"no WebSocket", []string{"Upgrade: h2c"}, 426, "MQTT over WebSocket", "no WebSocket request"},
		{"origin", []string{"Origin: http://evil.example"}, 403, `"http://evil.example"`, "origin"},
		{"no origin", []string{"Origin: null"}, 403, `"null"`, "origin"},
		{"version", []string{"Sec-WebSocket-Version: 12"}, 400, "WebSocket protocol version", "bad WebSocket request"},
		{"key", []string{"Sec-WebSocket-Key: x"}, 400, "Sec-WebSocket-Key", "bad WebSocket request"},
	} {
		before := s.refused(c.reason)
		ws, resp := askUpgrade(t, s, c.lines...)
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != c.status || !strings.Contains(string(body), c.body) {
			t.Errorf("%s: %s %q %v", c.name, resp.Status, body, err)
		}
		if _, err := ws.br.ReadByte(); err != io.EOF {
			t.Errorf("%s: the connection stays open: %v", c.name, err)
		}
		if n := s.refused(c.reason) - before; n != 1 {
			t.Errorf("%s: counted %v times", c.name, n)
		}
	}
	logged := map[string]bool{}
	for _, r := range s.journal.all() {
		if r.text("msg") == "WebSocket request refused" {
			logged[r.text("origin")] = true
		}
	}
	if !logged["http://evil.example"] || !logged["null"] {
		t.Errorf("logged origins: %v", logged)
	}
}

// TestSubprotocol: the answer is what the client offered and the broker speaks,
// letter by letter. [MQTT-6.0.0-3] [MQTT-6.0.0-4]
func TestSubprotocol(t *testing.T) {
	t.Parallel()
	s := newListening(t)
	for offer, want := range map[string]string{
		"Mqtt, mqtt": "mqtt", "chat,mqtt": "mqtt", "mqttv3.1, mqtt": "mqtt", "mqttv3.1": "mqttv3.1", "chat\r\nSec-WebSocket-Protocol: mqtt": "mqtt",
	} {
		ws, resp := askUpgrade(t, s, "Sec-WebSocket-Protocol: "+offer)
		if got := resp.Header.Values("Sec-WebSocket-Protocol"); resp.StatusCode != 101 || len(got) != 1 || got[0] != want {
			t.Errorf("%q: %s %q", offer, resp.Status, got)
			continue
		}
		p, ack := overWebSocket(t, ws, "c", nil)
		if ack.Reason != codec.Success {
			t.Errorf("%q: %v", offer, ack.Reason)
		}
		p.quiet()
		_ = p.Close()
	}
}

// TestOrigins: which pages may connect is a setting.
func TestOrigins(t *testing.T) {
	t.Parallel()
	origins := func(list string) func(*broker.Options) {
		return func(o *broker.Options) { o.WSOrigins = list }
	}
	s := newListening(t, origins("https://app.example.com, *.example.org:8443, same"))
	for origin, want := range map[string]int{
		"https://app.example.com":       101,
		"http://app.example.com":        403,
		"https://APP.example.com":       101,
		"https://app.example.com:444":   403,
		"https://a.example.org:8443":    101,
		"https://a.example.org":         403,
		"https://a.b.example.org:8443":  101,
		"https://aexample.org:8443":     403,
		"http://" + s.wsAddr():          101,
		"null":                          403,
		"https://app.example.com.evil":  403,
		"https://evil/app.example.com":  403,
		"https://app.example.com@evil/": 403,
	} {
		if _, resp := askUpgrade(t, s, "Origin: "+origin); resp.StatusCode != want {
			t.Errorf("%s: %s, not %d", origin, resp.Status, want)
		}
	}
	anybody := newListening(t, origins("any"))
	list := newListening(t, origins("null, app.example.com"))
	for _, c := range []struct {
		s      *fixture
		origin string
		want   int
	}{
		{anybody, "http://evil.example", 101}, {anybody, "null", 101}, {anybody, "%%", 101},
		{list, "null", 101}, {list, "https://app.example.com:1", 101}, {list, "http://" + list.wsAddr(), 403}, {list, "%%", 403},
	} {
		if _, resp := askUpgrade(t, c.s, "Origin: "+c.origin); resp.StatusCode != c.want {
			t.Errorf("%s: %s, not %d", c.origin, resp.Status, c.want)
		}
	}
}
