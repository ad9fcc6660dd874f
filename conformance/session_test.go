package conformance

import (
	"fmt"

	"github.com/x0a1b/promptmq/codec"
)

// Session State, sections 3.1.2.4, 3.1.2.11.2 and 4.1.
var sessionTests = []test{
	{"session/clean-start", "3.1.2-4 3.1.4-4 3.2.2-2", "3.1.2-6 3.1.4-3 3.2.2-1", func(t *T) {
		t.needQoS(1)
		id, topic := t.clientID(), t.topic()
		p := t.connect(t.durable(id))
		p.subscribe(sub(topic, 1))
		p.publish(topic, "unacknowledged", 1)
		p.receive()
		p.drop()
		again := t.connect(t.durable(id), clean)
		if again.connack.SessionPresent {
			t.Errorf("Session Present after Clean Start")
		}
		again.publish(topic, "no subscription", 1)
		again.quiet()
	}},
	{"session/clean-start-while-connected", "3.1.2-4 3.1.4-3", "3.1.2-6 3.1.4-2", func(t *T) {
		id, topic := t.clientID(), t.topic()
		p := t.connect(t.durable(id))
		p.subscribe(sub(topic, 0))
		again := t.connect(t.durable(id), clean)
		p.closed(codec.SessionTakenOver)
		if again.connack.SessionPresent {
			t.Errorf("Session Present after Clean Start")
		}
		again.publish(topic, "no subscription", 0)
		again.quiet()
	}},
	{"session/resumed", "3.1.2-5 3.1.2-23 4.1.0-1 3.1.4-5", "3.1.2-4 4.1.0-1 3.1.4-4", func(t *T) {
		t.needQoS(2)
		id, topic := t.clientID(), t.topic()
		p := t.connect(t.durable(id))
		p.subscribe(sub(topic, 2))
		p.disconnect()
		t.connect().publish(topic, "meanwhile 1", 1)
		t.connect().publish(topic, "meanwhile 2", 2)
		again := t.connect(t.durable(id))
		if !again.connack.SessionPresent {
			t.Errorf("no session is present")
		}
		again.expectAll("meanwhile 1", "meanwhile 2")
		again.publish(topic, "live", 0)
		again.expect("live")
		again.quiet()
	}},
	{"session/new", "3.1.2-6 3.2.2-3", "3.1.2-4 3.2.2-3", func(t *T) {
		p := t.connect(t.durable(t.clientID()))
		if p.connack.SessionPresent {
			t.Errorf("a Client Identifier of nobody has a session")
		}
		p.quiet()
	}},
	{"session/ends-with-connection", "4.1.0-2 3.1.2-6", "3.1.2-6", func(t *T) {
		id := t.clientID()
		p := t.connect(func(c *codec.Connect) { c.ClientID = codec.View(id) }) // Session Expiry Interval 0, or clean session
		p.subscribe(sub(t.topic(), 0))
		p.disconnect()
		if again := t.connect(t.durable(id)); again.connack.SessionPresent {
			t.Errorf("a session that ended with its connection is present")
		}
	}},
	{"session/lasts-as-long-as-the-connection", "4.1.0-1", "4.1.0-2", func(t *T) {
		p, topic := t.connect(), t.topic()
		p.subscribe(sub(topic, 0))
		t.afterSeconds(1)
		p.publish(topic, "still here", 0)
		p.expect("still here")
	}},
	{"session/expires", "4.1.0-2 3.1.2-23", "", func(t *T) {
		short, long := t.clientID(), t.clientID()
		t.connect(keepsSession(short, 1)).drop()
		t.connect(keepsSession(long, 300)).drop()
		t.afterSeconds(3)
		if p := t.connect(keepsSession(short, 0), resume); p.connack.SessionPresent {
			t.Errorf("a session is present after its Session Expiry Interval")
		}
		if p := t.connect(keepsSession(long, 0), resume); !p.connack.SessionPresent {
			t.Errorf("a session is gone before its Session Expiry Interval")
		}
	}},
	{"session/interval-changed-by-disconnect", "4.1.0-2", "", func(t *T) {
		id := t.clientID()
		t.connect(keepsSession(id, 300)).disconnect(func(d *codec.Disconnect) { d.HasSessionExpiry = true })
		if p := t.connect(keepsSession(id, 0), resume); p.connack.SessionPresent {
			t.Errorf("a session is present although DISCONNECT ended it")
		}
		other := t.clientID()
		t.connect(keepsSession(other, 1)).disconnect(func(d *codec.Disconnect) { d.HasSessionExpiry, d.SessionExpirySeconds = true, 300 })
		t.afterSeconds(3)
		if p := t.connect(keepsSession(other, 0), resume); !p.connack.SessionPresent {
			t.Errorf("a session is gone although DISCONNECT gave it more time")
		}
	}},
	{"session/interval-from-zero", "4.13.1-1", "", func(t *T) {
		// Section 3.14.2.2.2: an interval of 0 in CONNECT cannot be raised.
		p := t.connect()
		p.append(codec.AppendDisconnect(nil, &codec.Disconnect{HasSessionExpiry: true, SessionExpirySeconds: 60}, p.version))
		p.closed(codec.ProtocolError)
	}},
	{"session/takeover", "3.1.4-3", "3.1.4-2", func(t *T) {
		id := t.clientID()
		as := func(c *codec.Connect) { c.ClientID = codec.View(id) }
		first := t.connect(as)
		second := t.connect(as)
		reason, said := first.end()
		if t.v5() && (!said || reason != codec.SessionTakenOver) {
			t.Errorf("the existing connection is closed with %v, sent: %v", reason, said)
		}
		second.isOpen()
	}},
	{"session/client-id-is-the-key", "3.1.3-2", "3.1.3-2", func(t *T) {
		topic := t.topic()
		base := t.clientID()
		ids := []string{base, base + "a", base + "A", base[:len(base)-1]}
		for i, id := range ids {
			p := t.connect(t.durable(id))
			if p.connack.SessionPresent {
				t.Errorf("%q finds the session of another", id)
			}
			p.subscribe(sub(fmt.Sprintf("%s/%d", topic, i), 0))
			p.drop()
		}
		for i, id := range ids {
			p := t.connect(t.durable(id))
			p.publish(fmt.Sprintf("%s/%d", topic, i), "own", 0)
			p.expect("own")
			p.publish(fmt.Sprintf("%s/%d", topic, (i+1)%4), "of another", 0)
			p.quiet()
		}
	}},
	{"session/over-restart", "3.1.2-23 4.1.0-1", "3.1.2-4 4.1.0-1", func(t *T) {
		t.needQoS(2)
		restart, crash := t.restartable()
		for _, again := range []func(){restart, crash} {
			id, topic := t.clientID(), t.topic()
			p := t.connect(t.durable(id))
			p.subscribe(sub(topic, 2))
			sender := t.connect()
			sender.publish(topic, "one", 1)
			one := p.receive()
			p.drop()
			sender.publish(topic, "two", 2)
			sender.publish(topic, "three", 1)
			again()
			back := t.connect(t.durable(id))
			if !back.connack.SessionPresent {
				t.Fatalf("the session is gone")
			}
			for _, m := range back.expectAll("one", "two", "three") {
				if m.payload == "one" && (m.id != one.id || !m.dup) {
					t.Errorf("%v, was sent as %v", m, one)
				}
			}
			back.publish(topic, "live", 0)
			back.expect("live")
			back.quiet()
			back.disconnect()
		}
	}},
	{"session/qos2-state-over-restart", "4.3.3-10 4.3.3-5 4.3.3-6", "4.3.3-1 4.3.3-2", func(t *T) {
		t.needQoS(2)
		restart, crash := t.restartable()
		for _, again := range []func(){restart, crash} {
			id, watcher, topic, other := t.clientID(), t.clientID(), t.topic(), t.topic()
			t.connect(t.durable(watcher)).subscribe(sub(other, 2))
			p := t.connect(t.durable(id))
			p.subscribe(sub(topic, 2))
			p.publish(topic, "received", 2)
			m := p.receive()
			p.sendAck(codec.TypePubrec, m.id)
			p.acked(codec.TypePubrel, m.id)              // the broker waits for PUBCOMP
			p.publishOnly(other, "once", 2, withID(777)) // and has PUBLISH, not PUBREL
			p.acked(codec.TypePubrec, 777)
			p.drop()
			again()
			back := t.connect(t.durable(id))
			back.acked(codec.TypePubrel, m.id)
			back.sendAck(codec.TypePubcomp, m.id)
			back.publishOnly(other, "once", 2, withID(777), func(m *codec.Publish) { m.Dup = true })
			back.acked(codec.TypePubrec, 777)
			back.sendAck(codec.TypePubrel, 777)
			back.acked(codec.TypePubcomp, 777)
			back.quiet() // PUBLISH does not come again after PUBREL
			watch := t.connect(t.durable(watcher))
			watch.expect("once")
			watch.quiet()
			watch.disconnect()
			back.disconnect()
		}
	}},
	{"session/will-over-restart", "3.1.2-7 3.1.2-8", "", func(t *T) {
		// The Will of a client that the restart disconnects is published, late or
		// in time.
		t.needQoS(1)
		_, crash := t.restartable()
		id, topic := t.clientID(), t.topic()
		watch := t.connect(t.durable(id))
		watch.subscribe(sub(topic, 1))
		p := t.connect(keepsSession(t.clientID(), 300), will(topic, "broker died", func(w *codec.Will) { w.QoS, w.DelaySeconds = 1, 1 }))
		p.isOpen()
		crash()
		t.connect(t.durable(id)).expect("broker died")
	}},
	{"session/retained-over-restart", "3.3.1-5", "3.3.1-5", func(t *T) {
		t.needRetain()
		restart, crash := t.restartable()
		for _, again := range []func(){restart, crash} {
			topic := t.topic()
			t.connect().retained(topic, "kept", offered.qos)
			again()
			p := t.connect()
			p.subscribe(sub(topic, 0))
			p.expect("kept")
		}
	}},
	{"session/unsubscribed-over-restart", "3.10.4-1", "3.10.4-1", func(t *T) {
		t.needQoS(1)
		_, crash := t.restartable()
		id, topic := t.clientID(), t.topic()
		p := t.connect(t.durable(id))
		p.subscribe(sub(topic, 1))
		p.unsubscribe(topic)
		p.drop()
		crash()
		back := t.connect(t.durable(id))
		if !back.connack.SessionPresent {
			t.Fatalf("the session is gone")
		}
		back.publish(topic, "unsubscribed", 1)
		back.quiet()
	}},
}
