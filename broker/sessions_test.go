package broker_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/codec"
)

// TestSessions shows rules of sessions that TestBehaviour leaves out.
func TestSessions(t *testing.T) {
	for name, test := range map[string]func(t *testing.T, s *fixture, id string){
		"QoS 2 once":            testQoS2Once,
		"receive window":        testReceiveWindow,
		"takeover of 3.x":       testTakeover3,
		"takeover storm":        testTakeoverStorm,
		"clean start":           testCleanStart,
		"prolong at DISCONNECT": testProlong,
		"inbound aliases":       testInboundAliases,
		"no local overlap":      testNoLocalOverlap,
		"subscription id":       testSubscriptionIDReplaced,
		"many filters":          testManyFilters,
		"flags are not passed":  testFlagsNotPassed,
		"retained":              testRetainedRules,
		"retained expiry":       testRetainedExpiry,
		"keep alive of 3.x":     testKeepAlive3,
		"assigned id":           testAssignedID,
		"return codes of 3.x":   testReturnCodes3,
		"session present":       testSessionPresent3,
		"shared and own":        testSharedAndOwn,
		"shared QoS 2":          testSharedQoS2,
		"shared unsubscribe":    testSharedUnsubscribe,
		"dollar wildcards":      testDollarWildcards,
		"window order":          testWindowOrder,
		"will of takeover":      testWillTakeover,
		"PUBREC refused":        testPubrecRefused,
	} {
		t.Run(name, func(t *testing.T) {
			timeless(t, func(t *testing.T) { test(t, newFixtureWith(t), "s/"+name) })
		})
	}
}

// testQoS2Once: a PUBLISH sent again before PUBREL, on the same connection, on
// the next one, with and without DUP, is routed once; after PUBREL it is new.
func testQoS2Once(t *testing.T, s *fixture, id string) {
	sub := s.connectV5(id+"-sub", nil)
	sub.subscribeOne(id, 0)
	p := s.connectV5(id, lasting)
	p.publish2(7, id, "one", false)
	p.publish2(7, id, "one", true)
	_ = p.Close()
	p = s.connectV5(id, resumed)
	p.publish2(7, id, "one", true)
	p.publish2(7, id, "one", false)
	if r := p.release(7); r != codec.Success {
		t.Errorf("PUBCOMP %v", r)
	}
	if r := p.release(7); r != codec.PacketIdentifierNotFound {
		t.Errorf("a second PUBCOMP %v", r)
	}
	p.publish2(7, id, "two", false)
	p.release(7)
	for _, want := range []string{"one", "two"} {
		if m := sub.receive(); string(m.Payload) != want {
			t.Errorf("%q, expected %q", m.Payload, want)
		}
	}
	sub.quiet()
}

// testReceiveWindow: releasing what an earlier connection sent does not widen
// the window of this one. Section 4.9.
func testReceiveWindow(t *testing.T, _ *fixture, id string) {
	const maximum = 10
	s := newFixtureWith(t, func(o *broker.Options) { o.ReceiveMaximum = maximum })
	p := s.connectV5(id, lasting)
	for i := range uint16(maximum) {
		p.publish2(1+i, id, "m", false)
	}
	_ = p.Close()
	p = s.connectV5(id, resumed)
	for i := range uint16(maximum) {
		p.release(1 + i)
	}
	for i := range uint16(maximum) {
		p.publish2(1+i, id, "m", false)
	}
	p.sendPublish(codec.Publish{QoS: 2, PacketID: maximum + 1, Topic: codec.View(id)})
	p.closed(codec.ReceiveMaximumExceeded)
}

// testTakeoverStorm: many connections with one identifier at once. No
// DISCONNECT comes before CONNACK [MQTT-3.14.0-1] and one connection is left.
func testTakeoverStorm(t *testing.T, _ *fixture, id string) {
	s := newFixtureWith(t) // where nobody else takes over
	connect, err := codec.AppendConnect(nil, &codec.Connect{ClientID: codec.View(id), HasSessionExpiry: true, SessionExpirySeconds: 60,
		RequestProblemInformation: true}, codec.Version5)
	if err != nil {
		t.Fatal(err)
	}
	var peers []*peer
	for range 60 {
		p := s.dialAs(codec.Version5)
		p.write(connect, nil)
		peers = append(peers, p)
	}
	eventually(t, "all but one are taken over", func() bool { return s.metric("promptmq_session_takeovers_total") == 59 })
	last := s.connectV5(id, resumed)
	for i, p := range peers {
		greeted := false
		for {
			f, err := p.next()
			if errors.Is(err, os.ErrDeadlineExceeded) {
				last.quiet()
				t.Fatalf("connection %d stays open", i)
			}
			if err != nil {
				break
			}
			if f.Type() == codec.TypeDisconnect && !greeted {
				t.Errorf("connection %d: DISCONNECT before CONNACK", i)
			}
			greeted = greeted || f.Type() == codec.TypeConnack
		}
	}
	last.quiet()
}

func testCleanStart(t *testing.T, s *fixture, id string) {
	p := s.connectV5(id, lasting)
	p.subscribeOne(id, 1)
	p.drop()
	pub := s.connectV5(id+"-pub", nil)
	pub.publish1(1, id, "queued")
	p, ack := s.connectAs(codec.Version5, id, lasting) // with Clean Start
	if ack.SessionPresent {
		t.Error("Clean Start, and the session is present")
	}
	p.quiet()
	pub.publish1(1, id, "no longer subscribed")
	p.quiet()
	_ = p.Close()
	p, ack = s.connectAs(codec.Version5, id, resumed)
	if !ack.SessionPresent {
		t.Error("the new session did not last")
	}
	p.quiet()
}

// testProlong: DISCONNECT may set another Session Expiry Interval, longer too.
func testProlong(t *testing.T, s *fixture, id string) {
	p := s.connectV5(id, func(c *codec.Connect) { c.HasSessionExpiry, c.SessionExpirySeconds = true, 1 })
	p.write(codec.AppendDisconnect(nil, &codec.Disconnect{HasSessionExpiry: true, SessionExpirySeconds: 600}, codec.Version5))
	p.closed(codec.Success)
	time.Sleep(599 * time.Second) // the first interval is over, and the second nearly
	if _, ack := s.connectAs(codec.Version5, id, resumed); !ack.SessionPresent {
		t.Error("the session ended after the interval of CONNECT")
	}
}

func testInboundAliases(t *testing.T, s *fixture, id string) {
	sub := s.connectV5(id+"-sub", nil)
	sub.subscribeOne(id+"/#", 2)
	p := s.connectV5(id, lasting)
	for i, m := range []struct {
		topic string
		alias uint16
		want  string
	}{{"/a", 1, "/a"}, {"", 1, "/a"}, {"/b", 1, "/b"}, {"", 1, "/b"}, {"/c", 16, "/c"}, {"", 16, "/c"}, {"", 1, "/b"}, {"/a", 0, "/a"}} {
		pub := codec.Publish{QoS: codec.QoS(i % 3), TopicAlias: m.alias}
		if m.topic != "" {
			pub.Topic = codec.View(id + m.topic)
		}
		if pub.QoS > 0 {
			pub.PacketID = 9
		}
		p.sendPublish(pub)
		switch pub.QoS {
		case 1:
			p.acked(codec.TypePuback)
		case 2:
			p.acked(codec.TypePubrec)
			p.release(9)
		}
		got := sub.receive()
		if string(got.Topic) != id+m.want || got.TopicAlias != 0 {
			t.Errorf("message %d: %q, alias %d", i, got.Topic, got.TopicAlias)
		}
		switch got.QoS {
		case 1:
			sub.ack(codec.TypePuback, got.PacketID)
		case 2:
			sub.ack(codec.TypePubrec, got.PacketID)
			sub.acked(codec.TypePubrel)
			sub.ack(codec.TypePubcomp, got.PacketID)
		}
	}
	_ = p.Close()
	p = s.connectV5(id, resumed) // aliases end with the connection [MQTT-3.3.2-7]
	p.sendPublish(codec.Publish{TopicAlias: 1})
	p.closed(codec.ProtocolError)
}

// testNoLocalOverlap: No Local keeps back by its own subscription only.
func testNoLocalOverlap(t *testing.T, s *fixture, id string) {
	p := s.connectV5(id, nil)
	p.subscribed(codec.Subscription{Filter: codec.View(id + "/#"), NoLocal: true}, codec.Subscription{Filter: codec.View(id + "/b")})
	p.sendPublish(codec.Publish{Topic: codec.View(id + "/a")})
	p.quiet()
	p.sendPublish(codec.Publish{Topic: codec.View(id + "/b")})
	p.receive()
	p.quiet()
}

// testSubscriptionIDReplaced: a subscription made again has its new identifier,
// or none.
func testSubscriptionIDReplaced(t *testing.T, s *fixture, id string) {
	p := s.connectV5(id, lasting)
	for _, n := range []uint32{1, 268435455, 0, 5} {
		p.write(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1, SubscriptionID: n},
			[]codec.Subscription{{Filter: codec.View(id)}}, codec.Version5))
		p.expect(codec.TypeSuback)
		p.sendPublish(codec.Publish{Topic: codec.View(id)})
		m := p.receive()
		if want := fmt.Sprint([]uint32{n}); n != 0 && fmt.Sprint(m.SubscriptionIDs) != want || n == 0 && len(m.SubscriptionIDs) != 0 {
			t.Errorf("%v after identifier %d", m.SubscriptionIDs, n)
		}
	}
	_ = p.Close()
	p = s.connectV5(id, resumed)
	p.sendPublish(codec.Publish{Topic: codec.View(id)})
	if m := p.receive(); fmt.Sprint(m.SubscriptionIDs) != "[5]" {
		t.Errorf("%v after a reconnection", m.SubscriptionIDs)
	}
}

func testManyFilters(t *testing.T, s *fixture, id string) {
	p := s.connectV5(id, lasting)
	const many = 2000
	subs, filters := make([]codec.Subscription, many), make([]codec.View, many)
	for i := range subs {
		filters[i] = codec.View(fmt.Sprintf("%s/%d/+", id, i))
		subs[i] = codec.Subscription{Filter: filters[i], QoS: codec.QoS(i % 3)}
	}
	reasons := p.subscribed(subs...)
	if len(reasons) != many {
		t.Fatalf("%d Reason Codes", len(reasons))
	}
	for i, r := range reasons {
		if r != codec.ReasonCode(i%3) {
			t.Fatalf("filter %d: %v", i, r)
		}
	}
	p.sendPublish(codec.Publish{Topic: codec.View(fmt.Sprintf("%s/%d/x", id, many-1))})
	p.receive()
	p.write(codec.AppendUnsubscribe(nil, &codec.Unsubscribe{PacketID: 3}, filters, codec.Version5))
	var ack codec.Unsuback
	p.expect(codec.TypeUnsuback, func(f codec.Frame) error { return ack.Decode(f, codec.Version5) })
	if !bytes.Equal(ack.Reasons, make([]byte, many)) {
		t.Errorf("%d Reason Codes of UNSUBACK, not all Success", len(ack.Reasons))
	}
	p.sendPublish(codec.Publish{Topic: codec.View(id + "/1/x")})
	p.quiet()
}

// testFlagsNotPassed: DUP of the publisher is not that of the subscriber, nor
// is its Packet Identifier. [MQTT-3.3.1-3]
func testFlagsNotPassed(t *testing.T, s *fixture, id string) {
	sub := s.connectV5(id+"-sub", nil)
	sub.subscribeOne(id, 1)
	p := s.connectV5(id, nil)
	p.sendPublish(codec.Publish{QoS: 1, Dup: true, Retain: true, PacketID: 60000, Topic: codec.View(id), Payload: codec.View("x")})
	p.acked(codec.TypePuback)
	if m := sub.receive(); m.Dup || m.Retain || m.PacketID == 60000 {
		t.Errorf("DUP %v, RETAIN %v, identifier %d", m.Dup, m.Retain, m.PacketID)
	}
}

// testRetainedRules: the last one counts, an empty one removes and is passed on,
// one without RETAIN changes nothing.
func testRetainedRules(t *testing.T, s *fixture, id string) {
	p := s.connectV5(id, nil)
	topic := codec.View(id)
	retained := func() string {
		t.Helper()
		q := s.connectV5(id+"-reader", nil)
		defer q.Close()
		q.subscribeOne(id, 2)
		q.write(codec.AppendPingreq(nil), nil)
		f, err := q.next()
		if err != nil {
			t.Fatal(err)
		}
		if f.Type() == codec.TypePingresp {
			return ""
		}
		var m codec.Publish
		if err := m.Decode(f, codec.Version5); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s/%d", m.Payload, m.QoS)
	}
	keep := func(payload string, qos codec.QoS) {
		pub := codec.Publish{QoS: qos, Retain: true, Topic: topic, Payload: codec.View(payload)}
		if qos > 0 {
			pub.PacketID = 1
		}
		p.sendPublish(pub)
		switch qos {
		case 0:
			p.quiet()
		case 1:
			p.acked(codec.TypePuback)
		case 2:
			p.acked(codec.TypePubrec)
			p.release(1)
		}
	}
	for i, qos := range []codec.QoS{0, 1, 2, 1, 0} {
		keep(fmt.Sprint(i), qos)
		if got, want := retained(), fmt.Sprintf("%d/%d", i, qos); got != want {
			t.Errorf("retained %q, expected %q", got, want)
		}
	}
	p.sendPublish(codec.Publish{Topic: topic, Payload: codec.View("passing")})
	p.quiet()
	if got := retained(); got != "4/0" {
		t.Errorf("retained %q after a message without RETAIN", got)
	}
	watcher := s.connectV5(id+"-watcher", nil)
	watcher.subscribed(codec.Subscription{Filter: topic, RetainHandling: 2, RetainAsPublished: true})
	keep("", 1)
	if m := watcher.receive(); len(m.Payload) != 0 || !m.Retain {
		t.Errorf("%q, RETAIN %v", m.Payload, m.Retain)
	}
	if got := retained(); got != "" {
		t.Errorf("%q after its removal", got)
	}
}

// testRetainedExpiry: it is counted down for who comes later, and then gone.
func testRetainedExpiry(t *testing.T, s *fixture, id string) {
	p := s.connectV5(id, nil)
	for topic, seconds := range map[string]uint32{"/short": 1, "/long": 1000} {
		p.sendPublish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View(id + topic), Payload: codec.View("x"),
			HasMessageExpiry: true, MessageExpirySeconds: seconds})
		p.acked(codec.TypePuback)
	}
	time.Sleep(1100 * time.Millisecond)
	p.subscribeOne(id+"/#", 0)
	m := p.receive()
	if string(m.Topic) != id+"/long" || !m.HasMessageExpiry || m.MessageExpirySeconds > 999 || m.MessageExpirySeconds < 998 {
		t.Errorf("%s with %d seconds", m.Topic, m.MessageExpirySeconds)
	}
	p.quiet()
}

// testAssignedID: an assigned identifier is the name of a session like others.
func testAssignedID(t *testing.T, s *fixture, _ string) {
	p, ack := s.connectAs(codec.Version5, "", lasting)
	id := ack.AssignedClientID.String()
	_, other := s.connectAs(codec.Version5, "", lasting)
	if id == "" || other.AssignedClientID.String() == id {
		t.Errorf("assigned %q and %q", id, other.AssignedClientID)
	}
	_ = p.Close()
	_, ack = s.connectAs(codec.Version5, id, resumed)
	if !ack.SessionPresent || ack.HasAssignedClientID {
		t.Errorf("session present %v, assigned again %v", ack.SessionPresent, ack.HasAssignedClientID)
	}
}

// testDollarWildcards: a wildcard at the first level does not match a topic that
// begins with $; one below does. [MQTT-4.7.2-1]
func testDollarWildcards(t *testing.T, s *fixture, id string) {
	p := s.connectV5(id, nil)
	p.subscribed(codec.Subscription{Filter: codec.View("+/" + id + "/#")}, codec.Subscription{Filter: codec.View("$share/g/+/" + id)})
	p.sendPublish(codec.Publish{Topic: codec.View("$x/" + id)})
	p.quiet()
	p.subscribeOne("$x/#", 0)
	p.sendPublish(codec.Publish{Topic: codec.View("$x/" + id)})
	p.receive()
	p.sendPublish(codec.Publish{Topic: codec.View("x/" + id)})
	p.receive()
	p.receive()
	p.quiet()
}

// testWindowOrder: more than any window, queued while absent and while coming
// back, arrives once and in order.
func testWindowOrder(t *testing.T, s *fixture, id string) {
	sub := s.connectV5(id, lasting)
	sub.subscribeOne(id, 2)
	sub.drop()
	pub := s.connectV5(id+"-pub", nil)
	const many, away = 1500, 1000
	publish := func(from, to int) {
		for i := from; i < to; i += 50 {
			var b []byte
			for j := range 50 {
				b, _ = codec.AppendPublish(b, &codec.Publish{QoS: 1, PacketID: uint16(j + 1), Topic: codec.View(id), Payload: codec.View(fmt.Sprint(i + j))}, codec.Version5)
			}
			pub.write(b, nil)
			for range 50 {
				pub.acked(codec.TypePuback)
			}
		}
	}
	publish(0, away)
	sub = s.connectV5(id, resumed)
	for i := range many {
		if i == 100 {
			publish(away, many)
		}
		if i == 700 { // and once more in between, with a full window under way
			_ = sub.Close()
			sub = s.connectV5(id, resumed)
		}
		m := sub.receive()
		if string(m.Payload) != fmt.Sprint(i) {
			t.Fatalf("message %d: %q, DUP %v", i, m.Payload, m.Dup)
		}
		sub.ack(codec.TypePuback, m.PacketID)
		if i == 699 {
			sub.write(codec.AppendPingreq(nil), nil) // what was acknowledged has been taken
			for {
				f, err := sub.next()
				if err != nil {
					t.Fatal(err)
				}
				if f.Type() == codec.TypePingresp {
					break
				}
			}
		}
	}
	sub.quiet()
}

// testWillTakeover: a takeover is the end of a connection without DISCONNECT: the
// Will is published if it has no delay, and is void if it has one and the session
// goes on.
func testWillTakeover(t *testing.T, s *fixture, id string) {
	watcher := s.connectV5(id+"-watcher", nil)
	watcher.subscribeOne(id, 0)
	will := func(delay uint32) func(*codec.Connect) {
		return func(c *codec.Connect) {
			resumed(c)
			c.HasWill, c.Will = true, codec.Will{Topic: codec.View(id), Payload: codec.View(fmt.Sprint(delay)), DelaySeconds: delay}
		}
	}
	s.connectV5(id, will(0))
	s.connectV5(id, will(3600))
	if m := watcher.receive(); string(m.Payload) != "0" {
		t.Errorf("%q", m.Payload)
	}
	s.connectV5(id, will(3601)) // resumes: the Will of an hour is void
	watcher.quiet()
	p := s.connectV5(id, func(c *codec.Connect) { will(3602)(c); c.CleanStart = true }) // ends the session: it is due now
	if m := watcher.receive(); string(m.Payload) != "3601" {
		t.Errorf("%q", m.Payload)
	}
	p.write(codec.AppendDisconnect(nil, &codec.Disconnect{Reason: codec.DisconnectWithWill, HasSessionExpiry: true}, codec.Version5))
	if m := watcher.receive(); string(m.Payload) != "3602" { // as the session ends before the delay
		t.Errorf("%q", m.Payload)
	}
	watcher.quiet()
}

// testPubrecRefused: a PUBREC with an error ends the delivery; the window is
// free again and PUBREL is not sent.
func testPubrecRefused(t *testing.T, s *fixture, id string) {
	sub := s.connectV5(id, func(c *codec.Connect) { lasting(c); c.ReceiveMaximum = 1 })
	sub.subscribeOne(id, 2)
	pub := s.connectV5(id+"-pub", nil)
	for i := range uint16(2) {
		pub.publish2(1+i, id, fmt.Sprint(i), false)
		pub.release(1 + i)
	}
	m := sub.receive()
	sub.quiet()
	sub.write(codec.AppendAck(nil, &codec.Ack{Type: codec.TypePubrec, PacketID: m.PacketID, Reason: codec.ImplementationSpecificError}, codec.Version5))
	m = sub.receive()
	if string(m.Payload) != "1" {
		t.Errorf("%q", m.Payload)
	}
	sub.ack(codec.TypePubrec, m.PacketID)
	if a := sub.acked(codec.TypePubrel); a.PacketID != m.PacketID {
		t.Errorf("PUBREL %d", a.PacketID)
	}
	_ = sub.Close()
	sub = s.connectV5(id, resumed)
	if a := sub.acked(codec.TypePubrel); a.PacketID != m.PacketID {
		t.Errorf("PUBREL %d after the reconnection", a.PacketID)
	}
	sub.ack(codec.TypePubcomp, m.PacketID)
	sub.quiet()
}

// TestWillAndSessionSurviveKill: a delayed Will and the end of a session that
// were due after a crash come after it.
func TestWillAndSessionSurviveKill(t *testing.T) {
	timeless(t, testWillAndSessionSurviveKill)
}

func testWillAndSessionSurviveKill(t *testing.T) {
	s := newFixtureWith(t)
	watcher := s.connectV5("watcher", lasting)
	watcher.subscribeOne("will/#", 1)
	for name, left := range map[string]bool{"left": true, "there": false} { // before the crash, or with it
		p := s.connectV5(name, func(c *codec.Connect) {
			lasting(c)
			c.HasWill, c.Will = true, codec.Will{Topic: codec.View("will/" + name), Payload: codec.View("gone"), DelaySeconds: 1, QoS: 1, Retain: true}
		})
		if left {
			_ = p.Close()
		}
	}
	short := s.connectV5("short", func(c *codec.Connect) { c.HasSessionExpiry, c.SessionExpirySeconds = true, 1 })
	short.subscribeOne("x", 1)
	clean := s.connectV5("clean", func(c *codec.Connect) { // DISCONNECT makes its Will void, durably
		lasting(c)
		c.HasWill, c.Will = true, codec.Will{Topic: codec.View("will/clean"), Payload: codec.View("gone"), QoS: 1}
	})
	clean.write(codec.AppendDisconnect(nil, &codec.Disconnect{}, codec.Version5))
	clean.closed(codec.Success)
	s.kill()
	s.restart()
	watcher = s.connectV5("watcher", resumed)
	got := make(map[string]bool)
	for range 2 {
		m := watcher.receive()
		got[string(m.Topic)] = true
		watcher.ack(codec.TypePuback, m.PacketID)
	}
	if !got["will/left"] || !got["will/there"] {
		t.Errorf("Wills: %v", got)
	}
	watcher.quiet()
	eventually(t, "the short session ends", func() bool { return s.metric("promptmq_sessions") == 4 })
	again := s.connectV5("again", nil)
	again.subscribeOne("will/#", 0)
	again.receive()
	again.receive() // they were retained
	again.quiet()
}
