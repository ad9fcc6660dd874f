package broker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// TestBehaviour shows what sessions do, packet by packet, on a broker each.
func TestBehaviour(t *testing.T) {
	for name, test := range map[string]func(t *testing.T, s *fixture, id string){
		"takeover":            testTakeover,
		"resend":              testResend,
		"client's window":     testReceiveMaximum,
		"session expiry":      testSessionExpiry,
		"will delay":          testWillDelay,
		"message expiry":      testMessageExpiry,
		"outbound aliases":    testOutboundAliases,
		"maximum packet size": testMaximumPacketSize,
		"subscription ids":    testSubscriptionIDs,
		"retain options":      testRetainOptions,
		"shared":              testShared,
		"dollar topics":       testDollarTopics,
		"unsubscribe":         testUnsubscribe,
		"identifiers":         testClientIdentifiers,
		"many retained":       testManyRetained,
	} {
		t.Run(name, func(t *testing.T) {
			timeless(t, func(t *testing.T) { test(t, newFixtureWith(t), strings.ReplaceAll(name, " ", "-")) })
		})
	}
}

func testTakeover(t *testing.T, s *fixture, id string) {
	first := s.connectV5(id, lasting)
	second, ack := s.connectAs(codec.Version5, id, resumed)
	if !ack.SessionPresent {
		t.Error("the session was not taken over")
	}
	first.closed(codec.SessionTakenOver)
	second.quiet()
}

// testResend: after a new connection, in order, with DUP and the same
// identifiers; PUBREL instead of PUBLISH after PUBREC.
func testResend(t *testing.T, s *fixture, id string) {
	sub := s.connectV5(id, lasting)
	sub.subscribeOne(id, 2)
	pub := s.connectV5(id+"-pub", nil)
	for i, qos := range []codec.QoS{1, 2, 1} {
		pub.sendPublish(codec.Publish{QoS: qos, PacketID: uint16(i + 1), Topic: codec.View(id), Payload: codec.View(fmt.Sprint(i))})
		if qos == 1 {
			pub.acked(codec.TypePuback)
		} else {
			pub.acked(codec.TypePubrec)
			pub.ack(codec.TypePubrel, uint16(i+1))
			pub.acked(codec.TypePubcomp)
		}
	}
	ids := make(map[string]uint16)
	for range 3 {
		m := sub.receive()
		ids[string(m.Payload)] = m.PacketID
		if m.Dup {
			t.Error("DUP at the first time")
		}
		if m.QoS == 2 {
			sub.ack(codec.TypePubrec, m.PacketID)
		}
	}
	released := sub.acked(codec.TypePubrel).PacketID
	_ = sub.Close()
	sub = s.connectV5(id, resumed)
	if again := sub.acked(codec.TypePubrel).PacketID; again != released {
		t.Errorf("PUBREL %d, then %d", released, again)
	}
	for range 2 {
		m := sub.receive()
		if !m.Dup || m.QoS != 1 || ids[string(m.Payload)] != m.PacketID {
			t.Errorf("resent %q, QoS %d, DUP %v, identifier %d", m.Payload, m.QoS, m.Dup, m.PacketID)
		}
		sub.ack(codec.TypePuback, m.PacketID)
	}
	sub.ack(codec.TypePubcomp, released)
	sub.quiet()
}

func testReceiveMaximum(t *testing.T, s *fixture, id string) {
	sub := s.connectV5(id, func(c *codec.Connect) { c.ReceiveMaximum = 1 })
	sub.subscribeOne(id, 2)
	pub := s.connectV5(id+"-pub", nil)
	for i := range uint16(2) {
		pub.publish1(1+i, id, "m")
	}
	pub.sendPublish(codec.Publish{Topic: codec.View(id), Payload: codec.View("QoS 0 is not counted")})
	first := sub.receive()
	if sub.receive().QoS != 0 {
		t.Error("two in flight")
	}
	sub.quiet()
	sub.ack(codec.TypePuback, first.PacketID)
	sub.receive()
}

// testSessionExpiry: DISCONNECT may shorten it, and not prolong one of 0.
func testSessionExpiry(t *testing.T, s *fixture, id string) {
	p := s.connectV5(id, lasting)
	p.write(codec.AppendDisconnect(nil, &codec.Disconnect{HasSessionExpiry: true}, codec.Version5))
	p.closed(codec.Success)
	p, ack := s.connectAs(codec.Version5, id, func(c *codec.Connect) { c.CleanStart = false })
	if ack.SessionPresent {
		t.Error("the session outlived its DISCONNECT")
	}
	p.write(codec.AppendDisconnect(nil, &codec.Disconnect{HasSessionExpiry: true, SessionExpirySeconds: 5}, codec.Version5))
	p.closed(codec.ProtocolError)

	own := newFixtureWith(t) // where no other sessions are counted
	p = own.connectV5(id, func(c *codec.Connect) { c.HasSessionExpiry, c.SessionExpirySeconds = true, 100 })
	p.subscribeOne(id, 1)
	p.drop()
	time.Sleep(99 * time.Second)
	if n := own.metric("promptmq_sessions"); n != 1 {
		t.Errorf("%v sessions before the time is over", n)
	}
	time.Sleep(2 * time.Second)
	if n, subs := own.metric("promptmq_sessions"), own.metric("promptmq_subscriptions"); n != 0 || subs != 0 {
		t.Errorf("%v sessions and %v subscriptions after it", n, subs)
	}
}

func testWillDelay(t *testing.T, s *fixture, id string) {
	const delay = 100 * time.Second
	watcher := s.connectV5(id+"-watcher", nil)
	watcher.subscribeOne(id, 1)
	delayed := func(payload string) func(*codec.Connect) {
		return func(c *codec.Connect) {
			resumed(c)
			c.HasWill = true
			c.Will = codec.Will{Topic: codec.View(id), Payload: codec.View(payload), DelaySeconds: uint32(delay / time.Second), QoS: 1}
		}
	}
	will := delayed("gone")
	s.connectV5(id, delayed("void")).drop()
	time.Sleep(delay - time.Second)
	p := s.connectV5(id, will) // in time: the Will of the first connection is void
	left := time.Now()
	p.drop()
	time.Sleep(delay - time.Second)
	watcher.quiet()
	if m := watcher.receive(); string(m.Payload) != "gone" {
		t.Errorf("%q", m.Payload)
	}
	if d := time.Since(left); d < delay || d > delay+time.Second {
		t.Errorf("published after %v", d)
	}
	watcher.quiet()

	s.connectV5(id, will).leave(nil)
	p = s.connectV5(id, will)
	p.write(codec.AppendDisconnect(nil, &codec.Disconnect{Reason: codec.DisconnectWithWill}, codec.Version5))
	watcher.ack(codec.TypePuback, 1)
	left = time.Now()
	time.Sleep(delay - time.Second)
	watcher.receive() // the second only: the first was a normal disconnection
	if d := time.Since(left); d < delay || d > delay+time.Second {
		t.Errorf("published after %v", d)
	}
	watcher.quiet()
}

func testMessageExpiry(t *testing.T, s *fixture, id string) {
	sub := s.connectV5(id, lasting)
	sub.subscribeOne(id, 1)
	sub.drop()
	pub := s.connectV5(id+"-pub", nil)
	for i, seconds := range []uint32{1, 1000} {
		pub.sendPublish(codec.Publish{QoS: 1, PacketID: uint16(i + 1), Topic: codec.View(id), Payload: codec.View(fmt.Sprint(seconds)),
			HasMessageExpiry: true, MessageExpirySeconds: seconds})
		pub.acked(codec.TypePuback)
	}
	time.Sleep(1100 * time.Millisecond)
	sub = s.connectV5(id, resumed)
	if m := sub.receive(); string(m.Payload) != "1000" || m.MessageExpirySeconds > 999 || m.MessageExpirySeconds < 998 {
		t.Errorf("%q with %d seconds left", m.Payload, m.MessageExpirySeconds)
	}
	sub.quiet()
}

func testOutboundAliases(t *testing.T, s *fixture, id string) {
	sub := s.connectV5(id, func(c *codec.Connect) { c.TopicAliasMaximum = 1 })
	sub.subscribeOne(id+"/#", 0)
	for i, want := range []struct {
		topic string
		alias uint16
		named bool
	}{{"/a", 1, true}, {"/a", 1, false}, {"/b", 0, true}, {"/a", 1, false}} {
		sub.sendPublish(codec.Publish{Topic: codec.View(id + want.topic)})
		if m := sub.receive(); m.TopicAlias != want.alias || (len(m.Topic) > 0) != want.named {
			t.Errorf("message %d: topic %q, alias %d", i, m.Topic, m.TopicAlias)
		}
	}
}

func testMaximumPacketSize(t *testing.T, s *fixture, id string) {
	sub := s.connectV5(id, func(c *codec.Connect) { c.MaximumPacketSize = 100 })
	sub.subscribeOne(id, 1)
	pub := s.connectV5(id+"-pub", nil)
	pub.sendPublish(codec.Publish{Topic: codec.View(id), Payload: make([]byte, 200)})
	if r := pub.publish1(1, id, strings.Repeat("x", 200)); r != codec.Success {
		t.Errorf("PUBACK %v", r)
	}
	pub.publish1(2, id, "fits")
	if m := sub.receive(); string(m.Payload) != "fits" {
		t.Errorf("%d bytes", len(m.Payload))
	}
	if s.metric(`promptmq_messages_dropped_total{reason="too_large"}`) < 2 {
		t.Error("not counted")
	}
}

func testSubscriptionIDs(t *testing.T, s *fixture, id string) {
	p := s.connectV5(id, nil)
	for i, filter := range []string{id + "/#", id + "/+", id + "/x"} {
		p.write(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1, SubscriptionID: uint32(i + 1)},
			[]codec.Subscription{{Filter: codec.View(filter), QoS: codec.QoS(i % 2)}}, codec.Version5))
		p.expect(codec.TypeSuback)
	}
	p.sendPublish(codec.Publish{QoS: 1, PacketID: 1, Topic: codec.View(id + "/x")})
	var m codec.Publish
	for range 2 {
		f, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		if f.Type() == codec.TypePublish {
			if err := m.Decode(f, codec.Version5); err != nil {
				t.Fatal(err)
			}
		}
	}
	sum := uint32(0)
	for _, n := range m.SubscriptionIDs {
		sum += n
	}
	if len(m.SubscriptionIDs) != 3 || sum != 6 || m.QoS != 1 {
		t.Errorf("one copy with %v at QoS %d", m.SubscriptionIDs, m.QoS)
	}
	p.quiet()
}

// testRetainOptions: Retain Handling, Retain As Published and No Local.
func testRetainOptions(t *testing.T, s *fixture, id string) {
	p := s.connectV5(id, nil)
	topic := codec.View(id)
	p.sendPublish(codec.Publish{Topic: topic, Retain: true, Payload: codec.View("kept")})
	subscribe := func(o codec.Subscription, retained bool) {
		t.Helper()
		o.Filter = topic
		p.subscribed(o)
		if retained {
			if m := p.receive(); !m.Retain || string(m.Payload) != "kept" {
				t.Errorf("%q, RETAIN %v", m.Payload, m.Retain)
			}
		}
		p.quiet()
	}
	subscribe(codec.Subscription{RetainHandling: 2}, false)
	subscribe(codec.Subscription{RetainHandling: 1}, false) // not a new one
	subscribe(codec.Subscription{}, true)
	publish := func() {
		p.sendPublish(codec.Publish{Topic: topic, Retain: true, Payload: codec.View("kept")})
	}
	publish()
	if p.receive().Retain {
		t.Error("RETAIN without Retain As Published")
	}
	subscribe(codec.Subscription{RetainAsPublished: true}, true)
	publish()
	if !p.receive().Retain {
		t.Error("no RETAIN with Retain As Published")
	}
	subscribe(codec.Subscription{NoLocal: true}, true)
	publish()
	p.quiet()
	other := s.connectV5(id+"-other", nil)
	other.subscribed(codec.Subscription{Filter: topic, RetainHandling: 1})
	other.receive()
}

// testShared: each message to one member; what a member leaves unacknowledged
// goes to another.
func testShared(t *testing.T, s *fixture, id string) {
	one, two := s.connectV5(id+"-1", nil), s.connectV5(id+"-2", nil)
	one.subscribeOne("$share/g/"+id, 1)
	two.subscribeOne("$share/g/"+id, 1)
	pub := s.connectV5(id+"-pub", nil)
	for i := range uint16(10) {
		pub.publish1(i+1, id, fmt.Sprint(i))
	}
	seen := make(map[string]bool)
	for range 5 { // balanced
		one.receive() // and never acknowledged
		m := two.receive()
		seen[string(m.Payload)] = true
		two.ack(codec.TypePuback, m.PacketID)
	}
	two.quiet()
	_ = one.Close()
	for range 5 {
		m := two.receive()
		seen[string(m.Payload)] = true
		two.ack(codec.TypePuback, m.PacketID)
	}
	two.quiet()
	if len(seen) != 10 {
		t.Errorf("%d of 10 messages came", len(seen))
	}
}

func testDollarTopics(t *testing.T, s *fixture, id string) {
	p := s.connectV5(id, nil)
	p.subscribeOne("+/"+id, 0)
	if r := p.publish1(1, "$SYS/"+id, "mine"); r != codec.NotAuthorized {
		t.Errorf("a client publishes to $SYS: %v", r)
	}
	p.sendPublish(codec.Publish{Topic: codec.View("$own/" + id)})
	p.quiet()
	p.subscribeOne("$own/"+id, 0)
	p.sendPublish(codec.Publish{Topic: codec.View("$own/" + id)})
	p.receive()
}

func testUnsubscribe(t *testing.T, s *fixture, id string) {
	p := s.connectV5(id, nil)
	p.subscribeOne(id, 0)
	p.write(codec.AppendUnsubscribe(nil, &codec.Unsubscribe{PacketID: 9},
		[]codec.View{codec.View("none"), codec.View(id)}, codec.Version5))
	var ack codec.Unsuback
	p.expect(codec.TypeUnsuback, func(f codec.Frame) error { return ack.Decode(f, codec.Version5) })
	if string(ack.Reasons) != "\x11\x00" || ack.PacketID != 9 {
		t.Errorf("Reason Codes %x", []byte(ack.Reasons))
	}
	p.sendPublish(codec.Publish{Topic: codec.View(id)})
	p.quiet()
}

func testClientIdentifiers(t *testing.T, s *fixture, id string) {
	if _, ack := s.connectAs(codec.Version5, "", nil); len(ack.AssignedClientID) == 0 {
		t.Error("no Assigned Client Identifier")
	}
	for v, clean := range map[codec.Version]bool{codec.Version311: false, codec.Version31: true} {
		_, ack := s.connectAs(v, "", func(c *codec.Connect) { c.CleanStart = clean })
		if ack.Reason != codec.ClientIdentifierNotValid {
			t.Errorf("an empty identifier with %v: %v", v, ack.Reason)
		}
	}
	if _, ack := s.connectAs(codec.Version311, "", nil); ack.Reason != codec.Success {
		t.Errorf("an empty identifier with a clean session: %v", ack.Reason)
	}
	if _, ack := s.connectAs(codec.Version5, id, func(c *codec.Connect) {
		c.HasAuthenticationMethod, c.AuthenticationMethod = true, codec.View("SCRAM")
	}); ack.Reason != codec.BadAuthenticationMethod {
		t.Errorf("an Authentication Method: %v", ack.Reason)
	}
}

// testManyRetained: more than any buffer or window holds arrives whole.
func testManyRetained(t *testing.T, s *fixture, id string) {
	p := s.connectV5(id, nil)
	const many = 3000
	for i := range many {
		p.sendPublish(codec.Publish{Topic: codec.View(fmt.Sprintf("%s/%d", id, i)), Retain: true, Payload: make([]byte, 1000)})
	}
	p.quiet()
	for _, qos := range []codec.QoS{0, 1} {
		sub := s.connectV5(fmt.Sprintf("%s-%d", id, qos), nil)
		sub.subscribeOne(id+"/#", qos)
		seen := make(map[string]bool)
		for range many {
			seen[string(sub.receive().Topic)] = true
		}
		if len(seen) != many {
			t.Errorf("QoS %d: %d of %d topics", qos, len(seen), many)
		}
	}
	for i := range many {
		p.sendPublish(codec.Publish{Topic: codec.View(fmt.Sprintf("%s/%d", id, i)), Retain: true})
	}
	p.quiet()
}
