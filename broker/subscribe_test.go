package broker_test

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/codec"
)

// retainMany retains one message for each of n topics.
func (f *fixture) retainMany(n int, qos codec.QoS) {
	f.t.Helper()
	p, _ := f.connectAs(codec.Version5, "filler", nil)
	for i := range n {
		p.sendPublish(codec.Publish{QoS: qos, PacketID: 1, Retain: true, Topic: codec.View(fmt.Sprintf("r/%d", i)), Payload: codec.View("v")})
		if qos > 0 {
			p.acked(codec.TypePuback)
		}
	}
	p.quiet()
	p.leave(nil)
}

// fetch takes what comes, and acknowledges it, until so many Topic Names were among
// it, and SUBACK if that is awaited, and then nothing more comes; or until more than
// most messages came. It returns how often each name came.
func (p *peer) fetch(topics, most int, suback bool) (counts map[string]int, codes []byte) {
	p.t.Helper()
	counts = make(map[string]int)
	messages, quiet, pinged := 0, 0, false
	for quiet < 10 && messages <= most {
		if done := len(counts) >= topics && (codes != nil || !suback); done && !pinged {
			p.write(codec.AppendPingreq(nil), nil)
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
				p.ack(codec.TypePuback, m.PacketID)
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
func TestSubscribeBomb(t *testing.T) { timeless(t, testSubscribeBomb) }

func testSubscribeBomb(t *testing.T) {
	s := newFixtureWith(t, func(o *broker.Options) { o.MaxSubscriptions = 8000 })
	const retained = 500
	s.retainMany(retained, 0)
	for _, lasts := range []bool{false, true} {
		p, _ := s.connectAs(codec.Version5, fmt.Sprint("evil", lasts), func(c *codec.Connect) {
			if lasts {
				lasting(c)
			}
		})
		subs := make([]codec.Subscription, 10_000)
		for i := range subs {
			subs[i].Filter = codec.View("#")
		}
		p.write(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, subs, p.v))
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
func TestSubscribeAgainAndAgain(t *testing.T) { timeless(t, testSubscribeAgainAndAgain) }

func testSubscribeAgainAndAgain(t *testing.T) {
	s := newFixtureWith(t)
	const retained, packets = 500, 3000
	s.retainMany(retained, 1)
	p, _ := s.connectAs(codec.Version5, "evil", nil)
	one, err := codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, []codec.Subscription{{Filter: codec.View("#"), QoS: 1}}, p.v)
	p.write(bytes.Repeat(one, packets), err)
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
		p.ack(codec.TypePuback, id)
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
func TestSubscriptionsOfLargePackets(t *testing.T) { timeless(t, testSubscriptionsOfLargePackets) }

func testSubscriptionsOfLargePackets(t *testing.T) {
	s := newFixtureWith(t, func(o *broker.Options) { o.MaxSubscriptions = 1000 })
	for _, lasts := range []bool{false, true} {
		p, _ := s.connectAs(codec.Version5, fmt.Sprint("many", lasts), func(c *codec.Connect) {
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
		if got := p.subscribed(subs...); !slices.Equal(got, want) {
			t.Fatalf("SUBACK has %v", got)
		}
		pub, _ := s.connectAs(codec.Version5, "pub", nil)
		for i := range len(subs) / 3 {
			pub.sendPublish(codec.Publish{QoS: 1, PacketID: 1, Topic: subs[3*i].Filter, Payload: codec.View("x")})
			pub.acked(codec.TypePuback)
			m := p.receive()
			if m.QoS != 1 || !bytes.Equal(m.Topic, subs[3*i].Filter) {
				t.Fatalf("%s came with QoS %d", m.Topic, m.QoS)
			}
			p.ack(codec.TypePuback, m.PacketID)
		}
		p.write(codec.AppendUnsubscribe(nil, &codec.Unsubscribe{PacketID: 2}, filters, p.v))
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
func TestAnswerTooLarge(t *testing.T) { timeless(t, testAnswerTooLarge) }

func testAnswerTooLarge(t *testing.T) {
	s := newFixtureWith(t)
	subs := make([]codec.Subscription, 100)
	filters := make([]codec.View, len(subs))
	for i := range subs {
		filters[i] = codec.View(fmt.Sprint("t/", i))
		subs[i].Filter = filters[i]
	}
	connect := func() *peer {
		p, _ := s.connectAs(codec.Version5, "small", func(c *codec.Connect) { c.MaximumPacketSize = 100 })
		return p
	}
	p := connect()
	p.write(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, subs, p.v))
	p.closed(codec.PacketTooLarge)
	p = connect()
	p.write(codec.AppendUnsubscribe(nil, &codec.Unsubscribe{PacketID: 1}, filters, p.v))
	p.closed(codec.PacketTooLarge)
	if n := s.metric("promptmq_subscriptions"); n != 0 {
		t.Errorf("%v subscriptions", n)
	}
	p = connect()
	if got := p.subscribed(subs[:90]...); len(got) != 90 {
		t.Errorf("%v", got)
	}
}

// TestRetainedOverRestart: what SUBACK has promised of the retained messages comes
// after kill -9, after an orderly restart and after a reconnect, and each message
// once, to Clients of 5 and of 3.1.1; unless the subscription is gone. [MQTT-3.3.1-9]
func TestRetainedOverRestart(t *testing.T) { timeless(t, testRetainedOverRestart) }

func testRetainedOverRestart(t *testing.T) {
	s := newFixtureWith(t)
	const retained = 600 // more than is queued at once
	s.retainMany(retained, 1)
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
		connect := func(anew bool) (*peer, codec.Connack) {
			return s.connectAs(test.v, fmt.Sprint("client", i), func(c *codec.Connect) {
				c.CleanStart = anew && test.v == codec.Version5
				lasting(c)
			})
		}
		p, _ := connect(true)
		p.write(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, []codec.Subscription{{Filter: codec.View("r/+"), QoS: test.qos}}, p.v))
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
			p.ack(codec.TypePuback, m.PacketID)
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
func TestNothingAfterUnsuback(t *testing.T) { timeless(t, testNothingAfterUnsuback) }

func testNothingAfterUnsuback(t *testing.T) {
	s := newFixtureWith(t)
	for i := range 8 { // a message takes longer
		p, _ := s.connectAs(codec.Version5, fmt.Sprint("other", i), nil)
		p.subscribeOne("x", 0)
		go func() { _, _ = io.Copy(io.Discard, p.Conn) }()
	}
	pub, _ := s.connectAs(codec.Version5, "pub", nil)
	one, err := codec.AppendPublish(nil, &codec.Publish{Topic: codec.View("x"), Payload: codec.View("x")}, pub.v)
	p, _ := s.connectAs(codec.Version5, "toggler", nil)
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
		p.write(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, []codec.Subscription{{Filter: codec.View("x")}}, p.v))
		until(codec.TypeSuback)
		sent := make(chan error)
		go func() {
			_, err := pub.Write(burst)
			sent <- err
		}()
		until(codec.TypePublish)
		p.write(codec.AppendUnsubscribe(nil, &codec.Unsubscribe{PacketID: 2}, []codec.View{codec.View("x")}, p.v))
		until(codec.TypeUnsuback)
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		pub.quiet() // all are delivered
		p.write(codec.AppendPingreq(nil), nil)
		if until(codec.TypePingresp) {
			t.Fatalf("round %d: a message after UNSUBACK", round)
		}
	}
}
