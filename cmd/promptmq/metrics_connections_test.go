package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// disconnects returns how many connections have ended, by listener and reason, and how many
// were opened, by listener.
func (s *server) disconnects() (ended map[string]float64, opened, all float64) {
	s.t.Helper()
	ended = make(map[string]float64)
	for name, v := range s.scrape() {
		switch {
		case strings.HasPrefix(name, "promptmq_disconnects_total{"):
			all += v
			if v > 0 {
				ended[strings.TrimPrefix(name, "promptmq_disconnects_total")] = v
			}
		case strings.HasPrefix(name, "promptmq_listener_connections_total{"):
			opened += v
		}
	}
	return ended, opened, all
}

// TestDisconnectsAreCounted ends connections in all ways that a test can, and compares.
func TestDisconnectsAreCounted(t *testing.T) {
	t.Parallel()
	s := start(t, "server: {write-timeout: 1s}")
	polite := v5Of(t, s, "polite", nil)
	polite.send(codec.AppendDisconnect(nil, &codec.Disconnect{}, codec.Version5))
	v5Of(t, s, "lost", nil).drop()
	silent := v5Of(t, s, "silent", func(c *codec.Connect) { c.KeepAliveSeconds = 1 })
	v5Of(t, s, "twice", nil)
	v5Of(t, s, "twice", nil)
	bad := v5Of(t, s, "bad", nil)
	bad.send([]byte{0xF1, 0}, nil)
	bad.closed(codec.MalformedPacket)
	early := dialRaw(t, s.mqtt, codec.Version5)
	early.send(codec.AppendPingreq(nil), nil)
	early.closed(codec.Success)
	overWebSocket, _ := connectOver(t, dialWebSocket(t, s.ws), codec.Version5, "web", nil)
	overWebSocket.send(codec.AppendDisconnect(nil, &codec.Disconnect{}, codec.Version5))
	stuck := v5Of(t, s, "stuck", nil)
	stuck.subscribeOne("flood", 0)
	silent.closed(codec.KeepAliveTimeout)
	pub := v5Of(t, s, "pub", nil)
	want := fmt.Sprint(map[string]float64{
		`{listener="mqtt",reason="client"}`: 1, `{listener="mqtt",reason="lost"}`: 1, `{listener="mqtt",reason="keep_alive"}`: 1,
		`{listener="mqtt",reason="taken_over"}`: 1, `{listener="mqtt",reason="protocol_error"}`: 1, `{listener="mqtt",reason="no_connack"}`: 1,
		`{listener="mqtt",reason="write_timeout"}`: 1, `{listener="websocket",reason="client"}`: 1,
	})
	payload := make([]byte, 64<<10)
	var got string
	defer func() {
		if t.Failed() {
			t.Logf("counted  %s\nexpected %s", got, want)
		}
	}()
	eventually(t, "all have ended", func() bool {
		for range 100 {
			pub.publish(codec.Publish{Topic: codec.View("flood"), Payload: payload})
		}
		pub.quiet()
		ended, opened, all := s.disconnects()
		got = fmt.Sprint(ended)
		return got == want && opened == s.metric("promptmq_connections_total") && opened == all+s.metric("promptmq_connections_current")
	})
}
