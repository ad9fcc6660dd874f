package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/x0a1b/promptmq/codec"
)

// TestBehaviour shows what sessions do, packet by packet, on one broker.
func TestBehaviour(t *testing.T) {
	s := start(t, "")
	for name, test := range map[string]func(t *testing.T, s *server, id string){
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
		"websocket":           testWebSocket,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, s, strings.ReplaceAll(name, " ", "-"))
		})
	}
}

func v5Of(t *testing.T, s *server, id string, change func(*codec.Connect)) *raw {
	t.Helper()
	p, ack := connectRaw(t, s.mqtt, codec.Version5, id, change)
	if ack.Reason != codec.Success {
		t.Fatalf("CONNACK %v", ack.Reason)
	}
	return p
}

func testTakeover(t *testing.T, s *server, id string) {
	first := v5Of(t, s, id, lasting)
	second, ack := connectRaw(t, s.mqtt, codec.Version5, id, func(c *codec.Connect) { lasting(c); c.CleanStart = false })
	if !ack.SessionPresent {
		t.Error("the session was not taken over")
	}
	first.closed(codec.SessionTakenOver)
	second.quiet()
}

// testResend: after a new connection, in order, with DUP and the same
// identifiers; PUBREL instead of PUBLISH after PUBREC.
func testResend(t *testing.T, s *server, id string) {
	sub := v5Of(t, s, id, lasting)
	sub.subscribeOne(id, 2)
	pub := v5Of(t, s, id+"-pub", nil)
	for i, qos := range []codec.QoS{1, 2, 1} {
		pub.publish(codec.Publish{QoS: qos, PacketID: uint16(i + 1), Topic: codec.View(id), Payload: codec.View(fmt.Sprint(i))})
		if qos == 1 {
			pub.ack(codec.TypePuback)
		} else {
			pub.ack(codec.TypePubrec)
			pub.sendAck(codec.TypePubrel, uint16(i+1))
			pub.ack(codec.TypePubcomp)
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
			sub.sendAck(codec.TypePubrec, m.PacketID)
		}
	}
	released := sub.ack(codec.TypePubrel).PacketID
	_ = sub.Close()
	sub = v5Of(t, s, id, func(c *codec.Connect) { lasting(c); c.CleanStart = false })
	if again := sub.ack(codec.TypePubrel).PacketID; again != released {
		t.Errorf("PUBREL %d, then %d", released, again)
	}
	for range 2 {
		m := sub.receive()
		if !m.Dup || m.QoS != 1 || ids[string(m.Payload)] != m.PacketID {
			t.Errorf("resent %q, QoS %d, DUP %v, identifier %d", m.Payload, m.QoS, m.Dup, m.PacketID)
		}
		sub.sendAck(codec.TypePuback, m.PacketID)
	}
	sub.sendAck(codec.TypePubcomp, released)
	sub.quiet()
}

func testReceiveMaximum(t *testing.T, s *server, id string) {
	sub := v5Of(t, s, id, func(c *codec.Connect) { c.ReceiveMaximum = 1 })
	sub.subscribeOne(id, 2)
	pub := v5Of(t, s, id+"-pub", nil)
	for i := range uint16(2) {
		pub.publish1(1+i, id, "m")
	}
	pub.publish(codec.Publish{Topic: codec.View(id), Payload: codec.View("QoS 0 is not counted")})
	first := sub.receive()
	if sub.receive().QoS != 0 {
		t.Error("two in flight")
	}
	sub.quiet()
	sub.sendAck(codec.TypePuback, first.PacketID)
	sub.receive()
}

// testSessionExpiry: DISCONNECT may shorten it, and not prolong one of 0.
func testSessionExpiry(t *testing.T, s *server, id string) {
	p := v5Of(t, s, id, lasting)
	p.send(codec.AppendDisconnect(nil, &codec.Disconnect{HasSessionExpiry: true}, codec.Version5))
	p.closed(codec.Success)
	p, ack := connectRaw(t, s.mqtt, codec.Version5, id, func(c *codec.Connect) { c.CleanStart = false })
	if ack.SessionPresent {
		t.Error("the session outlived its DISCONNECT")
	}
	p.send(codec.AppendDisconnect(nil, &codec.Disconnect{HasSessionExpiry: true, SessionExpirySeconds: 5}, codec.Version5))
	p.closed(codec.ProtocolError)

	own := start(t, "") // where no other sessions are counted
	p = v5Of(t, own, id, func(c *codec.Connect) { c.HasSessionExpiry, c.SessionExpirySeconds = true, 1 })
	p.subscribeOne(id, 1)
	_ = p.Close()
	eventually(t, "the session expires", func() bool {
		return own.metric("promptmq_sessions") == 0 && own.metric("promptmq_subscriptions") == 0
	})
}

func testWillDelay(t *testing.T, s *server, id string) {
	var watcher *raw
	var will func(*codec.Connect)
	inTime(t, func(seconds uint32) bool {
		topic := codec.View(fmt.Sprint(id, seconds))
		watcher = v5Of(t, s, id+"-watcher", nil)
		watcher.subscribeOne(string(topic), 1)
		delayed := func(payload string) func(*codec.Connect) {
			return func(c *codec.Connect) {
				lasting(c)
				c.CleanStart, c.HasWill = false, true
				c.Will = codec.Will{Topic: topic, Payload: codec.View(payload), DelaySeconds: seconds, QoS: 1}
			}
		}
		will = delayed("gone")
		p := v5Of(t, s, id, delayed("void"))
		left := time.Now()
		_ = p.Close()
		p = v5Of(t, s, id, will)
		if time.Since(left) >= lifetime(seconds) {
			return false
		}
		// In time: the Will of the first connection is void, and would have come first.
		left = time.Now()
		_ = p.Close()
		if m := watcher.receive(); string(m.Payload) != "gone" {
			t.Errorf("%q", m.Payload)
		}
		if d := time.Since(left); d < lifetime(seconds) {
			t.Errorf("published after %v", d)
		}
		watcher.quiet()
		return true
	})

	p := v5Of(t, s, id, will)
	p.send(codec.AppendDisconnect(nil, &codec.Disconnect{}, codec.Version5))
	p.closed(codec.Success)
	p = v5Of(t, s, id, will)
	p.send(codec.AppendDisconnect(nil, &codec.Disconnect{Reason: codec.DisconnectWithWill}, codec.Version5))
	watcher.sendAck(codec.TypePuback, 1)
	watcher.receive() // the second only: the first was a normal disconnection
	watcher.quiet()
}

func testMessageExpiry(t *testing.T, s *server, id string) {
	sub := v5Of(t, s, id, lasting)
	sub.subscribeOne(id, 1)
	sub.drop()
	pub := v5Of(t, s, id+"-pub", nil)
	began := time.Now()
	for i, seconds := range []uint32{1, 1000} {
		pub.publish(codec.Publish{QoS: 1, PacketID: uint16(i + 1), Topic: codec.View(id), Payload: codec.View(fmt.Sprint(seconds)),
			HasMessageExpiry: true, MessageExpirySeconds: seconds})
		pub.ack(codec.TypePuback)
	}
	passed := time.Now().Add(1100 * time.Millisecond)
	eventually(t, "the first expires", func() bool { return time.Now().After(passed) })
	sub = v5Of(t, s, id, func(c *codec.Connect) { lasting(c); c.CleanStart = false })
	m := sub.receive()
	if least := 999 - time.Since(began).Seconds(); string(m.Payload) != "1000" || m.MessageExpirySeconds > 999 || float64(m.MessageExpirySeconds) < least {
		t.Errorf("%q with %d seconds left, at least %.1f", m.Payload, m.MessageExpirySeconds, least)
	}
	sub.quiet()
}

func testOutboundAliases(t *testing.T, s *server, id string) {
	sub := v5Of(t, s, id, func(c *codec.Connect) { c.TopicAliasMaximum = 1 })
	sub.subscribeOne(id+"/#", 0)
	for i, want := range []struct {
		topic string
		alias uint16
		named bool
	}{{"/a", 1, true}, {"/a", 1, false}, {"/b", 0, true}, {"/a", 1, false}} {
		sub.publish(codec.Publish{Topic: codec.View(id + want.topic)})
		if m := sub.receive(); m.TopicAlias != want.alias || (len(m.Topic) > 0) != want.named {
			t.Errorf("message %d: topic %q, alias %d", i, m.Topic, m.TopicAlias)
		}
	}
}

func testMaximumPacketSize(t *testing.T, s *server, id string) {
	sub := v5Of(t, s, id, func(c *codec.Connect) { c.MaximumPacketSize = 100 })
	sub.subscribeOne(id, 1)
	pub := v5Of(t, s, id+"-pub", nil)
	pub.publish(codec.Publish{Topic: codec.View(id), Payload: make([]byte, 200)})
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

func testSubscriptionIDs(t *testing.T, s *server, id string) {
	p := v5Of(t, s, id, nil)
	for i, filter := range []string{id + "/#", id + "/+", id + "/x"} {
		p.send(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1, SubscriptionID: uint32(i + 1)},
			[]codec.Subscription{{Filter: codec.View(filter), QoS: codec.QoS(i % 2)}}, codec.Version5))
		p.expect(codec.TypeSuback, func(codec.Frame) error { return nil })
	}
	p.publish(codec.Publish{QoS: 1, PacketID: 1, Topic: codec.View(id + "/x")})
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
func testRetainOptions(t *testing.T, s *server, id string) {
	p := v5Of(t, s, id, nil)
	topic := codec.View(id)
	p.publish(codec.Publish{Topic: topic, Retain: true, Payload: codec.View("kept")})
	subscribe := func(o codec.Subscription, retained bool) {
		t.Helper()
		o.Filter = topic
		p.subscribe(o)
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
		p.publish(codec.Publish{Topic: topic, Retain: true, Payload: codec.View("kept")})
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
	other := v5Of(t, s, id+"-other", nil)
	other.subscribe(codec.Subscription{Filter: topic, RetainHandling: 1})
	other.receive()
}

// testShared: each message to one member; what a member leaves unacknowledged
// goes to another.
func testShared(t *testing.T, s *server, id string) {
	one, two := v5Of(t, s, id+"-1", nil), v5Of(t, s, id+"-2", nil)
	one.subscribeOne("$share/g/"+id, 1)
	two.subscribeOne("$share/g/"+id, 1)
	pub := v5Of(t, s, id+"-pub", nil)
	for i := range uint16(10) {
		pub.publish1(i+1, id, fmt.Sprint(i))
	}
	seen := make(map[string]bool)
	for range 5 { // balanced
		one.receive() // and never acknowledged
		m := two.receive()
		seen[string(m.Payload)] = true
		two.sendAck(codec.TypePuback, m.PacketID)
	}
	two.quiet()
	_ = one.Close()
	for range 5 {
		m := two.receive()
		seen[string(m.Payload)] = true
		two.sendAck(codec.TypePuback, m.PacketID)
	}
	two.quiet()
	if len(seen) != 10 {
		t.Errorf("%d of 10 messages came", len(seen))
	}
}

func testDollarTopics(t *testing.T, s *server, id string) {
	p := v5Of(t, s, id, nil)
	p.subscribeOne("+/"+id, 0)
	if r := p.publish1(1, "$SYS/"+id, "mine"); r != codec.NotAuthorized {
		t.Errorf("a client publishes to $SYS: %v", r)
	}
	p.publish(codec.Publish{Topic: codec.View("$own/" + id)})
	p.quiet()
	p.subscribeOne("$own/"+id, 0)
	p.publish(codec.Publish{Topic: codec.View("$own/" + id)})
	p.receive()
}

func testUnsubscribe(t *testing.T, s *server, id string) {
	p := v5Of(t, s, id, nil)
	p.subscribeOne(id, 0)
	p.send(codec.AppendUnsubscribe(nil, &codec.Unsubscribe{PacketID: 9},
		[]codec.View{codec.View("none"), codec.View(id)}, codec.Version5))
	var ack codec.Unsuback
	p.expect(codec.TypeUnsuback, func(f codec.Frame) error { return ack.Decode(f, codec.Version5) })
	if string(ack.Reasons) != "\x11\x00" || ack.PacketID != 9 {
		t.Errorf("Reason Codes %x", []byte(ack.Reasons))
	}
	p.publish(codec.Publish{Topic: codec.View(id)})
	p.quiet()
}

func testClientIdentifiers(t *testing.T, s *server, id string) {
	if _, ack := connectRaw(t, s.mqtt, codec.Version5, "", nil); len(ack.AssignedClientID) == 0 {
		t.Error("no Assigned Client Identifier")
	}
	for v, clean := range map[codec.Version]bool{codec.Version311: false, codec.Version31: true} {
		_, ack := connectRaw(t, s.mqtt, v, "", func(c *codec.Connect) { c.CleanStart = clean })
		if ack.Reason != codec.ClientIdentifierNotValid {
			t.Errorf("an empty identifier with %v: %v", v, ack.Reason)
		}
	}
	if _, ack := connectRaw(t, s.mqtt, codec.Version311, "", nil); ack.Reason != codec.Success {
		t.Errorf("an empty identifier with a clean session: %v", ack.Reason)
	}
	if _, ack := connectRaw(t, s.mqtt, codec.Version5, id, func(c *codec.Connect) {
		c.HasAuthenticationMethod, c.AuthenticationMethod = true, codec.View("SCRAM")
	}); ack.Reason != codec.BadAuthenticationMethod {
		t.Errorf("an Authentication Method: %v", ack.Reason)
	}
}

// testManyRetained: more than any buffer or window holds arrives whole.
func testManyRetained(t *testing.T, s *server, id string) {
	p := v5Of(t, s, id, nil)
	const many = 3000
	for i := range many {
		p.publish(codec.Publish{Topic: codec.View(fmt.Sprintf("%s/%d", id, i)), Retain: true, Payload: make([]byte, 1000)})
	}
	p.quiet()
	for _, qos := range []codec.QoS{0, 1} {
		sub := v5Of(t, s, fmt.Sprintf("%s-%d", id, qos), nil)
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
		p.publish(codec.Publish{Topic: codec.View(fmt.Sprintf("%s/%d", id, i)), Retain: true})
	}
	p.quiet()
}

// testWebSocket: sub-protocol, origin, and packets that are not aligned with frames.
func testWebSocket(t *testing.T, s *server, id string) {
	dial := func(o *websocket.DialOptions) (*websocket.Conn, error) {
		ws, _, err := websocket.Dial(t.Context(), "ws://"+s.ws+"/mqtt", o)
		return ws, err
	}
	if _, err := dial(&websocket.DialOptions{Subprotocols: []string{"mqtt"}, HTTPHeader: map[string][]string{"Origin": {"http://evil.example"}}}); err == nil {
		t.Error("a foreign origin was let in")
	}
	if ws, err := dial(&websocket.DialOptions{Subprotocols: []string{"other"}}); err == nil {
		if _, _, err := ws.Read(t.Context()); err == nil {
			t.Error("another sub-protocol was served")
		}
	}
	ws, err := dial(&websocket.DialOptions{Subprotocols: []string{"mqtt"}, CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	b, err := codec.AppendConnect(nil, &codec.Connect{ClientID: codec.View(id), CleanStart: true}, codec.Version311)
	if err != nil {
		t.Fatal(err)
	}
	b = codec.AppendPingreq(b)
	for i := range b { // every byte a frame of its own; the last holds the end of two packets
		if err := ws.Write(t.Context(), websocket.MessageBinary, b[i:i+1]); err != nil {
			t.Fatal(err)
		}
	}
	var got []byte
	for len(got) < 6 {
		_, part, err := ws.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, part...)
	}
	if !bytes.Equal(got, []byte{0x20, 2, 0, 0, 0xd0, 0}) {
		t.Errorf("answered %x", got)
	}
	if err := ws.Write(t.Context(), websocket.MessageText, []byte("text")); err != nil { // [MQTT-6.0.0-1]
		t.Fatal(err)
	}
	if _, _, err := ws.Read(t.Context()); err == nil {
		t.Error("a text frame was taken")
	}
}
