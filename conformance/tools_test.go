package conformance

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/x0a1b/promptmq/codec"
)

// What the tools of users rely on, and the order of messages, section 4.6.
var toolTests = slices.Concat(connectToolTests, subscribeToolTests, orderTests)

var connectToolTests = []test{
	{"tool/return-codes", "", "3.1.2-2 3.1.3-8 3.2.2-4 3.2.2-5", func(t *T) {
		// Firmware shows them to its users, or reads the four bytes itself.
		for code, connects := range map[byte][][]byte{
			0: {t.rawConnect(flagClean, field(t.clientID()))},
			1: {t.rawConnectAs("MQTT", 1, flagClean, field(t.clientID())), t.rawConnectAs("MQTT", 2, flagClean, field(""))},
			2: {t.rawConnect(0, field(""))},
		} {
			for _, connect := range connects {
				p := t.dial()
				p.send(connect...)
				if got := p.next(); got.first != 0x20 || !bytes.Equal(got.body, []byte{0, code}) {
					t.Errorf("% x is answered with %02x % x, expected return code %d", connect, got.first, got.body, code)
				}
				if code == 0 {
					p.disconnect()
				} else {
					p.end()
				}
			}
		}
	}},
	{"tool/mqtt-3.1", "", beyond, func(t *T) {
		p := t.dial()
		p.version = codec.Version31
		p.handshake()
		if p.connack.Reason == codec.UnsupportedProtocolVersion {
			t.NotOffered("MQTT 3.1")
		}
		topic := t.topic()
		p.subscribe(sub(topic, offered.qos))
		for qos := range offered.qos + 1 {
			p.publish(topic, fmt.Sprint(qos), qos)
			if m := p.expect(fmt.Sprint(qos)); m.qos != qos {
				t.Errorf("%v, was published with QoS %d", m, qos)
			}
		}
		p.unsubscribe(topic)
		p.publish(topic, "unsubscribed", 0)
		p.isOpen()
		p.disconnect()
		empty := t.dial()
		empty.send(t.rawConnectAs("MQIsdp", 3, flagClean, field(""))...)
		if got := empty.next(); got.typ != codec.TypeConnack || got.body[1] != 2 {
			t.Errorf("an empty Client Identifier is answered with %v % x, in 3.1 it must be refused with 2", got, got.body)
		}
		empty.end()
	}},
	{"tool/mqtt-3.1-flags", "", beyond, func(t *T) {
		// Old firmware sets what 3.1 does not use, and sends with DUP again.
		t.needQoS(2)
		greeting := t.dial()
		greeting.send(frame(0x19, field("MQIsdp"), []byte{3, flagClean | flagReserved | flagWillRetain | flagWillQoS1, 0, 60}, field(t.clientID()))...)
		if got := greeting.next(); got.typ != codec.TypeConnack || len(got.body) != 2 || got.body[1] > 1 {
			t.Fatalf("unused flags in CONNECT are answered with %v % x", got, got.body)
		} else if got.body[1] == 1 {
			t.NotOffered("MQTT 3.1")
		}
		topic := t.topic()
		p := t.dial()
		p.version = codec.Version31
		p.handshake()
		p.filters[topic] = true
		p.send(frame(0x8A, uint16Bytes(3), field(topic), []byte{0})...)
		p.await(codec.TypeSuback)
		id := p.publishOnly(topic, "x", 2)
		p.acked(codec.TypePubrec, id)
		p.send(frame(0x6A, uint16Bytes(id))...)
		p.acked(codec.TypePubcomp, id)
		p.expect("x")
		p.send(frame(0xAA, uint16Bytes(4), field(topic))...)
		p.await(codec.TypeUnsuback)
		p.send(frame(0xC9)...)
		p.await(codec.TypePingresp)
	}},
	{"tool/bridge-level", "", beyond, func(t *T) {
		// A bridge of Mosquitto asks for 3.1.1 with the highest bit set, and again
		// without it when it gets return code 1.
		p := t.dial()
		p.send(t.rawConnectAs("MQTT", 0x84, flagClean, field(t.clientID()))...)
		if got := p.next(); got.typ != codec.TypeConnack || len(got.body) != 2 || got.body[1] > 1 {
			t.Errorf("level 0x84 is answered with %v % x", got, got.body)
		}
	}},
	{"tool/mqtt-3.1-session", "", beyond, func(t *T) {
		t.needQoS(2)
		id, topic := t.clientID(), t.topic()
		connect := func() *peer {
			p := t.dial()
			p.version, p.resumed = codec.Version31, true
			p.handshake(t.durable(id))
			p.resumed = true // CONNACK of 3.1 does not tell
			if p.connack.Reason == codec.UnsupportedProtocolVersion {
				t.NotOffered("MQTT 3.1")
			}
			return p
		}
		p := connect()
		p.subscribe(sub(topic, 2))
		p.publish(topic, "again", 1)
		first := p.receive()
		p.drop()
		sender := t.connect()
		sender.publish(topic, "queued 1", 1)
		sender.publish(topic, "queued 2", 2)
		again := connect()
		if m := again.expect("again"); m.id != first.id || !m.dup {
			t.Errorf("%v, was sent as %v", m, first)
		}
		again.expect("queued 1")
		again.expect("queued 2")
		again.quiet()
	}},
	{"tool/empty-client-ids", "3.1.3-6 3.1.3-7", "3.1.3-6", func(t *T) {
		// Many at a time, as command line tools connect: none disturbs another.
		topic := t.topic()
		var all []*peer
		for range 5 {
			p := t.tryConnect(func(c *codec.Connect) { c.ClientID = codec.View("") })
			if p.connack.Reason == codec.ClientIdentifierNotValid {
				t.NotOffered("empty Client Identifiers")
			}
			p.subscribe(sub(topic, 0))
			all = append(all, p)
		}
		t.connect().publish(topic, "to each", 0)
		for _, p := range all {
			p.expect("to each")
			p.isOpen()
		}
	}},
	{"tool/empty-client-id-without-clean-start", "3.1.3-7", "", func(t *T) {
		p := t.tryConnect(func(c *codec.Connect) { c.ClientID, c.CleanStart = codec.View(""), false })
		if p.connack.Reason == codec.ClientIdentifierNotValid {
			t.NotOffered("empty Client Identifiers")
		}
		if p.connack.Reason != 0 || len(p.connack.AssignedClientID) == 0 || p.connack.SessionPresent {
			t.Errorf("CONNACK %v, Assigned Client Identifier %q, Session Present %v", p.connack.Reason, p.connack.AssignedClientID, p.connack.SessionPresent)
		}
	}},
	{"tool/username-without-password", beyond, beyond, func(t *T) {
		p := t.tryConnect(func(c *codec.Connect) { c.HasUserName, c.UserName = true, codec.View("somebody") })
		if p.connack.Reason == codec.BadUserNameOrPassword || p.connack.Reason == codec.NotAuthorized {
			t.NotOffered("access without password")
		}
		if p.connack.Reason != 0 {
			t.Fatalf("CONNECT is refused: %v", p.connack.Reason)
		}
		p.isOpen()
	}},
	{"tool/session-present-after-restart", "3.1.2-5 3.1.2-23 3.2.2-3", "3.1.2-4 3.2.2-2", func(t *T) {
		// Consumers subscribe only if no session is present: each subscription
		// and all its options must be there again.
		t.needQoS(2)
		t.needWildcard()
		restart, crash := t.restartable()
		for _, again := range []func(){restart, crash} {
			id, other, base := t.clientID(), t.clientID(), t.topic()
			p, q := t.connect(t.durable(id)), t.connect(t.durable(other))
			p.subscribe(sub(base+"/1", 1), sub(base+"/plus/+", 2), sub(base+"/hash/#", 0))
			p.subscribe(sub(base+"/gone", 2))
			p.unsubscribe(base + "/gone")
			if t.v5() {
				p.subscribeID(1234, sub(base+"/options", 2, noLocal, retainAsPublished))
			}
			q.subscribe(sub(base+"/#", 2))
			q.disconnect()
			p.drop()
			sender := t.connect()
			for i := range 10 {
				sender.publish(base+"/plus/queued", fmt.Sprint(i), codec.QoS(1+i%2))
			}
			again()
			back := t.connect(t.durable(id))
			if !back.connack.SessionPresent {
				t.Fatalf("Session Present is not set")
			}
			t.inOrderByQoS(back.takeN(10))
			sender = t.connect()
			for _, name := range []string{"/gone", "/1", "/plus/x", "/hash/a/b"} {
				sender.publish(base+name, name, 2)
			}
			for _, want := range []string{"1 /1", "2 /plus/x", "0 /hash/a/b"} {
				m := back.take()
				if got := fmt.Sprintf("%d %s", m.qos, m.payload); got != want {
					t.Errorf("got %q, expected %q", got, want)
				}
			}
			if t.v5() {
				back.publish(base+"/options", "own", 2)
				back.quiet()
				if offered.retain {
					sender.retained(base+"/options", "of another", 2)
					if m := back.expect("of another"); !m.retain || !slices.Equal(m.subIDs, []uint32{1234}) && offered.subIDs {
						t.Errorf("%v with Subscription Identifiers %v", m, m.subIDs)
					}
				}
			}
			back.quiet()
			second := t.connect(t.durable(other))
			if !second.connack.SessionPresent {
				t.Fatalf("Session Present of the other is not set")
			}
			t.inOrderByQoS(second.takeN(10))
			back.disconnect()
			second.disconnect()
		}
	}},
	{"tool/availability-topic", "3.1.2-8 3.1.2-15 3.3.1-5 3.3.1-9", "3.1.2-8 3.1.2-17 3.3.1-5 3.3.1-6", func(t *T) {
		// What devices do: a retained Will "offline", and "online" after each
		// CONNECT. Also where the device comes back before it has gone.
		t.needRetain()
		t.needQoS(1)
		id, topic := t.clientID(), t.topic()
		t.Cleanup(func() { t.unretain(topic) })
		watch := t.connect()
		watch.subscribe(sub(topic, 1))
		device := func() *peer {
			p := t.connect(func(c *codec.Connect) { c.ClientID = codec.View(id) },
				will(topic, "offline", func(w *codec.Will) { w.Retain, w.QoS = true, 1 }))
			p.publish(topic, "online", 1, retain)
			return p
		}
		state := func(want string) {
			late := t.connect()
			late.subscribe(sub(topic, 1))
			if m := late.expect(want); !m.retain {
				t.Errorf("%v", m)
			}
		}
		first := device()
		watch.expect("online")
		state("online")
		second := device() // takes over
		first.end()
		watch.expect("offline")
		watch.expect("online")
		state("online")
		second.drop()
		watch.expect("offline")
		state("offline")
		third := device()
		watch.expect("online")
		third.disconnect()
		watch.quiet()
		state("online")
	}},
}

var subscribeToolTests = []test{
	{"tool/hash-and-sys", "4.7.2-1", "4.7.2-1", func(t *T) {
		// Explorers subscribe to # and $SYS/# at once. What begins with $ must
		// come by the second alone.
		t.needWildcard()
		p := t.connect()
		if t.v5() && offered.subIDs {
			p.subscribeID(1, sub("#", 0))
			p.subscribeID(2, sub("$SYS/#", 0))
		} else {
			p.subscribe(sub("#", 0))
		}
		sender, topic := t.connect(), t.topic()
		sender.publish("$conformance/"+topic, "hidden", 0)
		sender.publish(topic, "mark", 0)
		for {
			m := p.take()
			if m.topic == topic {
				break
			}
			if m.topic[0] == '$' && !slices.Equal(m.subIDs, []uint32{2}) {
				t.Errorf("%v came by the subscription to #", m)
			}
		}
	}},
	{"tool/many-filters", "3.8.4-5 3.8.4-6 3.9.3-1 3.10.4-6 3.11.3-1", "3.8.4-4 3.9.3-1 3.10.4-6", func(t *T) {
		const n = 300
		p, base := t.connect(), t.topic()
		name := func(i int) string { return fmt.Sprintf("%s/%d", base, i) }
		var subs []codec.Subscription
		for i := range n {
			subs = append(subs, sub(name(i), codec.QoS(i*i)%(offered.qos+1)))
		}
		p.subscribe(subs...) // which compares the Reason Codes one by one
		for _, i := range []int{0, 1, n / 2, n - 1} {
			p.publish(name(i), "x", offered.qos)
			if m := p.expect("x"); m.topic != name(i) || m.qos != subs[i].QoS {
				t.Errorf("%v, expected %q with QoS %d", m, name(i), subs[i].QoS)
			}
		}
		var names []string
		var want []byte
		for i := range n {
			if i%3 > 0 {
				names, want = append(names, name(i)), append(want, 0)
			} else {
				names, want = append(names, name(i)+"/never"), append(want, byte(codec.NoSubscriptionExisted))
			}
		}
		if got := p.unsubscribe(names...); t.v5() && !bytes.Equal(got, want) {
			t.Errorf("Reason Codes % x", got)
		}
		p.publish(name(1), "gone", 0)
		p.publish(name(3), "stays", 0)
		p.expect("stays")
		p.quiet()
	}},
	{"tool/many-retained", "3.3.1-9", "3.3.1-6 3.3.1-8", func(t *T) {
		// A hub reads its whole state at the start, beside traffic of others.
		t.needRetain()
		t.needWildcard()
		const n = 400
		base := t.topic()
		t.retainMany(base, n)
		p := t.connect()
		p.subscribe(sub(base+"/#", offered.qos))
		seen := map[string]bool{}
		for range n {
			m := p.take()
			if !m.retain || seen[m.topic] || m.payload != m.topic {
				t.Fatalf("%v, with %d before it", m, len(seen))
			}
			seen[m.topic] = true
		}
		p.quiet()
	}},
	{"tool/subscribe-again-after-reconnect", "3.3.1-9 3.3.1-12 3.8.4-4", "3.3.1-6 3.3.1-8 3.3.1-9", func(t *T) {
		// Home automation subscribes to all it needs after each connect, and
		// expects the retained messages each time: flagged as such, and only them.
		t.needRetain()
		t.needWildcard()
		const n = 20
		base, id := t.topic(), t.clientID()
		t.retainMany(base, n)
		for _, clean := range []bool{true, false, false} {
			p := t.connect(t.durable(id), func(c *codec.Connect) { c.CleanStart = clean })
			for range 2 {
				p.subscribe(sub(base+"/+", 0), sub(base+"/state/+", offered.qos))
				for range n {
					if m := p.take(); !m.retain || m.payload != m.topic {
						t.Errorf("%v", m)
					}
				}
				p.publish(base+"/live", "live", 0, retain)
				if m := p.expect("live"); m.retain {
					t.Errorf("%v to an established subscription", m)
				}
				p.publish(base+"/live", "", 0, retain)
				p.expect("")
			}
			p.quiet()
			p.drop()
		}
	}},
	{"tool/eight-aliases", "3.3.2-12", "", func(t *T) {
		t.aliasesForTools()
		p, q := t.connect(), t.connect()
		base := t.topic()
		q.subscribe(sub(base+"/#", offered.qos))
		for round := range 5 {
			for alias := uint16(1); alias <= 8; alias++ {
				name := fmt.Sprintf("%s/%d", base, alias)
				if round > 0 {
					name = ""
				}
				p.publish(name, fmt.Sprint(round), codec.QoS(round)%(offered.qos+1), useAlias(alias))
				if m := q.expect(fmt.Sprint(round)); m.topic != fmt.Sprintf("%s/%d", base, alias) {
					t.Errorf("%v, sent with alias %d", m, alias)
				}
			}
		}
	}},
	{"tool/lower-qos-granted", "3.8.4-7 3.8.4-8 3.9.3-1", "3.9.3-1", func(t *T) {
		t.own("mqtt: {max-qos: 1}")
		id, topic := t.clientID(), t.topic()
		p := t.connect(t.durable(id))
		if got := p.trySubscribe(0, sub(topic+"/a", 2), sub(topic+"/b", 1), sub(topic+"/c", 0)); !bytes.Equal(got, []byte{1, 1, 0}) {
			t.Fatalf("Reason Codes % x", got)
		}
		sender := t.connect()
		check := func(p *peer) {
			for _, name := range []string{"/a", "/b", "/c"} {
				want := codec.QoS(1)
				if name == "/c" {
					want = 0
				}
				if m := p.take(); m.topic != topic+name || m.qos != want {
					t.Errorf("%v, granted is QoS %d", m, want)
				}
			}
		}
		for _, name := range []string{"/a", "/b", "/c"} {
			sender.publish(topic+name, "live", 1)
		}
		check(p)
		for _, name := range []string{"/a", "/b", "/c"} {
			sender.retained(topic+name, "retained", 1)
		}
		check(p)
		late := t.connect()
		late.trySubscribe(0, sub(topic+"/a", 2))
		if m := late.expect("retained"); m.qos != 1 {
			t.Errorf("%v, granted is QoS 1", m)
		}
	}},
}

// retainMany publishes n retained messages below base, half of them below
// base/state and with the highest QoS, whose Payload is their Topic Name, and
// removes them after the test.
func (t *T) retainMany(base string, n int) {
	t.Helper()
	name := func(i int) string {
		if i%2 == 0 {
			return fmt.Sprintf("%s/%d", base, i)
		}
		return fmt.Sprintf("%s/state/%d", base, i)
	}
	t.Cleanup(func() {
		p := t.connect()
		for i := range n {
			p.publish(name(i), "", 0, retain)
		}
		p.settle()
	})
	p := t.connect()
	for i := range n {
		p.publish(name(i), name(i), codec.QoS(i%2)*offered.qos, retain)
	}
	p.settle()
}

// aliasesForTools checks that a PromptMQ takes the 10 Topic Aliases that tools
// count on, and ends the test if another broker takes fewer than 8.
func (t *T) aliasesForTools() {
	t.Helper()
	if *brokerFlag == "" && offered.aliases < 10 {
		t.Errorf("Topic Alias Maximum is %d, tools count on 10", offered.aliases)
	}
	t.needAliases(8)
}
