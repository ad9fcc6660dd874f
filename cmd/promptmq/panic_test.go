package main

import (
	"fmt"
	"net"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// panicPlaces are places in which locks are held or which no connection waits for,
// and what makes the broker come there.
var panicPlaces = map[string]func(t *testing.T, s *server){
	"page": func(t *testing.T, s *server) {
		c, _ := connectRaw(t, s.mqtt, codec.Version5, "queue", lasting)
		c.subscribeOne("many", 1)
		c.drop()
		pub, _ := connectRaw(t, s.mqtt, codec.Version5, "pub", nil)
		for i := range uint16(700) { // more than are kept in memory
			pub.publish(codec.Publish{QoS: 1, PacketID: i + 1, Topic: codec.View("many")})
		}
		for range 700 {
			pub.ack(codec.TypePuback)
		}
		c, _ = connectRaw(t, s.mqtt, codec.Version5, "queue", resumed)
		for { // until the connection ends, for which nothing more would be read
			f, err := c.next()
			if err != nil {
				return
			}
			var p codec.Publish
			if err := p.Decode(f, codec.Version5); err != nil {
				t.Fatal(err)
			}
			b, _ := codec.AppendAck(nil, &codec.Ack{Type: codec.TypePuback, PacketID: p.PacketID}, codec.Version5) // cannot fail
			_, _ = c.Write(b)                                                                                      // next tells
		}
	},
	"expiry": func(t *testing.T, s *server) {
		c, _ := connectRaw(t, s.mqtt, codec.Version5, "short", func(c *codec.Connect) { c.HasSessionExpiry, c.SessionExpirySeconds = true, 1 })
		c.drop()
	},
	"retained-expiry": func(t *testing.T, s *server) {
		c, _ := connectRaw(t, s.mqtt, codec.Version5, "pub", nil)
		c.publish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View("short"), Payload: codec.View("x"), HasMessageExpiry: true, MessageExpirySeconds: 1})
		c.ack(codec.TypePuback)
	},
	"cleanup": func(t *testing.T, s *server) {
		c, _ := connectRaw(t, s.mqtt, codec.Version5, "queue", lasting)
		c.drop()
	},
	"feed": func(t *testing.T, s *server) {
		pub, _ := connectRaw(t, s.mqtt, codec.Version5, "pub", nil)
		for i := range uint16(500) { // more than are sent with SUBACK
			pub.publish(codec.Publish{QoS: 1, PacketID: i + 1, Retain: true, Topic: codec.View(fmt.Sprint("kept/", i)), Payload: codec.View("x")})
		}
		for range 500 {
			pub.ack(codec.TypePuback)
		}
		c, _ := connectRaw(t, s.mqtt, codec.Version5, "sub", nil)
		askSubscribe(c, "kept/#")
	},
	"write": func(t *testing.T, s *server) { // to a client that takes nothing a goroutine writes
		sub, _ := connectRaw(t, s.mqtt, codec.Version5, "stalled", nil)
		if err := sub.Conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
			t.Fatal(err)
		}
		sub.subscribeOne("much", 0)
		pub, _ := connectRaw(t, s.mqtt, codec.Version5, "pub", nil)
		eventually(t, "more waits than the client takes", func() bool {
			for range 10 {
				pub.publish(codec.Publish{Topic: codec.View("much"), Payload: make([]byte, 64<<10)})
			}
			return s.metric("promptmq_panics_total") > 0
		})
	},
	"detach": func(t *testing.T, s *server) {
		c, _ := connectRaw(t, s.mqtt, codec.Version5, "leaves", lasting)
		c.drop()
	},
	"will": func(t *testing.T, s *server) {
		c, _ := connectRaw(t, s.mqtt, codec.Version5, "dies", func(c *codec.Connect) {
			c.HasWill, c.Will = true, codec.Will{Topic: codec.View("w"), QoS: 1, Retain: true, Payload: codec.View("x")}
		})
		c.drop()
	},
	"hand-over": func(t *testing.T, s *server) {
		leaves, _ := connectRaw(t, s.mqtt, codec.Version5, "leaves", lasting)
		leaves.subscribeOne("$share/g/t", 1)
		pub, _ := connectRaw(t, s.mqtt, codec.Version5, "pub", nil)
		pub.publish1(1, "t", "x")
		leaves.receive() // and does not acknowledge
		stays, _ := connectRaw(t, s.mqtt, codec.Version5, "stays", lasting)
		stays.subscribeOne("$share/g/t", 1)
		leaves.send(codec.AppendConnect(nil, &codec.Connect{}, codec.Version5)) // a violation
	},
	"takeover": func(t *testing.T, s *server) {
		connectRaw(t, s.mqtt, codec.Version5, "twice", nil)
		p := dialRaw(t, s.mqtt, codec.Version5)
		p.send(codec.AppendConnect(nil, &codec.Connect{ClientID: codec.View("twice"), CleanStart: true, ReceiveMaximum: 10}, codec.Version5))
	},
	"subscribe": func(t *testing.T, s *server) {
		c, _ := connectRaw(t, s.mqtt, codec.Version5, "sub", lasting)
		askSubscribe(c, "t")
	},
	"retain": func(t *testing.T, s *server) {
		c, _ := connectRaw(t, s.mqtt, codec.Version5, "pub", nil)
		c.publish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View("t"), Payload: codec.View("x")})
	},
	"deliver": func(t *testing.T, s *server) {
		sub, _ := connectRaw(t, s.mqtt, codec.Version5, "sub", lasting)
		sub.subscribeOne("t", 1)
		c, _ := connectRaw(t, s.mqtt, codec.Version5, "pub", nil)
		c.publish(codec.Publish{QoS: 1, PacketID: 1, Topic: codec.View("t"), Payload: codec.View("x")})
	},
	"acknowledgement": func(t *testing.T, s *server) {
		c, _ := connectRaw(t, s.mqtt, codec.Version5, "pub", lasting)
		c.publish(codec.Publish{QoS: 2, PacketID: 1, Topic: codec.View("t"), Payload: codec.View("x")})
		c.ack(codec.TypePubrec)
		c.sendAck(codec.TypePubrel, 1)
	},
}

// askSubscribe does not wait for the answer.
func askSubscribe(p *raw, filter string) {
	p.t.Helper()
	p.send(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, []codec.Subscription{{Filter: codec.View(filter), QoS: 1}}, p.v))
}

// A fault in the middle of something costs those whom it concerns. It is counted,
// no lock stays behind, and the broker goes on for all others.
func TestPanicHoldsNothing(t *testing.T) {
	t.Parallel()
	for place, provoke := range panicPlaces {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			s := startBinary(t, controlBinary(t), []string{"BREAK_RULES=panic-in-" + place}, "storage: {cleanup: {check-interval: 100ms}}")
			provoke(t, s)
			eventually(t, "the fault is counted", func() bool { return s.metric("promptmq_panics_total") > 0 })
			if where := s.waitLog("panic"); where.text("stack") == "" {
				t.Errorf("%v", where)
			}
			// Its CONNACK waits for a commit, and the metrics for locks.
			other, _ := connectRaw(t, s.mqtt, codec.Version5, "other", lasting)
			if place != "retain" {
				other.publish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View("other"), Payload: codec.View("x")})
				other.ack(codec.TypePuback)
			}
			other.quiet()
			s.metric("promptmq_queued_messages")
			if code, body := s.get("/ready"); code != 200 {
				t.Errorf("/ready: %d %s", code, body)
			}
			if code, last := s.terminate(); code != 0 {
				t.Errorf("exit code %d, %v", code, last)
			}
		})
	}
}
