package conformance

import (
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// statements are the normative statements that have a test so far.
var statements = []struct {
	id   string
	test func(t *testing.T)
}{
	{"MQTT-1.5.4-2", func(t *testing.T) {
		p, _ := connect(t, codec.Version5, nil)
		p.send([]byte{0x30, 5, 0, 2, 'a', 0, 0}, nil)
		p.closed(codec.MalformedPacket, codec.ProtocolError, codec.TopicNameInvalid)
	}},
	{"MQTT-3.1.0-1", func(t *testing.T) {
		p := dial(t, codec.Version5)
		p.send(codec.AppendPingreq(nil), nil)
		p.closed(codec.ProtocolError, codec.MalformedPacket)
	}},
	{"MQTT-3.1.0-2", func(t *testing.T) {
		p, _ := connect(t, codec.Version5, nil)
		p.send(codec.AppendConnect(nil, &codec.Connect{ClientID: codec.View("again"), CleanStart: true}, codec.Version5))
		p.closed(codec.ProtocolError)
	}},
	{"MQTT-3.1.2-2", func(t *testing.T) {
		p := dial(t, codec.Version311)
		p.send([]byte{0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 9, 2, 0, 60, 0, 1, 'x'}, nil)
		p.closed(codec.UnsupportedProtocolVersion)
	}},
	{"MQTT-3.1.2-4", func(t *testing.T) {
		id := codec.View(unique("clean"))
		durable := func(c *codec.Connect) { c.ClientID, c.HasSessionExpiry, c.SessionExpirySeconds = id, true, 60 }
		p, _ := connect(t, codec.Version5, durable)
		_ = p.Close()
		_, ack := connect(t, codec.Version5, durable)
		if ack.SessionPresent {
			t.Error("a Clean Start found a session")
		}
	}},
	{"MQTT-3.1.2-5", func(t *testing.T) {
		id := codec.View(unique("resume"))
		p, ack := connect(t, codec.Version5, func(c *codec.Connect) {
			c.ClientID, c.HasSessionExpiry, c.SessionExpirySeconds = id, true, 60
		})
		if ack.SessionPresent {
			t.Error("a new session is present")
		}
		_ = p.Close()
		_, ack = connect(t, codec.Version5, func(c *codec.Connect) { c.ClientID, c.CleanStart = id, false })
		if !ack.SessionPresent { // [MQTT-3.2.2-3]
			t.Error("the session is gone")
		}
	}},
	{"MQTT-3.1.4-3", func(t *testing.T) {
		id := codec.View(unique("takeover"))
		p, _ := connect(t, codec.Version5, func(c *codec.Connect) { c.ClientID = id })
		connect(t, codec.Version5, func(c *codec.Connect) { c.ClientID = id })
		p.closed(codec.SessionTakenOver)
	}},
	{"MQTT-3.2.2-16", func(t *testing.T) {
		_, ack := connect(t, codec.Version5, func(c *codec.Connect) { c.ClientID = nil })
		if len(ack.AssignedClientID) == 0 {
			t.Error("no Assigned Client Identifier")
		}
	}},
	{"MQTT-3.3.1-5", func(t *testing.T) { retained(t, "kept", 1) }},
	{"MQTT-3.3.1-6", func(t *testing.T) { retained(t, "", 0) }},
	{"MQTT-3.3.2-2", func(t *testing.T) {
		p, _ := connect(t, codec.Version5, nil)
		p.publish(codec.Publish{Topic: codec.View("a/+")})
		p.closed(codec.TopicNameInvalid, codec.MalformedPacket, codec.ProtocolError)
	}},
	{"MQTT-3.3.4-4", func(t *testing.T) {
		p, _ := connect(t, codec.Version5, nil)
		topic := unique("overlap")
		p.subscribe(7, codec.Subscription{Filter: codec.View(topic + "/#")})
		p.subscribe(9, codec.Subscription{Filter: codec.View(topic + "/+")})
		p.publish(codec.Publish{Topic: codec.View(topic + "/x")})
		if ids := p.receive().SubscriptionIDs; len(ids) != 2 || ids[0]+ids[1] != 16 {
			t.Errorf("Subscription Identifiers %v", ids)
		}
	}},
	{"MQTT-3.8.3-3", func(t *testing.T) {
		p, _ := connect(t, codec.Version5, nil)
		topic := codec.View(unique("nolocal"))
		p.subscribe(0, codec.Subscription{Filter: topic, NoLocal: true})
		p.publish(codec.Publish{Topic: topic})
		p.quiet()
	}},
	{"MQTT-3.9.3-1", func(t *testing.T) {
		p, _ := connect(t, codec.Version5, nil)
		ack := p.subscribe(0, codec.Subscription{Filter: codec.View("o/1"), QoS: 1}, codec.Subscription{Filter: codec.View("o/0")})
		if string(ack.Reasons) != "\x01\x00" {
			t.Errorf("Reason Codes %x", []byte(ack.Reasons))
		}
	}},
	{"MQTT-3.12.4-1", func(t *testing.T) {
		p, _ := connect(t, codec.Version5, nil)
		p.quiet()
	}},
	{"MQTT-4.3.2-4", func(t *testing.T) {
		p, _ := connect(t, codec.Version5, nil)
		p.publish(codec.Publish{QoS: 1, PacketID: 77, Topic: codec.View(unique("puback"))})
		if a := p.ack(codec.TypePuback); a.PacketID != 77 || a.Reason >= 0x80 {
			t.Errorf("PUBACK %d %v", a.PacketID, a.Reason)
		}
	}},
	{"MQTT-4.3.3-10", func(t *testing.T) {
		p, _ := connect(t, codec.Version5, nil)
		pub := codec.Publish{QoS: 2, PacketID: 5, Topic: codec.View(unique("twice"))}
		p.subscribe(0, codec.Subscription{Filter: pub.Topic})
		p.publish(pub)
		p.receive()
		p.ack(codec.TypePubrec)
		pub.Dup = true
		p.publish(pub)
		p.ack(codec.TypePubrec)
		p.sendAck(codec.TypePubrel, 5)
		p.ack(codec.TypePubcomp)
		p.quiet()
	}},
	{"MQTT-4.7.2-1", func(t *testing.T) {
		p, _ := connect(t, codec.Version5, nil)
		topic := unique("$private")
		p.subscribe(0, codec.Subscription{Filter: codec.View("+/dollar")})
		p.publish(codec.Publish{Topic: codec.View(topic + "/dollar")})
		p.quiet()
	}},
}

func retained(t *testing.T, payload string, want int) {
	t.Helper()
	p, _ := connect(t, codec.Version5, nil)
	topic := codec.View(unique("retained"))
	p.publish(codec.Publish{QoS: 1, PacketID: 1, Topic: topic, Retain: true, Payload: codec.View("first")})
	p.ack(codec.TypePuback)
	p.publish(codec.Publish{QoS: 1, PacketID: 1, Topic: topic, Retain: true, Payload: codec.View(payload)})
	p.ack(codec.TypePuback)
	p.subscribe(0, codec.Subscription{Filter: topic})
	if want > 0 {
		if got := p.receive(); string(got.Payload) != payload || !got.Retain {
			t.Errorf("%q, RETAIN %v", got.Payload, got.Retain)
		}
	}
	p.quiet()
	if want > 0 { // leave nothing behind
		p.publish(codec.Publish{QoS: 0, Topic: topic, Retain: true})
		p.quietOrPublish()
	}
}

// quietOrPublish waits for the broker, which may deliver the removal first.
func (p *peer) quietOrPublish() {
	p.t.Helper()
	p.send(codec.AppendPingreq(nil), nil)
	for {
		f, err := p.next()
		if err != nil {
			p.t.Fatal(err)
		}
		if f.Type() == codec.TypePingresp {
			return
		}
	}
}

func TestStatements(t *testing.T) {
	for _, s := range statements {
		t.Run(s.id, func(t *testing.T) {
			t.Parallel()
			s.test(t)
		})
	}
}
