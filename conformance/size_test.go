package conformance

import (
	"strings"

	"github.com/x0a1b/promptmq/codec"
)

func maximumPacketSize(n uint32) func(*codec.Connect) {
	return func(c *codec.Connect) { c.MaximumPacketSize = n }
}

// eachSmallSize connects with one small Maximum Packet Size after the other, as
// far as the broker can answer such a CONNECT at all.
func (t *T) eachSmallSize(do func(p *peer)) {
	t.Helper()
	served := 0
	for limit := uint32(8); limit < 90; limit += 5 { // a SUBACK has 6 bytes
		p := t.dial()
		c := t.newConnect()
		c.MaximumPacketSize = limit
		p.append(codec.AppendConnect(nil, &c, p.version))
		got, err := p.read(soon()) // the size of CONNACK is for size/connack
		if err != nil && p.why(err).Error() == "no answer" {
			t.Fatalf("Maximum Packet Size %d: neither CONNACK nor the end", limit)
		}
		if err != nil || got.connack.Reason != 0 {
			continue
		}
		p.connect, p.connack = c, got.connack
		served++
		do(p)
	}
	if served == 0 {
		t.Errorf("no CONNECT with a Maximum Packet Size below 90 is served")
	}
}

// Maximum Packet Size, section 3.1.2.11.4, and what may be left out for it:
// Reason String and User Properties. inspect fails on a packet that is too
// large, whatever the test is about.
var sizeTests = []test{
	{"size/publish", "3.1.2-24 3.1.2-25", "", func(t *T) {
		t.needQoS(2)
		p := t.connect(maximumPacketSize(100))
		sender := t.connect()
		topic := t.topic()
		p.subscribe(sub(topic, 2))
		for qos := range codec.QoS(3) {
			sender.publish(topic, strings.Repeat("x", 100), qos)
			sender.publish(topic, "fits", qos)
			p.expect("fits")
		}
		p.quiet()
	}},
	{"size/as-if-sent", "3.1.2-25", "", func(t *T) {
		t.needQoS(1)
		// What is too large is over and done with: it uses no quota, and does not
		// come later to a connection that could take it.
		id, topic := t.clientID(), t.topic()
		p := t.connect(t.durable(id), maximumPacketSize(100), func(c *codec.Connect) { c.ReceiveMaximum = 1 })
		sender := t.connect()
		p.subscribe(sub(topic, 1))
		for range 5 {
			sender.publish(topic, strings.Repeat("x", 100), 1)
		}
		sender.publish(topic, "fits", 1)
		p.expect("fits")
		p.settle()
		p.drop()
		again := t.connect(t.durable(id))
		again.quiet()
	}},
	{"size/publish-exactly", "3.1.2-24", "", func(t *T) {
		p, q := t.connect(maximumPacketSize(80)), t.connect()
		topic := t.topic()
		p.subscribe(sub(topic, 0))
		rest := 80 - 2 - 2 - len(topic) - 1 // Fixed Header, Topic Name, Property Length
		q.publish(topic, strings.Repeat("x", rest+1), 0)
		q.publish(topic, strings.Repeat("y", rest), 0)
		p.expect(strings.Repeat("y", rest))
	}},
	{"size/queued", "3.1.2-24 3.1.2-25", "", func(t *T) {
		t.needQoS(1)
		id, topic := t.clientID(), t.topic()
		p := t.connect(t.durable(id))
		p.subscribe(sub(topic, 1))
		p.disconnect()
		sender := t.connect()
		sender.publish(topic, strings.Repeat("x", 200), 1)
		sender.publish(topic, "fits", 1)
		again := t.connect(t.durable(id), maximumPacketSize(100))
		again.expect("fits")
		again.quiet()
	}},
	{"size/connack", "3.1.2-24", "", func(t *T) {
		for limit := uint32(1); limit < 40; limit++ {
			p := t.dial()
			p.connect = t.newConnect()
			p.connect.MaximumPacketSize = limit
			p.append(codec.AppendConnect(nil, &p.connect, p.version))
			if got, err := p.read(soon()); err != nil && p.why(err).Error() == "no answer" {
				t.Fatalf("Maximum Packet Size %d: neither CONNACK nor the end: %v", limit, got)
			}
		}
	}},
	{"size/puback", "3.4.2-2 3.4.2-3", "", func(t *T) {
		t.needQoS(1)
		t.eachSmallSize(func(p *peer) {
			p.publish(t.topic(), "nobody subscribes to this", 1) // a reason to give reasons
		})
	}},
	{"size/pubrec-pubcomp", "3.5.2-2 3.5.2-3 3.7.2-2 3.7.2-3", "", func(t *T) {
		t.needQoS(2)
		t.eachSmallSize(func(p *peer) {
			p.publish(t.topic(), "nobody subscribes to this", 2)
			p.sendAck(codec.TypePubrel, 999) // unknown: PUBCOMP has a reason to give
			p.await(codec.TypePubcomp)
		})
	}},
	{"size/pubrel", "3.6.2-2 3.6.2-3", "", func(t *T) {
		t.needQoS(2)
		p := t.connect(maximumPacketSize(80))
		topic := t.topic()
		p.subscribe(sub(topic, 2))
		p.publish(topic, "x", 2)
		p.take()
		t.eachSmallSize(func(q *peer) {
			q.sendAck(codec.TypePubrec, 999) // unknown: a PUBREL would have a reason to give
			q.settle()
		})
	}},
	{"size/suback-unsuback", "3.9.2-1 3.9.2-2 3.11.2-1 3.11.2-2", "", func(t *T) {
		t.eachSmallSize(func(p *peer) {
			p.trySubscribe(0, sub("$share/conformance/"+unique(""), 1)) // a server may have something to say
			p.unsubscribe("conformance/never")
		})
	}},
	{"size/disconnect", "3.14.2-3 3.14.2-4", "", func(t *T) {
		t.eachSmallSize(func(p *peer) {
			p.append(codec.AppendConnect(nil, &p.connect, p.version))
			p.closed()
		})
	}},
	{"size/of-the-server", "3.2.2-15", "", func(t *T) {
		t.own("mqtt: {max-packet-size: 1000}")
		p := t.connect()
		if p.connack.MaximumPacketSize != 1000 {
			t.Fatalf("Maximum Packet Size %d", p.connack.MaximumPacketSize)
		}
		topic := t.topic()
		p.subscribe(sub(topic, 0))
		rest := 1000 - 3 - 2 - len(topic) - 1
		p.publish(topic, strings.Repeat("y", rest), 0)
		p.expect(strings.Repeat("y", rest))
		p.publishOnly(topic, strings.Repeat("x", rest+1), 0)
		p.closed(codec.PacketTooLarge)
	}},
	{"problem-information/only-where-asked", "3.1.2-29", "", func(t *T) {
		t.needQoS(2)
		p := t.connect(func(c *codec.Connect) { c.RequestProblemInformation = false })
		topic := t.topic()
		p.publish(topic, "nobody", 1)
		p.publish(topic, "nobody", 2)
		p.sendAck(codec.TypePubrel, 999)
		p.await(codec.TypePubcomp)
		p.unsubscribe(topic)
		p.trySubscribe(0, sub("$share/conformance/"+topic, 1))
		p.subscribe(sub(topic, 2))
		want := rich()
		p.publish(topic, "properties of PUBLISH stay", 2, func(m *codec.Publish) { m.Forward = want.forward() })
		want.compare(t, p.expect("properties of PUBLISH stay"))
	}},
}
