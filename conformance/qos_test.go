package conformance

import (
	"fmt"
	"slices"

	"github.com/x0a1b/promptmq/codec"
)

// Sections 3.4 to 3.7, 4.3, 4.4 and 4.9: acknowledgements, delivery protocols,
// resending and flow control.
var qosTests = slices.Concat(receiverTests, senderTests, resendTests, flowTests)

// The broker as the receiver of a PUBLISH.
var receiverTests = []test{
	{"qos1/puback", "4.3.2-4 2.2.1-5 3.4.2-1 3.3.4-1", "4.3.2-2 2.3.1-6 3.3.4-1", func(t *T) {
		t.needQoS(1)
		p := t.connect()
		for _, id := range []uint16{1, 0x1234, 65535} {
			p.publishOnly(t.topic(), "x", 1, withID(id))
			p.acked(codec.TypePuback, id)
		}
	}},
	{"qos1/identifier-used-again", "4.3.2-5", "4.3.2-2", func(t *T) {
		t.needQoS(1)
		p := t.connect()
		topic := t.topic()
		p.subscribe(sub(topic, 1))
		for i := range 3 { // each is new, whatever its DUP flag says
			p.publishOnly(topic, fmt.Sprint(i), 1, withID(7), func(m *codec.Publish) { m.Dup = i > 0 })
			p.acked(codec.TypePuback, 7)
			p.expect(fmt.Sprint(i))
		}
	}},
	{"qos1/dup-not-handed-on", "3.3.1-3 4.3.2-2", "3.3.1-3 4.3.2-1", func(t *T) {
		t.needQoS(1)
		p := t.connect()
		topic := t.topic()
		p.subscribe(sub(topic, 1))
		p.publishOnly(topic, "x", 1, withID(9), func(m *codec.Publish) { m.Dup = true })
		p.acked(codec.TypePuback, 9)
		if m := p.expect("x"); m.dup {
			t.Errorf("%v, sent for the first time", m)
		}
	}},
	{"qos2/dup-not-handed-on", "3.3.1-3 4.3.3-2", "3.3.1-3 4.3.3-1", func(t *T) {
		t.needQoS(2)
		p := t.connect()
		topic := t.topic()
		p.subscribe(sub(topic, 2))
		p.publish(topic, "x", 2, func(m *codec.Publish) { m.Dup = true })
		if m := p.expect("x"); m.dup || m.qos != 2 {
			t.Errorf("%v, sent for the first time", m)
		}
	}},
	{"qos2/pubrec-and-pubcomp", "4.3.3-8 4.3.3-11 2.2.1-5 3.5.2-1 3.7.2-1", "4.3.3-2 2.3.1-6", func(t *T) {
		t.needQoS(2)
		p := t.connect()
		for _, id := range []uint16{1, 0x1234, 65535} {
			p.publishOnly(t.topic(), "x", 2, withID(id))
			p.acked(codec.TypePubrec, id)
			p.sendAck(codec.TypePubrel, id)
			p.acked(codec.TypePubcomp, id)
		}
	}},
	{"qos2/no-duplicate-before-pubrel", "4.3.3-10", "4.3.3-2", func(t *T) {
		t.needQoS(2)
		p := t.connect()
		topic := t.topic()
		p.subscribe(sub(topic, 0))
		for i := range 3 {
			p.publishOnly(topic, "once", 2, withID(5), func(m *codec.Publish) { m.Dup = i > 0 })
			p.acked(codec.TypePubrec, 5)
		}
		p.sendAck(codec.TypePubrel, 5)
		p.acked(codec.TypePubcomp, 5)
		p.expect("once")
		p.quiet()
	}},
	{"qos2/identifier-in-use", beyond, "", func(t *T) {
		t.needQoS(2)
		// Another message, and not the same one again: its sender has lost count of
		// its Packet Identifiers, and would believe it delivered.
		p := t.connect()
		topic := t.topic()
		p.subscribe(sub(topic, 0))
		p.publishOnly(topic, "first", 2, withID(5))
		p.acked(codec.TypePubrec, 5)
		p.publishOnly(topic, "other", 2, withID(5))
		if a := p.await(codec.TypePubrec).ack; a.PacketID != 5 || a.Reason != codec.PacketIdentifierInUse {
			t.Errorf("PUBREC %d %v for another message", a.PacketID, a.Reason)
		}
		p.publishOnly(topic, "first", 2, withID(5)) // the same, by a client that forgets DUP
		p.acked(codec.TypePubrec, 5)
		p.sendAck(codec.TypePubrel, 5)
		p.acked(codec.TypePubcomp, 5)
		p.publishOnly(topic, "other", 2, withID(5)) // and now it is free
		p.acked(codec.TypePubrec, 5)
		p.expect("first")
		p.expect("other")
		p.quiet()
	}},
	{"qos2/no-duplicate-over-reconnect", "4.3.3-10", "4.3.3-2", func(t *T) {
		t.needQoS(2)
		id := t.clientID()
		watch, topic := t.watch(2)
		p := t.connect(t.durable(id))
		p.publishOnly(topic, "once", 2, withID(5))
		p.acked(codec.TypePubrec, 5)
		p.drop()
		again := t.connect(t.durable(id))
		again.publishOnly(topic, "once", 2, withID(5), func(m *codec.Publish) { m.Dup = true })
		again.acked(codec.TypePubrec, 5)
		again.sendAck(codec.TypePubrel, 5)
		again.acked(codec.TypePubcomp, 5)
		watch.expect("once")
		watch.quiet()
	}},
	{"qos2/identifier-used-again", "4.3.3-12", "4.3.3-2", func(t *T) {
		t.needQoS(2)
		p := t.connect()
		topic := t.topic()
		p.subscribe(sub(topic, 0))
		for i := range 3 {
			p.publishOnly(topic, fmt.Sprint(i), 2, withID(5))
			p.acked(codec.TypePubrec, 5)
			p.sendAck(codec.TypePubrel, 5)
			p.acked(codec.TypePubcomp, 5)
			p.expect(fmt.Sprint(i))
		}
	}},
	{"qos2/refused-then-new", "4.3.3-9", "", func(t *T) {
		t.needQoS(2)
		// A session whose queue is full makes the broker refuse; after that the
		// Packet Identifier is free.
		t.own("mqtt: {queue-policy: reject, max-queued-messages: 1}")
		id, topic := t.clientID(), t.topic()
		full := t.connect(t.durable(id))
		full.subscribe(sub(topic, 2))
		full.disconnect() // and not drop: the queue counts once the connection has ended
		p := t.connect()
		p.publish(topic, "fits", 2)
		p.publishOnly(topic, "too many", 2, withID(9))
		if a := p.await(codec.TypePubrec).ack; a.PacketID != 9 || a.Reason < 0x80 {
			t.Fatalf("PUBREC %d %v, the queue is full", a.PacketID, a.Reason)
		}
		again := t.connect(t.durable(id))
		again.expect("fits")
		again.settle()
		p.publishOnly(topic, "new", 2, withID(9))
		p.acked(codec.TypePubrec, 9)
		again.expect("new")
		again.quiet()
	}},
	{"qos2/pubrel-flags", "3.6.1-1 2.1.3-1", "3.6.1-1 2.2.2-2", func(t *T) {
		t.badFlags(frame(0x62, uint16Bytes(1)))
	}},
	{"qos2/pubrel-unknown", "3.7.2-1 4.3.3-11", "4.3.3-2", func(t *T) {
		t.needQoS(2)
		p := t.connect()
		p.sendAck(codec.TypePubrel, 4711)
		if a := p.await(codec.TypePubcomp).ack; a.PacketID != 4711 || a.Reason != 0 && a.Reason != codec.PacketIdentifierNotFound {
			t.Errorf("PUBCOMP %d %v", a.PacketID, a.Reason)
		}
	}},
	{"qos/bad-acknowledgement-flags", "2.1.3-1", "2.2.2-1 2.2.2-2", func(t *T) {
		for _, first := range []byte{0x40, 0x50, 0x70} {
			t.badFlags(frame(first, uint16Bytes(1)))
		}
	}},
	{"qos/bad-reason-code", "3.4.2-1 3.5.2-1 3.6.2-1 3.7.2-1", "", func(t *T) {
		for _, b := range [][]byte{frame(0x40, uint16Bytes(1), []byte{0x01}), frame(0x50, uint16Bytes(1), []byte{0x92}),
			frame(0x62, uint16Bytes(1), []byte{0x10}), frame(0x70, uint16Bytes(1), []byte{0x10})} {
			p := t.connect()
			p.send(b...)
			p.closed(codec.MalformedPacket, codec.ProtocolError)
		}
	}},
}

func withID(id uint16) func(*codec.Publish) {
	return func(p *codec.Publish) { p.PacketID = id }
}

// The broker as the sender of a PUBLISH.
var senderTests = []test{
	{"qos0/delivery", "4.3.1-1 3.3.1-2", "4.3.1-1 3.3.1-2", func(t *T) {
		p := t.connect()
		topic := t.topic()
		p.subscribe(sub(topic, 2))
		p.publish(topic, "x", 0)
		if m := p.expect("x"); m.qos != 0 || m.dup || m.id != 0 {
			t.Errorf("%v", m)
		}
		p.quiet()
	}},
	{"qos1/new-identifiers", "2.2.1-4 4.3.2-1 4.3.2-2", "2.3.1-4 4.3.2-1", func(t *T) {
		t.needQoS(1)
		p := t.connect()
		topic := t.topic()
		p.subscribe(sub(topic, 1))
		for i := range 20 {
			p.publish(topic, fmt.Sprint(i), 1)
		}
		seen := map[uint16]bool{}
		for i := range 10 { // nothing is acknowledged: each must differ from all before
			m := p.receive()
			if m.payload != fmt.Sprint(i) || m.dup || m.id == 0 || seen[m.id] {
				t.Errorf("%v", m)
			}
			seen[m.id] = true
		}
	}},
	{"qos2/new-identifiers", "2.2.1-4 4.3.3-1 4.3.3-2", "2.3.1-4 4.3.3-1", func(t *T) {
		t.needQoS(2)
		p := t.connect()
		topic := t.topic()
		p.subscribe(sub(topic, 2))
		for i := range 10 {
			p.publish(topic, fmt.Sprint(i), 2)
		}
		seen := map[uint16]bool{}
		for i := range 10 { // an identifier is in use until PUBCOMP, not until PUBREC
			m := p.receive()
			if m.payload != fmt.Sprint(i) || m.dup || m.id == 0 || seen[m.id] {
				t.Errorf("%v", m)
			}
			seen[m.id] = true
			p.sendAck(codec.TypePubrec, m.id)
		}
		for range seen {
			p.await(codec.TypePubrel)
		}
		for id := range seen {
			p.sendAck(codec.TypePubcomp, id)
		}
	}},
	{"qos2/pubrel", "4.3.3-4 2.2.1-5 3.6.2-1", "4.3.3-1 2.3.1-6", func(t *T) {
		t.needQoS(2)
		p := t.connect()
		topic := t.topic()
		p.subscribe(sub(topic, 2))
		for i := range 5 {
			p.publish(topic, fmt.Sprint(i), 2)
			m := p.receive()
			p.sendAck(codec.TypePubrec, m.id)
			if got := p.await(codec.TypePubrel); got.first != 0x62 || got.ack.PacketID != m.id || got.ack.Reason != 0 {
				t.Errorf("%v, first byte %02x, the message was %v", got, got.first, m)
			}
			p.sendAck(codec.TypePubcomp, m.id)
		}
	}},
	{"qos2/refused-by-client", "4.3.3-4 4.4.0-2", "", func(t *T) {
		t.needQoS(2)
		id, topic := t.clientID(), t.topic()
		p := t.connect(t.durable(id))
		p.subscribe(sub(topic, 2))
		p.publish(topic, "refused", 2)
		p.sendAck(codec.TypePubrec, p.receive().id, codec.ImplementationSpecificError)
		p.quiet() // no PUBREL
		p.drop()
		again := t.connect(t.durable(id))
		again.quiet() // nothing is sent again
	}},
	{"qos1/refused-by-client", "4.4.0-2", "", func(t *T) {
		t.needQoS(1)
		id, topic := t.clientID(), t.topic()
		p := t.connect(t.durable(id))
		p.subscribe(sub(topic, 1))
		p.publish(topic, "refused", 1)
		p.sendAck(codec.TypePuback, p.receive().id, codec.QuotaExceeded)
		p.settle()
		p.drop()
		again := t.connect(t.durable(id))
		again.quiet()
	}},
	{"qos/wrong-acknowledgement", beyond, beyond, func(t *T) {
		t.needQoS(2)
		// It is for a delivery that awaits another one: sender and receiver no longer
		// agree on what was delivered.
		begin := func(qos codec.QoS) (*peer, uint16) {
			p := t.connect()
			topic := t.topic()
			p.subscribe(sub(topic, 2))
			p.publish(topic, "x", qos)
			return p, p.receive().id
		}
		for _, wrong := range []struct {
			qos codec.QoS
			ack codec.PacketType
		}{{1, codec.TypePubrec}, {1, codec.TypePubcomp}, {2, codec.TypePuback}, {2, codec.TypePubcomp}} {
			p, id := begin(wrong.qos)
			p.sendAck(wrong.ack, id)
			p.closed(codec.ProtocolError)
		}
		p, id := begin(2)
		p.sendAck(codec.TypePubrec, id)
		p.acked(codec.TypePubrel, id)
		p.sendAck(codec.TypePuback, id)
		p.closed(codec.ProtocolError)
	}},
	{"qos/acknowledgement-of-nothing", beyond, beyond, func(t *T) {
		t.needQoS(2)
		// It comes late, after a reconnect perhaps, and does no harm.
		p := t.connect()
		for _, typ := range []codec.PacketType{codec.TypePuback, codec.TypePubcomp} {
			p.sendAck(typ, 4711)
		}
		p.isOpen()
		topic := t.topic()
		p.subscribe(sub(topic, 2))
		for qos := codec.QoS(1); qos <= 2; qos++ { // and twice
			p.publish(topic, "x", qos)
			id := p.take().id
			for _, typ := range []codec.PacketType{codec.TypePuback, codec.TypePubcomp} {
				p.sendAck(typ, id)
			}
			p.isOpen()
		}
	}},
	{"qos/no-resend-on-an-open-connection", "4.4.0-1", "", func(t *T) {
		t.needQoS(2)
		p := t.connect()
		topic := t.topic()
		p.subscribe(sub(topic, 2))
		p.publish(topic, "one", 1)
		p.publish(topic, "two", 2)
		p.receive()
		p.receive()
		t.afterSeconds(2)
		p.quiet() // inspect fails on an identifier that comes twice
	}},
}

// What a reconnect brings again.
var resendTests = []test{
	{"resend/qos1", "4.4.0-1 4.3.2-3 3.3.1-1", "4.4.0-1 4.3.2-1 3.3.1.-1", func(t *T) {
		t.needQoS(1)
		id, topic := t.clientID(), t.topic()
		p := t.connect(t.durable(id))
		p.subscribe(sub(topic, 1))
		for i := range 5 {
			p.publish(topic, fmt.Sprint(i), 1)
		}
		var first []*message
		for range 5 {
			first = append(first, p.receive())
		}
		p.sendAck(codec.TypePuback, first[0].id)
		p.settle()
		p.drop()
		again := t.connect(t.durable(id))
		for _, was := range first[1:] {
			if m := again.expect(was.payload); m.id != was.id || !m.dup || m.qos != 1 {
				t.Errorf("%v, was sent as %v", m, was)
			}
		}
		again.quiet()
	}},
	{"resend/qos2-publish", "4.4.0-1 4.3.3-3 3.3.1-1", "4.4.0-1 4.3.3-1 3.3.1.-1", func(t *T) {
		t.needQoS(2)
		id, topic := t.clientID(), t.topic()
		p := t.connect(t.durable(id))
		p.subscribe(sub(topic, 2))
		p.publish(topic, "again", 2)
		was := p.receive()
		p.drop()
		again := t.connect(t.durable(id))
		if m := again.expect("again"); m.id != was.id || !m.dup || m.qos != 2 {
			t.Errorf("%v, was sent as %v", m, was)
		}
		again.quiet()
	}},
	{"resend/qos2-pubrel", "4.4.0-1 4.3.3-5 4.3.3-6", "4.4.0-1 4.3.3-1", func(t *T) {
		t.needQoS(2)
		id, topic := t.clientID(), t.topic()
		p := t.connect(t.durable(id))
		p.subscribe(sub(topic, 2))
		p.publish(topic, "not again", 2)
		m := p.receive()
		p.sendAck(codec.TypePubrec, m.id)
		p.acked(codec.TypePubrel, m.id)
		p.drop()
		for range 2 {
			again := t.connect(t.durable(id))
			again.acked(codec.TypePubrel, m.id)
			again.quiet() // no PUBLISH after PUBREL
			again.drop()
		}
		last := t.connect(t.durable(id))
		last.acked(codec.TypePubrel, m.id)
		last.sendAck(codec.TypePubcomp, m.id)
		last.settle()
		last.drop()
		t.connect(t.durable(id)).quiet()
	}},
	{"resend/not-with-a-new-session", "3.1.2-4", "3.1.2-6", func(t *T) {
		t.needQoS(1)
		id, topic := t.clientID(), t.topic()
		p := t.connect(t.durable(id))
		p.subscribe(sub(topic, 1))
		p.publish(topic, "old", 1)
		p.receive()
		p.drop()
		t.connect(t.durable(id), clean).quiet()
	}},
	{"resend/takeover", "4.4.0-1 3.1.4-3 3.1.2-5", "4.4.0-1 3.1.4-2", func(t *T) {
		t.needQoS(1)
		id, topic := t.clientID(), t.topic()
		p := t.connect(t.durable(id))
		p.subscribe(sub(topic, 1))
		p.publish(topic, "handed over", 1)
		was := p.receive()
		again := t.connect(t.durable(id))
		p.closed(codec.SessionTakenOver)
		if m := again.expect("handed over"); m.id != was.id || !m.dup {
			t.Errorf("%v, was sent as %v", m, was)
		}
	}},
}

// Flow control, section 4.9.
var flowTests = []test{
	{"flow/receive-maximum-of-client", "3.3.4-9 4.9.0-1 4.9.0-2", "", func(t *T) {
		t.needQoS(1)
		for _, limit := range []uint16{1, 3} {
			p := t.connect(func(c *codec.Connect) { c.ReceiveMaximum = limit })
			sender := t.connect()
			topic := t.topic()
			p.subscribe(sub(topic, 1))
			for i := range 10 {
				sender.publish(topic, fmt.Sprint(i), 1)
			}
			var held []*message
			for range limit { // the initial quota is not 0
				held = append(held, p.receive())
			}
			if m, _ := p.readAfterPing(); m != nil { // inspect fails on it too
				t.Fatalf("%v, Receive Maximum is %d", m, limit)
			}
			for i := int(limit); i < 10; i++ { // each acknowledgement lets one more through
				p.sendAck(codec.TypePuback, held[0].id)
				held = append(held[1:], p.receive())
				if got := held[len(held)-1]; got.payload != fmt.Sprint(i) {
					t.Errorf("%v, expected %d", got, i)
				}
			}
		}
	}},
	{"flow/quota-returns-at-pubcomp", "3.3.4-9 4.9.0-2", "", func(t *T) {
		t.needQoS(2)
		p := t.connect(func(c *codec.Connect) { c.ReceiveMaximum = 1 })
		sender := t.connect()
		topic := t.topic()
		p.subscribe(sub(topic, 2))
		sender.publish(topic, "1", 2)
		sender.publish(topic, "2", 2)
		m := p.receive()
		p.sendAck(codec.TypePubrec, m.id)
		p.acked(codec.TypePubrel, m.id)
		if m, _ := p.readAfterPing(); m != nil {
			t.Fatalf("%v before PUBCOMP", m)
		}
		p.sendAck(codec.TypePubcomp, m.id)
		m = p.receive()
		sender.publish(topic, "3", 2)
		p.sendAck(codec.TypePubrec, m.id, codec.QuotaExceeded) // a refusal returns the quota at once
		p.expect("3")
	}},
	{"flow/other-packets-go-on", "3.3.4-8 3.3.4-10 4.9.0-3", "", func(t *T) {
		t.needQoS(2)
		p := t.connect(func(c *codec.Connect) { c.ReceiveMaximum = 1 })
		sender := t.connect()
		topic, other := t.topic(), t.topic()
		p.subscribe(sub(topic, 1))
		sender.publish(topic, "1", 1)
		sender.publish(topic, "2", 1)
		first := p.receive()
		p.isOpen()
		p.publish(other, "1", 1)
		p.publish(other, "2", 2)
		p.subscribe(sub(other, 0))
		p.unsubscribe(other)
		p.isOpen()
		p.sendAck(codec.TypePuback, first.id)
		p.expect("2")
	}},
	{"flow/server-serves-within-its-maximum", "3.3.4-8", "", func(t *T) {
		t.needQoS(2)
		// Receive Maximum unfinished publications do not hold up what else the
		// client sends.
		p := t.connect()
		topic := t.topic()
		n := p.window()
		for range n {
			p.publishOnly(topic, "x", 2)
		}
		for range n {
			p.await(codec.TypePubrec)
		}
		p.isOpen()
		p.subscribe(sub(topic, 0))
		p.unsubscribe(topic)
	}},
	{"flow/burst-to-server", beyond, beyond, func(t *T) {
		t.needQoS(2)
		// Several clients keep no count of what they have under way: a backlog comes
		// at once, and a server that closes for it gets it again.
		const n = 300
		p := t.connect()
		if limit := p.connack.ReceiveMaximum; limit > 0 && limit < n {
			t.NotOffered(fmt.Sprintf("%d messages at a time", n))
		}
		topic := t.topic()
		var b []byte
		for i := range uint16(n) {
			b, _ = codec.AppendPublish(b, &codec.Publish{Topic: codec.View(topic), Payload: codec.View("x"), QoS: 2, PacketID: 1 + i}, p.version)
		}
		p.send(b...)
		for i := range uint16(n) {
			p.acked(codec.TypePubrec, 1+i)
		}
		for i := range uint16(n) {
			p.sendAck(codec.TypePubrel, 1+i)
		}
		for i := range uint16(n) {
			p.acked(codec.TypePubcomp, 1+i)
		}
	}},
	{"flow/qos0-is-free", "4.9.0-3", "", func(t *T) {
		t.needQoS(1)
		p := t.connect(func(c *codec.Connect) { c.ReceiveMaximum = 1 })
		sender := t.connect()
		high, low := t.topic(), t.topic()
		p.subscribe(sub(high, 1), sub(low, 0))
		sender.publish(high, "1", 1)
		sender.publish(high, "2", 1)
		if m := p.receive(); m.payload != "1" {
			t.Fatalf("%v", m)
		}
		p.publish(low, "own packets are still processed", 0)
		p.isOpen()
	}},
}
