package conformance

import (
	"fmt"
	"slices"

	"github.com/x0a1b/promptmq/codec"
)

// Sections 3.14 (DISCONNECT), 3.15 (AUTH) and 4.13 (errors).
var disconnectTests = []test{
	{"disconnect/flags", "3.14.1-1 2.1.3-1", "3.14.1-1 2.2.2-2", func(t *T) {
		// A server that takes it for a DISCONNECT closes too, but throws the Will
		// away.
		watch, topic := t.watch(0)
		for flags := byte(1); flags < 16; flags++ {
			p := t.connect(will(topic, fmt.Sprint(flags)))
			p.send(0xE0|flags, 0)
			p.closed(codec.MalformedPacket, codec.ProtocolError)
			watch.expect(fmt.Sprint(flags))
		}
	}},
	{"disconnect/malformed-reason", "3.14.2-1 4.13.1-1", "", func(t *T) {
		watch, topic := t.watch(0)
		for i, b := range [][]byte{{0xE0, 1, 0x01}, {0xE0, 1, 0x10}, {0xE0, 3, 0, 9, 0x11}} {
			p := t.connect(will(topic, fmt.Sprint(i)))
			p.send(b...)
			p.closed(codec.MalformedPacket, codec.ProtocolError)
			watch.expect(fmt.Sprint(i)) // it was no DISCONNECT
		}
	}},
	{"disconnect/reason-of-the-server", "3.14.2-1 3.14.4-1 3.14.4-2 4.13.2-1 3.14.2-2", "", func(t *T) {
		// The codec refuses a Reason Code that is none of DISCONNECT's; after it
		// nothing comes but the end.
		p := t.connect(keepsSession(t.clientID(), 60))
		t.Cleanup(func() { t.forget(string(p.connect.ClientID)) })
		topic := t.topic()
		p.subscribe(sub(topic, 0))
		var b []byte
		b, _ = codec.AppendConnect(b, &p.connect, p.version)
		for range 5 {
			b, _ = codec.AppendPublish(b, &codec.Publish{Topic: codec.View(topic), Payload: codec.View("late")}, p.version)
			b = codec.AppendPingreq(b)
		}
		p.send(b...)
		if reason, said := p.end(); said && reason < 0x80 {
			t.Errorf("closed with %v", reason)
		}
	}},
	{"disconnect/nothing-after", "3.14.4-2", "4.8.0-1", func(t *T) {
		// What a client sends behind DISCONNECT is not processed.
		watch, topic := t.watch(0)
		p := t.connect()
		b, _ := codec.AppendDisconnect(nil, &codec.Disconnect{}, p.version)
		b, _ = codec.AppendPublish(b, &codec.Publish{Topic: codec.View(topic), Payload: codec.View("too late")}, p.version)
		p.send(b...)
		p.closedAnyhow()
		watch.quiet()
	}},
	{"disconnect/none-before-v5", "", "3.14.1-1", func(t *T) {
		p := t.connect()
		p.append(codec.AppendConnect(nil, &p.connect, p.version))
		if _, said := p.end(); said { // the reader refuses a DISCONNECT of the server
			t.Errorf("the server says why it closes, which 3.1.1 does not know")
		}
	}},
	{"error/protocol-error-of-each-kind", "4.13.1-1 4.13.2-1", "", func(t *T) {
		for what, c := range map[string]struct {
			packet  []byte
			reasons []codec.ReasonCode
		}{
			"a reserved packet type":     {[]byte{0x00, 0}, malformed},
			"a second CONNECT":           {t.rawConnect(flagClean, field("x")), malformed},
			"PUBLISH with QoS 3":         {frame(0x36, field(t.topic()), uint16Bytes(1), t.properties()), append(malformed, codec.QoSNotSupported)},
			"Topic Alias 0":              {frame(0x30, field(t.topic()), t.properties([]byte{0x23, 0, 0})), append(malformed, codec.TopicAliasInvalid)},
			"Payload Format Indicator 2": {frame(0x30, field(t.topic()), t.properties([]byte{0x01, 2})), malformed},
			"an unknown property":        {frame(0x30, field(t.topic()), t.properties([]byte{0x7E, 2})), malformed},
			"properties that are cut":    {frame(0x30, field(t.topic()), []byte{9, 0x26, 0}), malformed},
			"PUBACK without identifier":  {[]byte{0x40, 0}, malformed},
			"SUBACK from a client":       {frame(0x90, uint16Bytes(1), t.properties(), []byte{0}), malformed},
		} {
			p := t.connect()
			p.send(c.packet...)
			if reason, said := p.end(); said && !slices.Contains(c.reasons, reason) {
				t.Errorf("%s: closed with %v", what, reason)
			}
		}
	}},
	{"error/only-the-connection-at-fault", "4.13.1-1", "4.8.0-1", func(t *T) {
		watch, topic := t.watch(0)
		for range 10 {
			p := t.connect()
			p.send(0x00, 0)
			p.closed()
		}
		watch.publish(topic, "unharmed", 0)
		watch.expect("unharmed")
	}},
	{"error/transient", "", "4.8.0-2", func(t *T) {
		// A queue that is full is a transient error: the connection that brought
		// the message ends, and nothing of it is stored.
		t.needQoS(1)
		t.own("mqtt: {queue-policy: reject, max-queued-messages: 1}")
		id, topic := t.clientID(), t.topic()
		full := t.connect(t.durable(id))
		full.subscribe(sub(topic, 1))
		full.disconnect() // and not drop: the queue counts once the connection has ended
		p := t.connect()
		p.publish(topic, "fits", 1)
		p.publishOnly(topic, "too many", 1)
		p.closed()
		again := t.connect(t.durable(id))
		again.expect("fits")
		again.quiet()
	}},
}

var malformed = []codec.ReasonCode{codec.MalformedPacket, codec.ProtocolError}
