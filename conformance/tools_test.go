package conformance

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

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

// takeN takes n messages.
func (p *peer) takeN(n int) (all []*message) {
	p.t.Helper()
	for range n {
		all = append(all, p.take())
	}
	return all
}

// number is a Payload as a number.
func (t *T) number(m *message) int {
	t.Helper()
	n, err := strconv.Atoi(m.payload)
	if err != nil {
		t.Fatalf("%v came, which should not", m)
	}
	return n
}

// inOrderByQoS checks that the Payloads, which are numbers, go up within each
// topic and QoS; between them section 4.6 asks for no order.
func (t *T) inOrderByQoS(all []*message) {
	t.Helper()
	last := map[string]*message{}
	for _, m := range all {
		key := fmt.Sprintf("%s %d", m.topic, m.qos)
		if before := last[key]; before != nil && t.number(before) >= t.number(m) {
			t.Errorf("%v comes after %v", m, before)
		}
		last[key] = m
	}
}

// A feed publishes the numbers from 0 on, on a connection of its own, while the
// test goes on.
type feed struct {
	n      int // numbers in all
	qos    func(i int) codec.QoS
	topics []string // used in turn
	retain bool
	// credits, if not nil, holds the publisher back: a number costs one.
	credits chan struct{}

	done chan struct{}
}

// feed starts a feed. It keeps up to 10 messages unacknowledged.
func (t *T) feed(f feed) *feed {
	t.Helper()
	p := t.connect()
	f.done = make(chan struct{})
	t.Cleanup(func() {
		p.drop()
		if f.credits != nil {
			close(f.credits)
		}
		f.wait()
	})
	go func() {
		defer close(f.done) // also if a Fatalf ends this goroutine
		window := p.window()
		var pending []codec.Publish
		for i := range f.n {
			if f.credits != nil {
				select {
				case <-f.credits:
				default:
					p.complete(pending)
					pending = nil
					if _, ok := <-f.credits; !ok {
						return
					}
				}
			}
			q := f.qos(i)
			id := p.publishOnly(f.topics[i%len(f.topics)], fmt.Sprint(i), q, func(m *codec.Publish) { m.Retain = f.retain })
			if pending = append(pending, codec.Publish{QoS: q, PacketID: id}); len(pending) == window {
				p.complete(pending)
				pending = nil
			}
		}
		p.complete(pending)
		p.settle()
	}()
	return &f
}

func (f *feed) wait() { <-f.done }

// give lets a feed go on by n numbers.
func (f *feed) give(n int) {
	for range n {
		f.credits <- struct{}{}
	}
}

// window is how many messages the peer may leave unacknowledged, 10 at most.
func (p *peer) window() int {
	if limit := int(p.connack.ReceiveMaximum); limit > 0 { // else 65,535
		return min(10, limit)
	}
	return 10
}

// complete completes the exchanges that these messages have begun.
func (p *peer) complete(sent []codec.Publish) {
	p.t.Helper()
	for _, m := range sent {
		switch m.QoS {
		case 1:
			p.acked(codec.TypePuback, m.PacketID)
		case 2:
			p.acked(codec.TypePubrec, m.PacketID)
			p.sendAck(codec.TypePubrel, m.PacketID)
		}
	}
	for _, m := range sent {
		if m.QoS == 2 {
			p.acked(codec.TypePubcomp, m.PacketID)
		}
	}
}

func always(qos codec.QoS) func(int) codec.QoS { return func(int) codec.QoS { return qos } }

var orderTests = []test{
	{"tool/order-live", "4.6.0-5 4.6.0-6", "4.6.0-5 4.6.0-6", func(t *T) {
		// Three publishers, each with all QoS, on two topics, to two subscribers.
		const n = 120
		base := t.topic()
		var subscribers []*peer
		for range 2 {
			p := t.connect()
			for i := range 3 {
				p.subscribe(sub(fmt.Sprintf("%s/%d/a", base, i), offered.qos), sub(fmt.Sprintf("%s/%d/b", base, i), offered.qos))
			}
			subscribers = append(subscribers, p)
		}
		for i := range 3 {
			t.feed(feed{n: n, qos: func(i int) codec.QoS { return codec.QoS(i/2) % (offered.qos + 1) },
				topics: []string{fmt.Sprintf("%s/%d/a", base, i), fmt.Sprintf("%s/%d/b", base, i)}})
		}
		for _, p := range subscribers {
			t.inOrderByQoS(p.takeN(3 * n))
			p.quiet()
		}
	}},
	{"tool/order-over-reconnects", "4.6.0-5 4.6.0-6 4.4.0-1 3.3.1-1", "4.6.0-5 4.6.0-6 4.4.0-1 3.3.1.-1", func(t *T) {
		// While a publisher goes on, the subscriber comes and goes: each connection
		// begins with what the last one left unacknowledged, then comes the
		// backlog, then what is live, without a gap or a step back.
		t.needQoS(1)
		const n = 200
		for qos := codec.QoS(1); qos <= offered.qos; qos++ {
			id, topic := t.clientID(), t.topic()
			p := t.connect(t.durable(id))
			p.subscribe(sub(topic, qos))
			f := t.feed(feed{n: n, qos: always(qos), topics: []string{topic}, credits: make(chan struct{}, 2*n)})
			f.give(60)                 // it stays so far ahead
			left := map[int]*message{} // received on an earlier connection and not acknowledged
			next := 0                  // the first that is not acknowledged
			for round := 1; next < n; round++ {
				for range min(10*round, n-next) { // takes and acknowledges
					m := p.take()
					p.isNext(m, next, left[next])
					delete(left, next)
					next++
					f.give(1)
				}
				held := next
				hold := func(m *message) {
					p.isNext(m, held, left[held])
					left[held] = m
					held++
				}
				for range min(5, n-next) { // takes only
					hold(p.receive())
				}
				p.settle() // the acknowledgements are processed
				for _, early := range p.inbox {
					if early.typ == codec.TypePublish {
						hold(early.message)
					}
				}
				p.drop()
				p = t.connect(t.durable(id))
			}
			f.wait()
			p.quiet()
		}
	}},
	{"tool/order-of-resending", "4.4.0-1 3.3.1-1 4.6.0-5 4.6.0-6", "4.4.0-1 3.3.1.-1 4.6.0-1 4.6.0-6", func(t *T) {
		t.needQoS(2)
		id, topic := t.clientID(), t.topic()
		p, sender := t.connect(t.durable(id)), t.connect()
		p.subscribe(sub(topic, 2))
		for i := range 12 {
			sender.publish(topic, fmt.Sprint(i), codec.QoS(1+i/2%2))
		}
		var held []*message
		for range 12 {
			held = append(held, p.receive())
		}
		var released []uint16
		for _, m := range held {
			if m.qos == 2 && len(released) < 2 {
				p.sendAck(codec.TypePubrec, m.id)
				p.acked(codec.TypePubrel, m.id)
				released = append(released, m.id)
			}
		}
		held = slices.DeleteFunc(held, func(m *message) bool { return slices.Contains(released, m.id) })
		p.drop()
		for i := range 6 {
			sender.publish(topic, fmt.Sprint(12+i), codec.QoS(1+i%2))
		}
		for range 2 { // nothing is acknowledged the first time: again in the same order
			p = t.connect(t.durable(id))
			var again []*message
			for range held {
				again = append(again, p.receive())
			}
			for _, id := range released {
				p.acked(codec.TypePubrel, id)
			}
			sent := map[uint16]*message{}
			for _, m := range held {
				sent[m.id] = m
			}
			for _, m := range again {
				if was := sent[m.id]; was == nil || m.payload != was.payload || m.qos != was.qos || !m.dup {
					t.Errorf("%v, was sent as %v", m, was)
				}
			}
			t.inOrderByQoS(again)
			if !t.v5() { // before MQTT 5 across QoS too [MQTT-4.6.0-1]
				for i, m := range again {
					if m.id != held[i].id {
						t.Errorf("%v is number %d, %v was", m, i, held[i])
					}
				}
			}
			p.drop()
		}
		p = t.connect(t.durable(id))
		for _, id := range released {
			p.acked(codec.TypePubrel, id)
			p.sendAck(codec.TypePubcomp, id)
		}
		all := p.takeN(len(held) + 6)
		t.inOrderByQoS(all)
		for _, m := range all {
			if was := slices.ContainsFunc(held, func(h *message) bool { return h.payload == m.payload }); was && !m.dup {
				t.Errorf("%v, was sent before", m)
			}
		}
		p.quiet()
	}},
	{"tool/order-of-pubrel", "beyond", "4.6.0-4 4.6.0-6", func(t *T) {
		t.needQoS(2)
		p, sender, topic := t.connect(), t.connect(), t.topic()
		p.subscribe(sub(topic, 2))
		for i := range 10 {
			sender.publish(topic, fmt.Sprint(i), 2)
		}
		var ids []uint16
		for range 10 {
			ids = append(ids, p.receive().id)
		}
		slices.Reverse(ids)
		ids[3], ids[7] = ids[7], ids[3]
		for _, id := range ids {
			p.sendAck(codec.TypePubrec, id)
		}
		for _, id := range ids {
			p.acked(codec.TypePubrel, id)
		}
		for _, id := range ids {
			p.sendAck(codec.TypePubcomp, id)
		}
		p.quiet()
	}},
	{"tool/order-of-acknowledgements", "beyond", "4.6.0-2 4.6.0-3 4.6.0-4", func(t *T) {
		t.needQoS(2)
		p, topic := t.connect(), t.topic()
		for range 5 {
			var ids [3][]uint16 // by QoS
			for i := range p.window() {
				qos := codec.QoS(1 + i%3%2) // 1, 2, 1, 1, 2, 1
				ids[qos] = append(ids[qos], p.publishOnly(topic, "x", qos))
			}
			for _, id := range ids[1] {
				p.acked(codec.TypePuback, id)
			}
			for _, id := range ids[2] {
				p.acked(codec.TypePubrec, id)
			}
			for _, id := range ids[2] {
				p.sendAck(codec.TypePubrel, id)
			}
			for _, id := range ids[2] {
				p.acked(codec.TypePubcomp, id)
			}
		}
	}},
	{"tool/order-with-a-refusal", "beyond", "", func(t *T) {
		// One that is refused among them does not overtake the others.
		t.needQoS(2)
		t.own("mqtt: {queue-policy: reject, max-queued-messages: 1}")
		full, free, id := t.topic(), t.topic(), t.clientID()
		away := t.connect(t.durable(id))
		away.subscribe(sub(full, 2))
		away.disconnect() // and not drop: the queue counts once the connection has ended
		p := t.connect()
		p.publish(full, "fills the queue", 1)
		for range 5 {
			type sent struct {
				id      uint16
				refused bool
			}
			var acks [3][]sent // by QoS
			for i := range 12 {
				topic, qos := free, codec.QoS(1+i%2)
				if i/2 == 3 {
					topic = full
				}
				acks[qos] = append(acks[qos], sent{p.publishOnly(topic, "x", qos), topic == full})
			}
			for qos, typ := range map[int]codec.PacketType{1: codec.TypePuback, 2: codec.TypePubrec} {
				for _, s := range acks[qos] {
					a := p.await(typ).ack
					if a.PacketID != s.id || (a.Reason >= 0x80) != s.refused {
						t.Errorf("%v %d (%v), expected %d, refused: %v", typ, a.PacketID, a.Reason, s.id, s.refused)
					}
					if qos == 2 && !s.refused {
						p.sendAck(codec.TypePubrel, s.id)
						p.acked(codec.TypePubcomp, s.id)
					}
				}
			}
		}
	}},
	{"tool/order-of-retained-and-live", "4.6.0-5 4.6.0-6", "4.6.0-5 4.6.0-6", func(t *T) {
		// A publisher counts in a retained message; whoever joins sees a number
		// and then higher ones.
		t.needRetain()
		const joins, step = 25, 5
		for qos := range offered.qos + 1 {
			topic := t.topic()
			t.Cleanup(func() { t.unretain(topic) })
			t.connect().retained(topic, "-1", qos)
			const n = joins * 2 * step
			f := t.feed(feed{n: n, qos: always(qos), topics: []string{topic}, retain: true, credits: make(chan struct{}, n)})
			for join := range joins {
				f.give(step) // around the SUBSCRIBE
				p := t.connect()
				p.subscribe(sub(topic, qos))
				m := p.take()
				last := t.number(m)
				f.give(step) // after it
				for last < (join+1)*2*step-1 {
					if m = p.take(); t.number(m) < last {
						t.Fatalf("%v comes after %d", m, last)
					}
					last = t.number(m)
				}
				p.drop()
			}
			f.wait()
		}
	}},
	{"tool/order-of-backlog", "4.6.0-5 4.6.0-6", "4.6.0-5 4.6.0-6", func(t *T) { t.backlog() }},
	{"tool/order-of-backlog-through-a-small-window", "4.6.0-5 4.6.0-6 3.3.4-9 4.9.0-2", "", func(t *T) {
		t.backlog(func(c *codec.Connect) { c.ReceiveMaximum = 7 }) // inspect fails if it is exceeded
	}},
}

// isNext checks that a message has this number, and if it came before, that it
// is the same one again.
func (p *peer) isNext(m *message, want int, before *message) {
	p.t.Helper()
	if got := p.t.number(m); got != want {
		p.t.Fatalf("%v, expected %d next", m, want)
	}
	if before != nil && (m.id != before.id || !m.dup) {
		p.t.Errorf("%v, was sent as %v", m, before)
	}
}

// backlog takes a queue with all that could sort it otherwise, QoS and topics,
// while it goes on growing.
func (t *T) backlog(changes ...func(*codec.Connect)) {
	t.Helper()
	t.needQoS(2)
	t.needWildcard()
	const n = 200
	id, base := t.clientID(), t.topic()
	p := t.connect(t.durable(id))
	p.subscribe(sub(base+"/#", 2))
	p.disconnect()
	qos := func(i int) codec.QoS { return codec.QoS(1 + i/3%2) }
	t.feed(feed{n: n, qos: qos, topics: []string{base + "/old/a", base + "/old/b/c", base + "/old"}}).wait()
	f := t.feed(feed{n: n, qos: qos, topics: []string{base + "/live", base + "/live/a"}})
	again := t.connect(append(changes, t.durable(id))...)
	all := again.takeN(2 * n)
	t.inOrderByQoS(all)
	seen := map[string]map[string]bool{"old": {}, "live": {}}
	for _, m := range all {
		part, _, _ := strings.Cut(strings.TrimPrefix(m.topic, base+"/"), "/")
		if seen[part][m.payload] || m.dup {
			t.Errorf("%v, a second time or flagged so", m)
		}
		seen[part][m.payload] = true
	}
	f.wait()
	again.quiet()
}
