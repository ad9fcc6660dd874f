package conformance

import (
	"slices"

	"fmt"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// Section 3.2, CONNACK: what it says, and that what it says holds.
var connackTests = []test{
	{"connack/flags", "3.2.2-1 3.2.2-8", "3.2.0-1", func(t *T) {
		p := t.dial()
		p.send(t.rawConnect(flagClean, field(t.clientID()))...)
		got := p.next()
		if got.typ != codec.TypeConnack || got.first != 0x20 || got.body[0] != 0 || got.body[1] != 0 {
			t.Fatalf("%v %02x % x", got.typ, got.first, got.body)
		}
		p.isOpen()
	}},
	{"connack/refusal", "3.2.2-6 3.2.2-7 4.13.2-1", "", func(t *T) {
		// A refused CONNECT of a client that has a session: no Session Present.
		id := t.clientID()
		t.connect(t.durable(id)).drop()
		p, said := t.refused(t.durable(id), func(c *codec.Connect) {
			c.HasAuthenticationMethod, c.AuthenticationMethod = true, codec.View("no such method")
		})
		if said && (p.connack.Reason < 0x80 || p.connack.SessionPresent) {
			t.Errorf("CONNACK %v, Session Present %v", p.connack.Reason, p.connack.SessionPresent)
		}
		p.closedAnyhow()
	}},
	{"connack/return-codes", "", "3.2.2-4 3.2.2-5", func(t *T) {
		// A refused CONNECT of a client that has a session: no Session Present.
		id := t.clientID()
		t.connect(t.durable(id)).drop()
		p := t.dial()
		p.send(t.rawConnectAs("MQTT", 2, 0, field(id))...)
		got := p.next()
		if got.typ != codec.TypeConnack || got.body[0] != 0 || got.body[1] != 1 {
			t.Fatalf("%v % x", got.typ, got.body)
		}
		p.end()
		if again := t.connect(t.durable(id)); !again.connack.SessionPresent {
			t.Errorf("the refusal has cost the session")
		}
	}},
	{"connack/one-only", "3.2.0-2", "", func(t *T) {
		p := t.connect()
		for range 3 {
			p.isOpen() // inspect fails on a second CONNACK
		}
	}},
	{"connack/before-backlog", "3.2.0-1", "3.2.0-1", func(t *T) {
		t.needQoS(1)
		id, topic := t.clientID(), t.topic()
		p := t.connect(t.durable(id))
		p.subscribe(sub(topic, 1))
		p.disconnect()
		sender := t.connect()
		for i := range 20 {
			sender.publish(topic, fmt.Sprint(i), 1)
		}
		again := t.dial()
		again.resumed = true
		c := t.newConnect()
		t.durable(id)(&c)
		again.connect = c
		again.append(codec.AppendConnect(nil, &c, t.version))
		if got := again.next(); got.typ != codec.TypeConnack {
			t.Fatalf("%v comes first", got)
		}
		for i := range 20 {
			again.expect(fmt.Sprint(i))
		}
	}},
	{"connack/maximum-qos", "3.2.2-9 3.2.2-10", "", func(t *T) {
		for limit := range codec.QoS(2) {
			t.own(fmt.Sprintf("mqtt: {max-qos: %d}", limit))
			p := t.connect()
			if !p.connack.HasMaximumQoS || p.connack.MaximumQoS != limit {
				t.Errorf("Maximum QoS %v %d, expected %d", p.connack.HasMaximumQoS, p.connack.MaximumQoS, limit)
			}
			for q := range codec.QoS(3) {
				if got := p.trySubscribe(0, sub(t.topic(), q))[0]; got != byte(min(q, limit)) {
					t.Errorf("QoS %d is answered with %v at Maximum QoS %d", q, codec.ReasonCode(got), limit)
				}
			}
			p.publishOnly(t.topic(), "too high", limit+1)
			p.closed(codec.QoSNotSupported)
		}
	}},
	{"connack/will-qos-too-high", "3.2.2-12 3.1.4-2", "", func(t *T) {
		t.own("mqtt: {max-qos: 1}")
		p := t.tryConnect(func(c *codec.Connect) {
			c.HasWill, c.Will = true, codec.Will{Topic: codec.View(t.topic()), QoS: 2}
		})
		if p.connack.Reason != codec.QoSNotSupported {
			t.Errorf("a Will with QoS 2 at Maximum QoS 1 is answered with %v", p.connack.Reason)
		}
		p.closedAnyhow()
	}},
	{"connack/retain-unavailable", "3.2.2-13 3.1.4-2", "", func(t *T) {
		t.own("mqtt: {retain-available: false}")
		p := t.connect()
		if !p.connack.RetainUnavailable {
			t.Errorf("CONNACK says that retained messages are available")
		}
		p.publishOnly(t.topic(), "keep", 0, retain)
		p.closed(codec.RetainNotSupported)
		q := t.tryConnect(func(c *codec.Connect) {
			c.HasWill, c.Will = true, codec.Will{Topic: codec.View(t.topic()), Retain: true}
		})
		if q.connack.Reason != codec.RetainNotSupported {
			t.Errorf("a retained Will is answered with %v", q.connack.Reason)
		}
		q.closedAnyhow()
	}},
	{"connack/wildcards-unavailable", "beyond", "3.8.3-2", func(t *T) {
		t.own("mqtt: {wildcard-available: false}")
		p := t.connect()
		got := p.trySubscribe(0, sub(t.topic()+"/+", 0), sub(t.topic(), 0), sub("#", 0))
		if got[0] < 0x80 || got[1] != 0 || got[2] < 0x80 {
			t.Errorf("return codes % x", got)
		}
	}},
	{"connack/receive-maximum-holds", "3.3.4-7", "", func(t *T) {
		t.needQoS(2)
		t.own("mqtt: {receive-maximum: 3}")
		p := t.connect()
		if p.connack.ReceiveMaximum != 3 {
			t.Fatalf("Receive Maximum %d", p.connack.ReceiveMaximum)
		}
		topic := t.topic()
		for range 3 {
			p.acked(codec.TypePubrec, p.publishOnly(topic, "within", 2))
		}
		p.publishOnly(topic, "one too many", 2) // three are without PUBCOMP
		p.closed(codec.ReceiveMaximumExceeded)
	}},
	{"connack/server-keep-alive", "3.1.2-21", "", func(t *T) {
		t.own("mqtt: {keep-alive: 1}")
		p := t.connect(func(c *codec.Connect) { c.KeepAliveSeconds = 0 })
		if !p.connack.HasServerKeepAlive || p.connack.ServerKeepAliveSeconds != 1 {
			t.Fatalf("Server Keep Alive %v %d", p.connack.HasServerKeepAlive, p.connack.ServerKeepAliveSeconds)
		}
		p.closed(codec.KeepAliveTimeout)
	}},
	{"connack/keep-alive-of-client", "3.2.2-22 3.1.2-22", "3.1.2-24", func(t *T) {
		watch, topic := t.watch(0)
		p := t.connect(will(topic, "silent"), func(c *codec.Connect) { c.KeepAliveSeconds = 1 })
		if p.connack.HasServerKeepAlive {
			t.NotOffered("a Keep Alive of the Client's choice")
		}
		if t.v5() { // the broker's clock tells when it is much too late
			t.connect(keepsSession(t.clientID(), 60), will(topic, "five seconds", func(w *codec.Will) { w.DelaySeconds = 5 })).drop()
		}
		p.closed(codec.KeepAliveTimeout)
		watch.expect("silent") // as if the network had failed
	}},
	{"connack/kept-alive", "3.2.2-22", "", func(t *T) {
		t.inTime(func(seconds uint32) bool {
			last := time.Now()
			p := t.connect(func(c *codec.Connect) { c.KeepAliveSeconds = uint16(4 * seconds) })
			for range 3 { // longer than one and a half times, but never silent
				t.afterSeconds(2 * seconds)
				if time.Since(last) > lifetime(5*seconds) { // with what is left for the answer
					return false
				}
				last = time.Now()
				p.isOpen()
			}
			return true
		})
	}},
	{"connack/response-information", "3.1.2-28", "", func(t *T) {
		if p := t.connect(); len(p.connack.ResponseInformation) > 0 {
			t.Errorf("Response Information %q, not asked for", p.connack.ResponseInformation)
		}
	}},
	{"connack/small-packets", "3.2.2-19 3.2.2-20 3.1.2-24", "", func(t *T) {
		// CONNACK gives its reason where there is room, never where there is not.
		for _, limit := range []uint32{1, 5, 10, 20, 30, 60} {
			p := t.dial()
			c := t.newConnect()
			c.MaximumPacketSize = limit
			c.HasAuthenticationMethod, c.AuthenticationMethod = true, codec.View("no such method")
			p.connect = c
			p.append(codec.AppendConnect(nil, &c, t.version))
			p.closed() // inspect fails on a packet that is too large
		}
	}},
	{"connack/small-packets-for-bad-connect", "3.2.2-19 3.1.2-24", "", func(t *T) {
		// Also where CONNECT does not parse.
		size := []byte{0x27, 0, 0, 0, 20}
		for _, wrong := range [][]byte{{0x21, 0, 0}, size, {0x17, 2}, {0x19, 2}, {0x22, 0, 1, 0x22, 0, 1}, {0x01, 0}, {0x7F, 0}} {
			for _, properties := range [][]byte{slices.Concat(size, wrong), slices.Concat(wrong, size)} {
				p := t.dial()
				p.connect = t.newConnect()
				p.connect.MaximumPacketSize = 20
				p.send(frame(0x10, field("MQTT"), []byte{5, flagClean, 0, 60}, t.properties(properties), field(t.clientID()))...)
				p.closed(codec.ProtocolError, codec.MalformedPacket) // inspect fails on a packet that is too large
			}
		}
		p := t.dial()
		p.connect = t.newConnect()
		p.connect.MaximumPacketSize = 20
		p.send(frame(0x10, field("MQTT"), []byte{5, flagClean | flagReserved, 0, 60}, t.properties(size), field(t.clientID()))...)
		p.closed(codec.ProtocolError, codec.MalformedPacket)
	}},
	{"connack/session-present", "3.2.2-2 3.2.2-3", "3.2.2-1 3.2.2-2 3.2.2-3", func(t *T) {
		id := t.clientID()
		for i, step := range []struct {
			clean, present bool
		}{{false, false}, {false, true}, {true, false}} {
			p := t.connect(t.durable(id), func(c *codec.Connect) { c.CleanStart = step.clean })
			if p.connack.SessionPresent != step.present {
				t.Errorf("CONNECT %d with Clean Start %v: Session Present %v", i+1, step.clean, p.connack.SessionPresent)
			}
			p.disconnect()
		}
	}},
}
