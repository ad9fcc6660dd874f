package conformance

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/x0a1b/promptmq/codec"
)

// Sections 3.8 to 3.11: SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK; 3.12, PINGREQ.
var subscribeTests = slices.Concat(subscribeFormatTests, subscriptionTests, unsubscribeTests, []test{
	{"ping/answered", "3.12.4-1", "3.12.4-1", func(t *T) {
		p := t.connect()
		for range 5 {
			p.append(codec.AppendPingreq(nil), nil)
		}
		for range 5 {
			p.await(codec.TypePingresp)
		}
	}},
	{"ping/malformed", "2.1.3-1", "2.2.2-1 2.2.2-2", func(t *T) {
		for flags := byte(1); flags < 16; flags *= 2 {
			p := t.connect()
			p.send(0xC0|flags, 0)
			p.closed(codec.MalformedPacket, codec.ProtocolError)
		}
		p := t.connect()
		p.send(0xC0, 1, 0)
		p.closed(codec.MalformedPacket, codec.ProtocolError)
	}},
})

// badFlags checks that a packet is refused unless its Fixed Header has the flags
// that it must have.
func (t *T) badFlags(packet []byte) {
	t.Helper()
	right := packet[0] & 0x0F
	for flags := range byte(16) {
		if flags == right {
			continue
		}
		b := bytes.Clone(packet)
		b[0] = b[0]&0xF0 | flags
		p := t.connect()
		p.send(b...)
		p.closed(codec.MalformedPacket, codec.ProtocolError)
	}
}

var subscribeFormatTests = []test{
	{"subscribe/fixed-header-flags", "3.8.1-1 2.1.3-1", "3.8.1-1 2.2.2-1 2.2.2-2", func(t *T) {
		t.badFlags(frame(0x82, uint16Bytes(1), t.properties(), field(t.topic()), []byte{0}))
	}},
	{"subscribe/no-filter", "3.8.3-2", "3.8.3-3 4.8.0-1", func(t *T) {
		p := t.connect()
		p.send(frame(0x82, uint16Bytes(1), t.properties())...)
		p.closed(codec.ProtocolError, codec.MalformedPacket)
		q := t.connect()
		q.send(frame(0x82, uint16Bytes(1), t.properties(), field(t.topic()))...) // without its options
		q.closed(codec.ProtocolError, codec.MalformedPacket)
	}},
	{"subscribe/packet-identifier-0", "2.2.1-3", "2.3.1-1", func(t *T) {
		p := t.connect()
		p.send(frame(0x82, uint16Bytes(0), t.properties(), field(t.topic()), []byte{0})...)
		p.closed(codec.ProtocolError, codec.MalformedPacket)
	}},
	{"subscribe/reserved-options", "3.8.3-5", "3-8.3-4", func(t *T) {
		options := []byte{0x03, 0x40, 0x80, 0xC0, 0x41}
		if t.v5() {
			options = append(options, 0x30) // Retain Handling 3
		} else {
			options = append(options, 0x04, 0x08, 0x10)
		}
		for _, option := range options {
			p := t.connect()
			p.send(frame(0x82, uint16Bytes(1), t.properties(), field(t.topic()), []byte{option})...)
			p.closed(codec.ProtocolError, codec.MalformedPacket)
		}
	}},
	{"subscribe/filter-utf8", "3.8.3-1 1.5.4-1", "3.8.3-1 1.5.3-1", func(t *T) {
		for _, filter := range illFormed {
			p := t.connect()
			p.send(frame(0x82, uint16Bytes(1), t.properties(), field(filter), []byte{0})...)
			p.closed(codec.MalformedPacket, codec.ProtocolError, codec.TopicFilterInvalid)
		}
	}},
	{"subscribe/misplaced-wildcards", "4.7.1-1 4.7.1-2", "4.7.1-2 4.7.1-3", func(t *T) {
		t.needWildcard()
		for _, filter := range []string{"conformance#", "conformance/#/x", "#/x", "a#/b", "conformance+", "+conformance/x", "a/+b/c", "a/b+"} {
			t.refusesFilter(filter)
		}
	}},
	{"subscribe/empty-filter", "4.7.3-1", "4.7.3-1", func(t *T) {
		t.refusesFilter("")
	}},
	{"subscribe/subscription-identifier-0", "4.13.1-1", "", func(t *T) {
		p := t.connect()
		p.send(frame(0x82, uint16Bytes(1), t.properties([]byte{0x0B, 0}), field(t.topic()), []byte{0})...)
		p.closed(codec.ProtocolError, codec.MalformedPacket)
	}},
	{"subscribe/property-of-another-packet", "4.13.1-1", "", func(t *T) {
		p := t.connect()
		p.send(frame(0x82, uint16Bytes(1), t.properties([]byte{0x01, 1}), field(t.topic()), []byte{0})...)
		p.closed(codec.ProtocolError, codec.MalformedPacket)
	}},
}

// refusesFilter checks that a malformed Topic Filter is refused, in SUBACK or by
// closing.
func (t *T) refusesFilter(filter string) {
	t.Helper()
	p := t.connect()
	p.send(frame(0x82, uint16Bytes(1), t.properties(), field(filter), []byte{0})...)
	got, err := p.read(soon())
	switch {
	case err != nil && p.why(err).Error() == "no answer":
		t.Fatalf("%q is neither refused nor granted", clip(filter))
	case err == nil && got.typ == codec.TypeSuback && got.reasons[0] < 0x80:
		t.Errorf("%q is granted", clip(filter))
	}
}

var subscriptionTests = []test{
	{"subscribe/suback", "3.8.4-1 3.8.4-2 2.2.1-6 3.9.3-2", "3.8.4-1 3.8.4-2 2.3.1-7 3.9.3-2", func(t *T) {
		p := t.connect()
		for _, id := range []uint16{1, 0x1234, 65535} {
			p.lastID = id - 1
			p.subscribe(sub(t.topic(), 0)) // which looks at the Packet Identifier
		}
	}},
	{"subscribe/one-reason-code-each", "3.8.4-5 3.8.4-6 3.8.4-7 3.9.3-1 3.9.3-2", "3.8.4-4 3.9.3-1", func(t *T) {
		p := t.connect()
		want := []codec.QoS{2, 0, 1, 1, 2, 0, 0}
		var subs []codec.Subscription
		for _, q := range want {
			subs = append(subs, sub(t.topic(), q))
		}
		for i, got := range p.trySubscribe(0, subs...) {
			if got != byte(want[i]) && (got > byte(want[i]) || offered.qos >= want[i]) {
				t.Errorf("filter %d: asked for QoS %d, got %v", i, want[i], codec.ReasonCode(got))
			}
		}
		p.publish(string(subs[6].Filter), "last", 0)
		p.expect("last")
	}},
	{"subscribe/qos-is-the-lower", "3.8.4-8", "", func(t *T) {
		p := t.connect()
		for granted := range codec.QoS(3) {
			topic := t.topic()
			got := codec.QoS(p.trySubscribe(0, sub(topic, granted))[0])
			for sent := range offered.qos + 1 {
				p.publish(topic, "x", sent)
				if m := p.expect("x"); m.qos != min(sent, got) {
					t.Errorf("%v, was published with QoS %d, granted is %d", m, sent, got)
				}
			}
		}
	}},
	{"subscribe/replaces", "3.8.4-3", "", func(t *T) {
		t.needQoS(1)
		p := t.connect()
		topic := t.topic()
		p.subscribe(sub(topic, 1))
		p.subscribe(sub(topic, 0))
		p.publish(topic, "x", 1)
		if m := p.expect("x"); m.qos != 0 {
			t.Errorf("%v, the subscription was replaced by one with QoS 0", m)
		}
		p.quiet()
		if offered.subIDs {
			p.subscribeID(5, sub(topic, 0))
			p.subscribeID(6, sub(topic, 0))
			p.publish(topic, "y", 0)
			if m := p.expect("y"); !slices.Equal(m.subIDs, []uint32{6}) {
				t.Errorf("Subscription Identifiers %v, the last is 6", m.subIDs)
			}
			p.subscribe(sub(topic, 0))
			p.publish(topic, "z", 0)
			if m := p.expect("z"); len(m.subIDs) > 0 {
				t.Errorf("Subscription Identifiers %v, the last has none", m.subIDs)
			}
		}
	}},
	{"subscribe/replaces-without-loss", "3.8.4-4", "", func(t *T) {
		t.needQoS(1)
		p, sender := t.connect(), t.connect()
		topic := t.topic()
		p.subscribe(sub(topic, 1))
		const n = 50
		for i := range n {
			sender.publishOnly(topic, fmt.Sprint(i), 1)
			if i%10 == 5 {
				p.lastID++
				p.append(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: p.lastID}, []codec.Subscription{sub(topic, 1)}, p.version))
			}
			sender.await(codec.TypePuback)
		}
		for i := range n {
			p.expect(fmt.Sprint(i))
		}
	}},
	{"subscribe/no-local", "3.8.3-3", "", func(t *T) {
		p, q := t.connect(), t.connect()
		topic := t.topic()
		p.subscribe(sub(topic, 0, noLocal))
		p.publish(topic, "own", 0)
		p.quiet()
		q.publish(topic, "of another", 0)
		p.expect("of another")
	}},
	{"subscribe/no-local-over-reconnect", "3.8.3-3", "", func(t *T) {
		t.needQoS(1)
		// The rule is about the Client Identifier, not about the connection.
		id, topic := t.clientID(), t.topic()
		p := t.connect(t.durable(id))
		p.subscribe(sub(topic, 1, noLocal))
		p.drop()
		again := t.connect(t.durable(id))
		again.publish(topic, "own", 1)
		again.quiet()
	}},
	{"subscribe/overlap", "3.3.4-2", "3.3.5-1", func(t *T) {
		t.needWildcard()
		t.needQoS(1)
		p := t.connect()
		topic := t.topic()
		p.subscribe(sub(topic+"/#", 0), sub(topic+"/+", 1), sub(topic+"/x", 0))
		p.publish(topic+"/x", "overlap", 1)
		high := codec.QoS(0)
		for _, m := range p.untilQuiet() { // once or once for each, as the server likes
			high = max(high, m.qos)
		}
		if high != 1 {
			t.Errorf("QoS %d, the highest of the subscriptions is 1", high)
		}
	}},
	{"subscribe/identifiers", "3.3.4-3 3.3.4-4 3.3.4-5", "", func(t *T) {
		t.needSubscriptionIDs()
		t.needWildcard()
		p := t.connect()
		topic := t.topic()
		p.subscribeID(1, sub(topic+"/#", 0))
		p.subscribeID(268435455, sub(topic+"/+", 0))
		p.subscribe(sub(topic+"/x", 0))
		p.publish(topic+"/x", "overlap", 0)
		var ids []uint32
		all := p.untilQuiet()
		for _, m := range all {
			if len(all) > 1 && len(m.subIDs) > 1 {
				t.Errorf("%v with %v, one of several copies", m, m.subIDs)
			}
			ids = append(ids, m.subIDs...)
		}
		slices.Sort(ids)
		if len(all) == 0 || len(all) == 2 || len(all) > 3 || !slices.Equal(ids, []uint32{1, 268435455}) {
			t.Errorf("%d copies with the Subscription Identifiers %v", len(all), ids)
		}
	}},
	{"subscribe/identifier-from-the-queue", "3.3.4-3", "", func(t *T) {
		t.needSubscriptionIDs()
		t.needQoS(1)
		id, topic := t.clientID(), t.topic()
		p := t.connect(t.durable(id))
		p.subscribeID(42, sub(topic, 1))
		p.disconnect()
		t.connect().publish(topic, "queued", 1)
		if m := t.connect(t.durable(id)).expect("queued"); !slices.Equal(m.subIDs, []uint32{42}) {
			t.Errorf("Subscription Identifiers %v", m.subIDs)
		}
	}},
	{"subscribe/takes-ownership", "4.5.0-1", "4.5.0-1", func(t *T) {
		t.needQoS(1)
		topic := t.topic()
		ids := []string{t.clientID(), t.clientID(), t.clientID()}
		for i, id := range ids {
			p := t.connect(t.durable(id))
			p.subscribe(sub(topic, 1))
			if i > 0 {
				p.drop()
			}
		}
		t.connect().publish(topic, "for all", 1)
		for _, id := range ids {
			t.connect(t.durable(id)).expect("for all")
		}
	}},
}

var unsubscribeTests = []test{
	{"unsubscribe/fixed-header-flags", "3.10.1-1 2.1.3-1", "3.10.1-1 2.2.2-1 2.2.2-2", func(t *T) {
		t.badFlags(frame(0xA2, uint16Bytes(1), t.properties(), field(t.topic())))
	}},
	{"unsubscribe/no-filter", "3.10.3-2", "3.10.3-2 4.8.0-1", func(t *T) {
		p := t.connect()
		p.send(frame(0xA2, uint16Bytes(1), t.properties())...)
		p.closed(codec.ProtocolError, codec.MalformedPacket)
	}},
	{"unsubscribe/filter-utf8", "3.10.3-1", "3.10.3-1", func(t *T) {
		for _, filter := range illFormed {
			p := t.connect()
			p.send(frame(0xA2, uint16Bytes(1), t.properties(), field(filter))...)
			p.closed(codec.MalformedPacket, codec.ProtocolError, codec.TopicFilterInvalid)
		}
	}},
	{"unsubscribe/packet-identifier-0", "2.2.1-3", "2.3.1-1", func(t *T) {
		p := t.connect()
		p.send(frame(0xA2, uint16Bytes(0), t.properties(), field(t.topic()))...)
		p.closed(codec.ProtocolError, codec.MalformedPacket)
	}},
	{"unsubscribe/unsuback", "3.10.4-4 3.10.4-5 2.2.1-6 3.11.3-2", "3.10.4-4 3.10.4-5 2.3.1-7", func(t *T) {
		p := t.connect()
		topic := t.topic()
		for i, id := range []uint16{1, 0x4321, 65535} {
			p.subscribe(sub(topic, 0))
			p.lastID = id - 1
			got := p.unsubscribe(topic) // which looks at the Packet Identifier
			if t.v5() && got[0] != 0 {
				t.Errorf("UNSUBACK %d: %v", i, codec.ReasonCode(got[0]))
			}
		}
		if got := p.unsubscribe(topic); t.v5() && got[0] != byte(codec.NoSubscriptionExisted) {
			t.Errorf("a filter without subscription: %v", codec.ReasonCode(got[0]))
		}
	}},
	{"unsubscribe/one-reason-code-each", "3.11.3-1 3.11.3-2 3.10.4-6", "3.10.4-6", func(t *T) {
		p := t.connect()
		a, b, c := t.topic(), t.topic(), t.topic()
		p.subscribe(sub(a, 0), sub(b, 0), sub(c, 0))
		if got := p.unsubscribe(a, t.topic(), c); t.v5() && !bytes.Equal(got, []byte{0, byte(codec.NoSubscriptionExisted), 0}) {
			t.Errorf("Reason Codes % x", got)
		}
		p.publish(a, "a", 0)
		p.publish(c, "c", 0)
		p.publish(b, "b", 0)
		p.expect("b")
		p.quiet()
	}},
	{"unsubscribe/exact-filter", "3.10.4-1", "3.10.4-1", func(t *T) {
		t.needWildcard()
		p := t.connect()
		topic := t.topic()
		p.subscribe(sub(topic+"/+", 0), sub(topic+"/a", 0))
		p.unsubscribe(topic+"/#", topic+"/b", topic, topic+"/", topic+"/A")
		p.publish(topic+"/b", "by the wildcard", 0)
		p.expect("by the wildcard")
		p.unsubscribe(topic + "/+")
		p.publish(topic+"/b", "gone", 0)
		p.publish(topic+"/a", "by name", 0)
		p.expect("by name")
		p.quiet()
	}},
	{"unsubscribe/stops", "3.10.4-2", "3.10.4-2", func(t *T) {
		p, sender := t.connect(), t.connect()
		topic := t.topic()
		p.subscribe(sub(topic, offered.qos))
		sender.publish(topic, "before", offered.qos)
		p.expect("before")
		p.unsubscribe(topic)
		sender.publish(topic, "after", offered.qos)
		p.quiet()
	}},
	{"unsubscribe/completes-delivery", "3.10.4-3", "3.10.4-3", func(t *T) {
		t.needQoS(2)
		id, topic := t.clientID(), t.topic()
		p := t.connect(t.durable(id))
		p.subscribe(sub(topic, 2))
		p.publish(topic, "one", 1)
		p.publish(topic, "two", 2)
		one, two := p.receive(), p.receive()
		if one.payload == "two" {
			one, two = two, one
		}
		p.sendAck(codec.TypePubrec, two.id)
		p.acked(codec.TypePubrel, two.id)
		p.unsubscribe(topic)
		p.drop()
		again := t.connect(t.durable(id))
		if m := again.receive(); m.payload != "one" || m.id != one.id || !m.dup {
			t.Errorf("%v, was sent as %v", m, one)
		}
		again.sendAck(codec.TypePuback, one.id)
		again.acked(codec.TypePubrel, two.id)
		again.sendAck(codec.TypePubcomp, two.id)
		again.quiet()
	}},
}
