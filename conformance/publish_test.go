package conformance

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// Section 3.3, PUBLISH, without what is about RETAIN and about QoS.
var publishTests = slices.Concat(publishFormatTests, publishPropertyTests, aliasTests, []test{
	{"publish/respond-by-qos", "3.3.4-1", "3.3.4-1", func(t *T) {
		p := t.connect()
		topic := t.topic()
		p.publishOnly(topic, "0", 0)
		if offered.qos >= 1 {
			p.acked(codec.TypePuback, p.publishOnly(topic, "1", 1))
		}
		if offered.qos >= 2 {
			p.acked(codec.TypePubrec, p.publishOnly(topic, "2", 2))
		}
		p.isOpen()
		if len(p.inbox) > 0 {
			t.Errorf("%v came besides", p.inbox[0])
		}
	}},
	{"publish/topic-name-matches", "3.3.2-3", "3.3.2-3", func(t *T) {
		t.needWildcard()
		p := t.connect()
		base := t.topic()
		p.subscribe(sub(base+"/+/x", 0), sub(base+"/deep/#", 0))
		for _, level := range []string{"a/x", "deep/a/b/c", "deep", "other", "a/y"} {
			p.publish(base+"/"+level, level, 0)
		}
		for _, m := range p.expectAll("a/x", "deep/a/b/c", "deep") {
			if m.topic != base+"/"+m.payload {
				t.Errorf("%v, was published to %q", m, base+"/"+m.payload)
			}
		}
		p.quiet()
	}},
	{"publish/not-authorised", "beyond", "3.3.5-2", func(t *T) {
		// A server that does not let this client publish to $SYS either
		// acknowledges or closes; here it may also let it.
		t.needQoS(1)
		p := t.connect()
		p.publishOnly("$SYS/conformance", "x", 1)
		got, err := p.read(soon())
		if err == nil && got.typ != codec.TypePuback && got.typ != codec.TypeDisconnect {
			t.Errorf("%v", got)
		}
		if err != nil && p.why(err).Error() == "no answer" {
			t.Errorf("neither PUBACK nor the end of the connection")
		}
	}},
})

var publishFormatTests = []test{
	{"publish/both-qos-bits", "3.3.1-4", "3.3.1-4 4.8.0-1", func(t *T) {
		p := t.connect()
		p.send(frame(0x36, field(t.topic()), uint16Bytes(1), t.properties(), []byte("x"))...)
		p.closed(codec.MalformedPacket, codec.ProtocolError, codec.QoSNotSupported)
	}},
	{"publish/dup-at-qos-0", "3.3.1-2", "3.3.1-2", func(t *T) {
		// Whatever the broker thinks of it, it does not hand the flag on.
		watch, topic := t.watch(0)
		p := t.connect()
		p.send(frame(0x38, field(topic), t.properties(), []byte("x"))...)
		p.closedOrServed()
		watch.publish(topic, "after", 0)
		for watch.take().payload != "after" { // inspect fails on DUP at QoS 0
		}
	}},
	{"publish/no-packet-identifier-at-qos-0", "2.2.1-2", "2.3.1-5", func(t *T) {
		p := t.connect()
		topic := t.topic()
		p.subscribe(sub(topic, 0))
		p.send(frame(0x30, field(topic), t.properties(), []byte{0, 7, 'x'})...)
		if m := p.receive(); m.payload != "\x00\x07x" { // the bytes are Payload, in and out
			t.Errorf("Payload %q", m.payload)
		}
	}},
	{"publish/packet-identifier-0", "2.2.1-3", "2.3.1-1", func(t *T) {
		for _, first := range []byte{0x32, 0x34} {
			p := t.connect()
			p.send(frame(first, field(t.topic()), uint16Bytes(0), t.properties(), []byte("x"))...)
			p.closed(codec.MalformedPacket, codec.ProtocolError)
		}
	}},
	{"publish/no-topic-name", "3.3.2-1 4.7.3-1", "3.3.2-1 4.7.3-1", func(t *T) {
		p := t.connect()
		p.send(frame(0x30)...)
		p.closed(codec.MalformedPacket, codec.ProtocolError)
		q := t.connect()
		q.send(frame(0x30, field(""), t.properties(), []byte("x"))...)
		q.closed(codec.MalformedPacket, codec.ProtocolError, codec.TopicNameInvalid)
	}},
	{"publish/wildcard-in-topic-name", "3.3.2-2 4.7.0-1", "3.3.2-2 4.7.1-1", func(t *T) {
		for _, name := range []string{"conformance/+", "conformance/#", "+", "#", "conformance/+/x", "conformance/a+b"} {
			p := t.connect()
			p.send(frame(0x30, field(name), t.properties(), []byte("x"))...)
			p.closed(codec.TopicNameInvalid, codec.MalformedPacket, codec.ProtocolError)
		}
	}},
	{"publish/subscription-identifier-from-client", "3.3.4-6", "", func(t *T) {
		p := t.connect()
		p.send(frame(0x30, field(t.topic()), t.properties([]byte{0x0B, 7}), []byte("x"))...)
		p.closed(codec.ProtocolError, codec.MalformedPacket)
	}},
	{"publish/response-topic", "3.3.2-13 3.3.2-14", "", func(t *T) {
		for _, name := range []string{"answer/+", "#", "bad\xFF", "\xED\xA0\x80"} {
			p := t.connect()
			p.send(frame(0x30, field(t.topic()), t.properties([]byte{0x08}, field(name)), []byte("x"))...)
			p.closed(codec.ProtocolError, codec.MalformedPacket, codec.TopicNameInvalid)
		}
	}},
	{"publish/empty-response-topic", "4.7.3-1", "", func(t *T) {
		empty := t.properties([]byte{0x08}, field(""))
		p := t.connect()
		p.send(frame(0x30, field(t.topic()), empty, []byte("x"))...)
		p.closed(codec.ProtocolError, codec.MalformedPacket, codec.TopicNameInvalid)
		t.refuses(t.rawConnect(flagClean|flagWill, field(t.clientID()), empty, field(t.topic()), field("gone")),
			codec.ProtocolError, codec.MalformedPacket, codec.TopicNameInvalid)
	}},
	{"publish/content-type-utf8", "3.3.2-19", "", func(t *T) {
		p := t.connect()
		p.send(frame(0x30, field(t.topic()), t.properties([]byte{0x03}, field("text\xC0\x80")), []byte("x"))...)
		p.closed(codec.ProtocolError, codec.MalformedPacket)
	}},
	{"publish/property-twice", "4.13.1-1", "", func(t *T) {
		for _, property := range [][]byte{{0x01, 0}, {0x02, 0, 0, 0, 9}, {0x23, 0, 1}, {0x03, 0, 1, 'x'}, {0x08, 0, 1, 'x'}, {0x09, 0, 1, 'x'}} {
			p := t.connect()
			p.send(frame(0x30, field(t.topic()), t.properties(property, property), []byte("x"))...)
			p.closed(codec.ProtocolError, codec.MalformedPacket, codec.TopicAliasInvalid)
		}
	}},
	{"publish/property-of-another-packet", "4.13.1-1", "", func(t *T) {
		for _, property := range [][]byte{{0x11, 0, 0, 0, 9}, {0x21, 0, 9}, {0x24, 1}, {0x17, 1}, {0x7F, 1}, {0x1F, 0, 1, 'x'}} {
			p := t.connect()
			p.send(frame(0x30, field(t.topic()), t.properties(property), []byte("x"))...)
			p.closed(codec.ProtocolError, codec.MalformedPacket)
		}
	}},
}

var publishPropertyTests = []test{
	{"publish/properties-unaltered", "3.3.2-4 3.3.2-15 3.3.2-16 3.3.2-17 3.3.2-18 3.3.2-20", "", func(t *T) {
		want := rich()
		topic := t.topic()
		p, q := t.connect(), t.connect()
		p.subscribe(sub(topic, 2))
		q.subscribe(sub(topic, 0))
		for qos := range offered.qos + 1 {
			q.publish(topic, "rich", qos, func(m *codec.Publish) { m.Forward = want.forward() })
			want.compare(t, p.expect("rich"))
			want.compare(t, q.expect("rich"))
		}
	}},
	{"publish/properties-unaltered-from-the-queue", "3.3.2-4 3.3.2-15 3.3.2-16 3.3.2-17 3.3.2-18 3.3.2-20", "", func(t *T) {
		t.needQoS(1)
		want := rich()
		id, topic := t.clientID(), t.topic()
		p := t.connect(t.durable(id))
		p.subscribe(sub(topic, 1))
		p.disconnect()
		t.connect().publish(topic, "rich", 1, func(m *codec.Publish) { m.Forward = want.forward() })
		want.compare(t, t.connect(t.durable(id)).expect("rich"))
	}},
	{"publish/properties-unaltered-if-retained", "3.3.2-4 3.3.2-15 3.3.2-16 3.3.2-17 3.3.2-18 3.3.2-20", "", func(t *T) {
		t.needRetain()
		want := rich()
		topic := t.topic()
		p := t.connect()
		p.retained(topic, "rich", 0, func(m *codec.Publish) { m.Forward = want.forward() })
		p.subscribe(sub(topic, 0))
		want.compare(t, p.expect("rich"))
	}},
	{"publish/no-properties-invented", "2.2.2-1 3.3.2-4", "", func(t *T) {
		p := t.connect()
		topic := t.topic()
		p.subscribe(sub(topic, 0))
		p.publish(topic, "plain", 0)
		m := p.expect("plain")
		if m.format != -1 || m.hasExpiry || m.contentType != nil || m.responseTopic != nil || m.correlation != nil || m.user != nil || m.subIDs != nil {
			t.Errorf("properties were added: %+v", m)
		}
	}},
	{"publish/expiry-counts-down", "3.3.2-6", "", func(t *T) {
		t.needQoS(1)
		id, topic := t.clientID(), t.topic()
		p := t.connect(t.durable(id))
		p.subscribe(sub(topic, 1))
		p.disconnect()
		began := time.Now()
		t.connect().publish(topic, "waiting", 1, expires(1000))
		t.afterSeconds(2)
		m := t.connect(t.durable(id)).expect("waiting")
		if !m.hasExpiry || m.expiry > 999 || float64(m.expiry) < 1000-time.Since(began).Seconds()-2 {
			t.Errorf("Message Expiry Interval %v %d after %v, was 1000", m.hasExpiry, m.expiry, time.Since(began))
		}
	}},
	{"publish/expiry-unaltered-at-once", "3.3.2-6", "", func(t *T) {
		p := t.connect()
		topic := t.topic()
		p.subscribe(sub(topic, 0))
		began := time.Now()
		p.publish(topic, "quick", 0, expires(4000000000))
		if m := p.expect("quick"); !m.hasExpiry || m.expiry > 4000000000 || float64(m.expiry) < 4000000000-time.Since(began).Seconds()-2 {
			t.Errorf("Message Expiry Interval %v %d, was 4,000,000,000", m.hasExpiry, m.expiry)
		}
	}},
	{"publish/exchange-outlives-expiry", "4.3.3-13", "", func(t *T) {
		t.needQoS(2)
		p, topic := t.connect(), t.topic()
		id := p.publishOnly(topic, "expires meanwhile", 2, expires(1))
		p.acked(codec.TypePubrec, id)
		t.afterSeconds(2)
		p.sendAck(codec.TypePubrel, id)
		p.acked(codec.TypePubcomp, id)
	}},
	{"publish/expired-in-queue", "3.3.2-5", "", func(t *T) {
		t.needQoS(2)
		id, topic := t.clientID(), t.topic()
		p := t.connect(t.durable(id))
		p.subscribe(sub(topic, 2))
		p.disconnect()
		sender := t.connect()
		sender.publish(topic, "expired 1", 1, expires(1))
		sender.publish(topic, "expired 2", 2, expires(1)) // the exchange with the sender goes on to its end
		sender.publish(topic, "stays", 2, expires(1000))
		t.afterSeconds(2)
		again := t.connect(t.durable(id))
		again.expect("stays")
		again.quiet()
	}},
	{"publish/expired-retained", "3.3.2-5", "", func(t *T) {
		t.needRetain()
		p := t.connect()
		topic := t.topic()
		p.retained(topic, "expired", 0, expires(1))
		t.afterSeconds(2)
		p.subscribe(sub(topic, 0))
		p.quiet()
	}},
	{"publish/no-expiry-once-sent", "4.3.3-7", "", func(t *T) {
		t.needQoS(2)
		id, topic := t.clientID(), t.topic()
		p := t.connect(t.durable(id))
		p.subscribe(sub(topic, 2))
		t.connect().publish(topic, "on its way", 2, expires(1))
		first := p.receive()
		p.drop()
		t.afterSeconds(2)
		again := t.connect(t.durable(id))
		if m := again.expect("on its way"); m.id != first.id || !m.dup {
			t.Errorf("%v, was sent as %v", m, first)
		}
	}},
}

// expires gives a message a Message Expiry Interval.
func expires(seconds uint32) func(*codec.Publish) {
	return func(p *codec.Publish) { p.HasMessageExpiry, p.MessageExpirySeconds = true, seconds }
}

// inTime calls try with 2, 4, 8 ... seconds, for a time that the broker waits and
// that try must be ahead of, until try reports that it was.
func (t *T) inTime(try func(seconds uint32) bool) {
	t.Helper()
	for seconds := uint32(2); !try(seconds); seconds *= 2 {
		if seconds > 60 {
			t.Fatalf("not in time, with %d seconds for it", seconds)
		}
	}
}

// lifetime is how long so many seconds are.
func lifetime(seconds uint32) time.Duration { return time.Duration(seconds) * time.Second }

// afterSeconds lets the broker's clock pass, measured by the broker: a Will that
// is due comes.
func (t *T) afterSeconds(n uint32) {
	t.Helper()
	if !offered.v5 {
		t.NotRun("needs a Will Delay Interval, of MQTT 5, as a clock")
	}
	defer func(v codec.Version) { t.version = v }(t.version)
	t.version = codec.Version5
	watch, topic := t.watch(0)
	id := t.clientID()
	t.connect(keepsSession(id, 60), will(topic, "tick", func(w *codec.Will) { w.DelaySeconds = n })).drop()
	watch.expect("tick")
	t.forget(id)
}

var aliasTests = []test{
	{"alias/used", "3.3.2-12 3.3.2-8", "", func(t *T) {
		t.needAliases(1)
		p := t.connect()
		topic := t.topic()
		p.subscribe(sub(topic+"/+", 0))
		for alias := uint16(1); alias <= offered.aliases && alias <= 300; alias++ {
			name := fmt.Sprintf("%s/%d", topic, alias)
			p.publish(name, "named", 0, useAlias(alias))
			p.publish("", "by alias", 0, useAlias(alias))
			for _, payload := range []string{"named", "by alias"} {
				if m := p.expect(payload); m.topic != name {
					t.Fatalf("alias %d: %v, expected %q", alias, m, name)
				}
			}
		}
	}},
	{"alias/highest", "3.3.2-12", "", func(t *T) {
		t.needAliases(1)
		p := t.connect()
		topic := t.topic()
		p.subscribe(sub(topic, 0))
		p.publish(topic, "named", 0, useAlias(p.connack.TopicAliasMaximum))
		p.publish("", "by alias", 0, useAlias(p.connack.TopicAliasMaximum))
		p.expect("named")
		p.expect("by alias")
	}},
	{"alias/changed", "3.3.2-12", "", func(t *T) {
		t.needAliases(1)
		p := t.connect()
		a, b := t.topic(), t.topic()
		p.subscribe(sub(a, 0), sub(b, 0))
		p.publish(a, "1", 0, useAlias(1))
		p.publish(b, "2", 0, useAlias(1))
		p.publish("", "3", 0, useAlias(1))
		p.expect("1")
		p.expect("2")
		if m := p.expect("3"); m.topic != b {
			t.Errorf("%v, the alias stands for %q by now", m, b)
		}
	}},
	{"alias/too-high", "3.3.2-9 3.2.2-17", "", func(t *T) {
		if offered.aliases == 65535 {
			t.NotOffered("a limit of Topic Aliases")
		}
		p := t.connect()
		p.publishOnly(t.topic(), "x", 0, useAlias(p.connack.TopicAliasMaximum+1))
		p.closed(codec.TopicAliasInvalid, codec.ProtocolError)
	}},
	{"alias/zero", "3.3.2-8", "", func(t *T) {
		p := t.connect()
		p.send(frame(0x30, field(t.topic()), t.properties([]byte{0x23, 0, 0}), []byte("x"))...)
		p.closed(codec.TopicAliasInvalid, codec.ProtocolError, codec.MalformedPacket)
	}},
	{"alias/unknown", "3.3.2-7 4.13.1-1", "", func(t *T) {
		t.needAliases(1)
		p := t.connect()
		p.publishOnly("", "x", 0, useAlias(1))
		p.closed(codec.ProtocolError, codec.TopicAliasInvalid, codec.TopicNameInvalid)
	}},
	{"alias/not-carried-over", "3.3.2-7", "", func(t *T) {
		t.needAliases(1)
		id, topic := t.clientID(), t.topic()
		first := t.connect(t.durable(id))
		first.publish(topic, "x", 0, useAlias(1))
		first.settle()
		first.drop()
		again := t.connect(t.durable(id))
		again.publishOnly("", "x", 0, useAlias(1))
		again.closed(codec.ProtocolError, codec.TopicAliasInvalid, codec.TopicNameInvalid)
	}},
	{"alias/to-client", "3.1.2-26 3.3.2-11 3.3.2-10", "", func(t *T) {
		t.needWildcard()
		p := t.connect(func(c *codec.Connect) { c.TopicAliasMaximum = 2 })
		topic := t.topic()
		p.subscribe(sub(topic+"/#", 0))
		for i := range 30 {
			p.publish(fmt.Sprintf("%s/%d", topic, i%5), fmt.Sprint(i), 0)
		}
		for range 30 { // inspect fails on an alias above 2 and resolves the others
			m := p.take()
			if i, err := strconv.Atoi(m.payload); err != nil || m.topic != fmt.Sprintf("%s/%d", topic, i%5) {
				t.Errorf("%v", m)
			}
		}
	}},
	{"alias/none-to-client", "3.1.2-27", "", func(t *T) {
		p := t.connect()
		topic := t.topic()
		p.subscribe(sub(topic, 0))
		for range 10 {
			p.publish(topic, "x", 0)
			if m := p.expect("x"); m.alias != 0 || m.topic != topic {
				t.Errorf("%v with Topic Alias %d", m, m.alias)
			}
		}
	}},
	{"alias/to-client-each-qos", "3.1.2-26 3.3.2-7", "", func(t *T) {
		t.needQoS(2)
		// What awaits something before it is sent, as QoS 2 may, sets no alias for what
		// goes ahead of it.
		id, topic := t.clientID(), t.topic()
		p := t.connect(t.durable(id), func(c *codec.Connect) { c.TopicAliasMaximum = 3 })
		sender := t.connect()
		for i := range 4 {
			p.subscribe(sub(fmt.Sprintf("%s/%d", topic, i), 2))
		}
		const n = 60
		for i := range n { // inspect fails on an alias that is not set, and resolves the others
			sender.publishOnly(fmt.Sprintf("%s/%d", topic, i/3%4), fmt.Sprint(i), codec.QoS(2-i%3))
		}
		for range n {
			m := p.take()
			if i, err := strconv.Atoi(m.payload); err != nil || m.topic != fmt.Sprintf("%s/%d", topic, i/3%4) {
				t.Errorf("%v", m)
			}
		}
	}},
	{"alias/to-client-reset", "3.3.2-7", "", func(t *T) {
		t.needQoS(1)
		id, topic := t.clientID(), t.topic()
		as := []func(*codec.Connect){t.durable(id), func(c *codec.Connect) { c.TopicAliasMaximum = 5 }}
		p := t.connect(as...)
		p.subscribe(sub(topic, 1))
		for range 3 {
			p.publish(topic, "before", 1)
			p.expect("before")
		}
		p.settle()
		p.drop()
		again := t.connect(as...)
		again.publish(topic, "after", 1)
		if m := again.expect("after"); m.topic != topic { // inspect fails on an alias that this connection never set
			t.Errorf("%v", m)
		}
	}},
}

func useAlias(n uint16) func(*codec.Publish) {
	return func(p *codec.Publish) { p.TopicAlias = n }
}
