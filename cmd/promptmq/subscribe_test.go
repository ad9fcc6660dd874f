package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// retainMany retains one message for each of n topics.
func retainMany(t *testing.T, s *server, n int, qos codec.QoS) {
	t.Helper()
	p, _ := connectRaw(t, s.mqtt, codec.Version5, "filler", nil)
	for i := range n {
		p.publish(codec.Publish{QoS: qos, PacketID: 1, Retain: true, Topic: codec.View(fmt.Sprintf("r/%d", i)), Payload: codec.View("v")})
		if qos > 0 {
			p.ack(codec.TypePuback)
		}
	}
	p.quiet()
	p.send(codec.AppendDisconnect(nil, &codec.Disconnect{}, codec.Version5))
	p.closed(codec.Success)
}

// fetch takes what comes, and acknowledges it, until so many Topic Names were among
// it, and SUBACK if that is awaited, and then nothing more comes; or until more than
// most messages came. It returns how often each name came.
func (p *raw) fetch(topics, most int, suback bool) (counts map[string]int, codes []byte) {
	p.t.Helper()
	counts = make(map[string]int)
	messages, quiet, pinged := 0, 0, false
	for quiet < 10 && messages <= most {
		if done := len(counts) >= topics && (codes != nil || !suback); done && !pinged {
			p.send(codec.AppendPingreq(nil), nil)
			pinged = true
		}
		f, err := p.next()
		if err != nil {
			p.t.Fatalf("after %d of %d topics: %v", len(counts), topics, err)
		}
		switch f.Type() {
		case codec.TypePublish:
			var m codec.Publish
			if err := m.Decode(f, p.v); err != nil {
				p.t.Fatal(err)
			}
			messages++
			quiet = 0
			counts[m.Topic.String()]++
			if m.QoS > 0 {
				p.sendAck(codec.TypePuback, m.PacketID)
			}
		case codec.TypeSuback:
			var ack codec.Suback
			if err := ack.Decode(f, p.v); err != nil {
				p.t.Fatal(err)
			}
			codes = bytes.Clone(ack.Reasons)
		case codec.TypePingresp:
			quiet, pinged = quiet+1, false
		default:
			p.t.Fatalf("got %v", f.Type())
		}
	}
	return counts, codes
}

func total(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// TestSubscribeBomb: a packet that repeats a filter is answered for each, and what
// is retained comes once; what is beyond the limit of a Session is refused.
func TestSubscribeBomb(t *testing.T) {
	s := start(t, "mqtt:\n  max-subscriptions: 8000\n")
	const retained = 500
	retainMany(t, s, retained, 0)
	for _, lasts := range []bool{false, true} {
		p, _ := connectRaw(t, s.mqtt, codec.Version5, fmt.Sprint("evil", lasts), func(c *codec.Connect) {
			if lasts {
				lasting(c)
			}
		})
		subs := make([]codec.Subscription, 10_000)
		for i := range subs {
			subs[i].Filter = codec.View("#")
		}
		p.send(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, subs, p.v))
		counts, codes := p.fetch(retained, 2*retained, true)
		want := append(bytes.Repeat([]byte{0}, 8000), bytes.Repeat([]byte{0x97}, 2000)...)
		if !bytes.Equal(codes, want) {
			t.Errorf("%d Reason Codes, the first and last are %x and %x", len(codes), codes[0], codes[len(codes)-1])
		}
		if n := total(counts); len(counts) != retained || n != retained {
			t.Errorf("%d messages of %d topics, expected %d", n, len(counts), retained)
		}
	}
	if r := s.waitLog("subscription refused"); r.text("key") != "mqtt.max-subscriptions" {
		t.Errorf("the log says %v", r)
	}
}

// TestSubscribeAgainAndAgain: packets that make the same subscription, from a
// Client that acknowledges nothing, do not add up.
func TestSubscribeAgainAndAgain(t *testing.T) {
	s := start(t, "")
	const retained, packets = 500, 3000
	retainMany(t, s, retained, 1)
	p, _ := connectRaw(t, s.mqtt, codec.Version5, "evil", nil)
	one, err := codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, []codec.Subscription{{Filter: codec.View("#"), QoS: 1}}, p.v)
	p.send(bytes.Repeat(one, packets), err)
	var unacked []uint16
	for subacks := 0; subacks < packets; {
		f, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		if f.Type() == codec.TypeSuback {
			subacks++
			continue
		}
		var m codec.Publish
		if err := m.Decode(f, p.v); err != nil {
			t.Fatal(err)
		}
		unacked = append(unacked, m.PacketID)
	}
	for _, id := range unacked {
		p.sendAck(codec.TypePuback, id)
	}
	// What waited for acknowledgements, and once all that the last packet asked for.
	const most = retained + 300
	counts, _ := p.fetch(retained, most, false)
	if n := len(unacked) + total(counts); n > most {
		t.Errorf("%d messages for %d retained", n, retained)
	}
}

// TestSubscriptionsOfLargePackets: filters of one packet count in their order, also
// where it is handled in parts; the last of the same ones wins.
func TestSubscriptionsOfLargePackets(t *testing.T) {
	s := start(t, "mqtt:\n  max-subscriptions: 1000\n")
	for _, lasts := range []bool{false, true} {
		p, _ := connectRaw(t, s.mqtt, codec.Version5, fmt.Sprint("many", lasts), func(c *codec.Connect) {
			if lasts {
				lasting(c)
			}
		})
		subs := make([]codec.Subscription, 1000)
		var filters []codec.View
		var want []codec.ReasonCode
		for i := range subs {
			subs[i].Filter, subs[i].QoS = codec.View(fmt.Sprintf("%d/%v/t", i/3, lasts)), codec.QoS(i%3)
			want = append(want, codec.ReasonCode(i%3))
			filters = append(filters, subs[i].Filter)
		}
		if got := p.subscribe(subs...); !slices.Equal(got, want) {
			t.Fatalf("SUBACK has %v", got)
		}
		pub, _ := connectRaw(t, s.mqtt, codec.Version5, "pub", nil)
		for i := range len(subs) / 3 {
			pub.publish(codec.Publish{QoS: 1, PacketID: 1, Topic: subs[3*i].Filter, Payload: codec.View("x")})
			pub.ack(codec.TypePuback)
			m := p.receive()
			if m.QoS != 1 || !bytes.Equal(m.Topic, subs[3*i].Filter) {
				t.Fatalf("%s came with QoS %d", m.Topic, m.QoS)
			}
			p.sendAck(codec.TypePuback, m.PacketID)
		}
		p.send(codec.AppendUnsubscribe(nil, &codec.Unsubscribe{PacketID: 2}, filters, p.v))
		var ack codec.Unsuback
		p.expect(codec.TypeUnsuback, func(f codec.Frame) error { return ack.Decode(f, p.v) })
		for i, code := range ack.Reasons {
			if again := i%3 > 0 && i < 999; again != (code == byte(codec.NoSubscriptionExisted)) {
				t.Fatalf("UNSUBACK has %x at %d", code, i)
			}
		}
		if n := s.metric("promptmq_subscriptions"); n != 0 || len(ack.Reasons) != 1000 {
			t.Errorf("%v subscriptions are left", n)
		}
	}
}

// TestAnswerTooLarge: a SUBACK or UNSUBACK that the Client would not take is not
// sent, and nothing is done that it could not be told. [MQTT-3.1.2-24]
func TestAnswerTooLarge(t *testing.T) {
	s := start(t, "")
	subs := make([]codec.Subscription, 100)
	filters := make([]codec.View, len(subs))
	for i := range subs {
		filters[i] = codec.View(fmt.Sprint("t/", i))
		subs[i].Filter = filters[i]
	}
	connect := func() *raw {
		p, _ := connectRaw(t, s.mqtt, codec.Version5, "small", func(c *codec.Connect) { c.MaximumPacketSize = 100 })
		return p
	}
	p := connect()
	p.send(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, subs, p.v))
	p.closed(codec.PacketTooLarge)
	p = connect()
	p.send(codec.AppendUnsubscribe(nil, &codec.Unsubscribe{PacketID: 1}, filters, p.v))
	p.closed(codec.PacketTooLarge)
	if n := s.metric("promptmq_subscriptions"); n != 0 {
		t.Errorf("%v subscriptions", n)
	}
	p = connect()
	if got := p.subscribe(subs[:90]...); len(got) != 90 {
		t.Errorf("%v", got)
	}
}

// TestRetainedOverRestart: what SUBACK has promised of the retained messages comes
// after kill -9, after an orderly restart and after a reconnect, and each message
// once, to Clients of 5 and of 3.1.1; unless the subscription is gone. [MQTT-3.3.1-9]
func TestRetainedOverRestart(t *testing.T) {
	s := start(t, "")
	const retained = 600 // more than is queued at once
	retainMany(t, s, retained, 1)
	again := func() {
		s.kill()
		s.restart()
	}
	orderly := func() {
		s.stop()
		s.restart()
	}
	for i, test := range []struct {
		v     codec.Version
		qos   codec.QoS
		after func()
	}{
		{codec.Version5, 1, again}, {codec.Version311, 1, again}, {codec.Version5, 1, orderly}, {codec.Version5, 1, func() {}},
	} {
		connect := func(anew bool) (*raw, codec.Connack) {
			return connectRaw(t, s.mqtt, test.v, fmt.Sprint("client", i), func(c *codec.Connect) {
				c.CleanStart = anew && test.v == codec.Version5
				lasting(c)
			})
		}
		p, _ := connect(true)
		p.send(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, []codec.Subscription{{Filter: codec.View("r/+"), QoS: test.qos}}, p.v))
		acked := 0
		for suback := false; !suback || acked < 100; {
			f, err := p.next()
			if err != nil {
				t.Fatal(err)
			}
			if suback = suback || f.Type() == codec.TypeSuback; f.Type() != codec.TypePublish {
				continue
			}
			var m codec.Publish
			if err := m.Decode(f, p.v); err != nil {
				t.Fatal(err)
			}
			p.sendAck(codec.TypePuback, m.PacketID)
			acked++
		}
		_ = p.Close()
		test.after()
		p, ack := connect(false)
		if !ack.SessionPresent {
			t.Fatal("the session is gone")
		}
		counts, _ := p.fetch(retained-acked, 2*retained, false)
		// How many of the acknowledgements came in time is not known.
		if n := total(counts); n != len(counts) || n < retained-acked || n > retained {
			t.Errorf("case %d: %d messages of %d topics, of %d of which %d were acknowledged before", i, n, len(counts), retained, acked)
		}
	}
}

// TestNothingAfterUnsuback: what is on its way when a subscription is removed comes
// before UNSUBACK or not at all. [MQTT-3.10.4-2]
func TestNothingAfterUnsuback(t *testing.T) {
	s := start(t, "")
	for i := range 8 { // a message takes longer
		p, _ := connectRaw(t, s.mqtt, codec.Version5, fmt.Sprint("other", i), nil)
		p.subscribeOne("x", 0)
		go func() { _, _ = io.Copy(io.Discard, p.Conn) }()
	}
	pub, _ := connectRaw(t, s.mqtt, codec.Version5, "pub", nil)
	one, err := codec.AppendPublish(nil, &codec.Publish{Topic: codec.View("x"), Payload: codec.View("x")}, pub.v)
	p, _ := connectRaw(t, s.mqtt, codec.Version5, "toggler", nil)
	// until reads up to a packet of a type and reports whether PUBLISH came before it.
	until := func(want codec.PacketType) (messages bool) {
		for {
			f, err := p.next()
			if err != nil {
				t.Fatal(err)
			}
			if f.Type() == want {
				return messages
			}
			messages = true
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	burst := bytes.Repeat(one, 10_000) // several reads
	for round := range 50 {
		p.send(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, []codec.Subscription{{Filter: codec.View("x")}}, p.v))
		until(codec.TypeSuback)
		sent := make(chan error)
		go func() {
			_, err := pub.Write(burst)
			sent <- err
		}()
		until(codec.TypePublish)
		p.send(codec.AppendUnsubscribe(nil, &codec.Unsubscribe{PacketID: 2}, []codec.View{codec.View("x")}, p.v))
		until(codec.TypeUnsuback)
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		pub.quiet() // all are delivered
		p.send(codec.AppendPingreq(nil), nil)
		if until(codec.TypePingresp) {
			t.Fatalf("round %d: a message after UNSUBACK", round)
		}
	}
}

// TestNoMemberSwallowsMessages: members of a Shared Subscription come and go while
// it is published to; all that is acknowledged comes to one of them.
func TestNoMemberSwallowsMessages(t *testing.T) {
	s := start(t, "")
	const messages, filter = 3000, "$share/g/x"
	got := make(chan string, messages)
	stays, _ := connectRaw(t, s.mqtt, codec.Version5, "stays", nil)
	stays.subscribeOne(filter, 1)
	go func() {
		for {
			f, err := stays.next()
			var m codec.Publish
			if err != nil || f.Type() != codec.TypePublish || m.Decode(f, stays.v) != nil {
				return
			}
			got <- m.Payload.String()
			b, _ := codec.AppendAck(nil, &codec.Ack{Type: codec.TypePuback, PacketID: m.PacketID}, stays.v)
			_, _ = stays.Write(b)
		}
	}()
	var over atomic.Bool
	var churn sync.WaitGroup
	for i := range 3 {
		churn.Go(func() {
			for n := 0; !over.Load(); n++ {
				nc, err := net.Dial("tcp", s.mqtt)
				if err != nil {
					t.Error(err)
					return
				}
				b, _ := codec.AppendConnect(nil, &codec.Connect{ClientID: codec.View(fmt.Sprint("goes", i)), CleanStart: true, ReceiveMaximum: 65535}, codec.Version5)
				b, _ = codec.AppendSubscribe(b, &codec.Subscribe{PacketID: 1}, []codec.Subscription{{Filter: codec.View(filter), QoS: 1}}, codec.Version5)
				_, _ = nc.Write(b)
				_, _ = nc.Read(make([]byte, 64)) // it acknowledges nothing: others get all that it was sent
				_ = nc.Close()
			}
		})
	}
	pub, _ := connectRaw(t, s.mqtt, codec.Version5, "pub", nil)
	for i := range messages {
		if r := pub.publish1(1, "x", fmt.Sprint(i)); r >= 0x80 {
			t.Fatalf("PUBACK %v", r)
		}
	}
	over.Store(true)
	churn.Wait()
	seen := make(map[string]bool)
	for deadline := time.After(clientSeconds * time.Second); len(seen) < messages; {
		select {
		case m := <-got:
			seen[m] = true
		case <-deadline:
			t.Fatalf("%d of %d messages came; no_member %v, session_ended %v", len(seen), messages,
				s.metric(`promptmq_messages_dropped_total{reason="no_member"}`), s.metric(`promptmq_messages_dropped_total{reason="session_ended"}`))
		}
	}
}
