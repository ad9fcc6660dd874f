package broker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/codec"
)

// What a client does again and again is not logged again and again, and what was
// left out is counted; names that it has chosen are shown short.
func TestLogLimited(t *testing.T) { timeless(t, testLogLimited) }

func testLogLimited(t *testing.T) {
	s := newFixtureWith(t)
	const times = 100
	long := strings.Repeat("x", 60_000)
	began := time.Now()
	for i := range times {
		scanner := s.dialAs(codec.Version5)
		fmt.Fprint(scanner, "GET / HTTP/1.1\r\n\r\n")
		_ = scanner.Close()
		_ = s.dialAs(codec.Version5).Close()   // tries the port
		s.connectAs(codec.Version5, long, nil) // taken over by the next
		if i%10 == 0 {
			other, _ := s.connectAs(codec.Version5, fmt.Sprint("other", i), nil)
			other.drop() // without DISCONNECT
		}
	}
	again, _ := s.connectAs(codec.Version5, long, nil)
	again.drop()
	eventually(t, "all are gone", func() bool { return s.metric("promptmq_connections_current") == 0 })
	left := s.metric(`promptmq_log_lines_left_out_total{cause="takeover"}`)
	if left < times-1 {
		t.Errorf("%v lines about takeovers were left out of %d", left, times)
	}
	if n := s.metric(`promptmq_connections_refused_total{reason="no CONNECT"}`); n < times {
		t.Errorf("%v connections without CONNECT were counted", n)
	}
	s.stop()
	minutes := 1 + int(time.Since(began)/time.Minute)
	for _, msg := range []string{"session taken over", "connection closed"} {
		lines := s.linesOf(msg)
		if len(lines) == 0 || len(lines) > 13*minutes { // ten keys, the others, and what was left out in the end
			t.Errorf("%d lines %q", len(lines), msg)
		}
		for _, r := range lines {
			if client := r.text("client"); len(client) > 70 {
				t.Errorf("%q shows a client of %d bytes", msg, len(client))
			}
		}
	}
	each := len(s.linesOf("client connected")) + len(s.linesOf("client disconnected"))
	if all := len(s.journal.all()) - each; all > 60*minutes || each != 2*(times+times/10+1) {
		t.Errorf("%d lines", all)
	}
}

// A line about a refusal names what it was about: sizes, limits and their keys,
// topics, and the client.
func TestRefusalsNamed(t *testing.T) { timeless(t, testRefusalsNamed) }

func testRefusalsNamed(t *testing.T) {
	s := newFixtureWith(t, func(o *broker.Options) {
		o.MaxPacketSize = 1000
		o.MaxQoS = 1
		o.MaxConnections = 1
		o.QueuePolicy = "reject"
	})
	c, _ := s.connectAs(codec.Version5, "large", nil)
	c.sendPublish(codec.Publish{Topic: codec.View("t"), Payload: codec.View(strings.Repeat("x", 2000))})
	c.closed(codec.PacketTooLarge)
	left := func() bool { return s.metric("promptmq_sessions_connected") == 0 }
	eventually(t, "there is room for a connection", left)
	c, _ = s.connectAs(codec.Version5, "exact", nil)
	c.sendPublish(codec.Publish{QoS: 2, PacketID: 1, Topic: codec.View("a/b"), Payload: codec.View("x")})
	c.closed(codec.QoSNotSupported)
	eventually(t, "there is room for a connection", left)
	c, _ = s.connectAs(codec.Version5, "first", nil)
	second := s.dialAs(codec.Version5)
	second.write(codec.AppendConnect(nil, &codec.Connect{ClientID: codec.View("second"), CleanStart: true, ReceiveMaximum: 10}, codec.Version5))
	eventually(t, "all lines", func() bool { return len(s.linesOf("connection closed")) == 3 })
	c.quiet()
	for _, want := range []map[string]any{
		{"client": "large", "reason": "Packet too large", "size": 2007.0, "limit": 1000.0, "key": "mqtt.max-packet-size"},
		{"client": "exact", "reason": "QoS not supported", "qos": 2.0, "topic": "a/b", "key": "mqtt.max-qos"},
		{"client": "second", "reason": "Quota exceeded", "limit": 1.0, "key": "mqtt.max-connections"},
	} {
		found := false
		for _, r := range s.linesOf("connection closed") {
			if r["client"] == want["client"] {
				found = true
				for name, value := range want {
					if r[name] != value {
						t.Errorf("%s: %s is %v, want %v", want["client"], name, r[name], value)
					}
				}
			}
		}
		if !found {
			t.Errorf("no line about %v", want["client"])
		}
	}
}
