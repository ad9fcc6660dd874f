package broker_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// testSharedAndOwn: a shared subscription and another of the same client are
// two copies.
func testSharedAndOwn(t *testing.T, s *fixture, id string) {
	p := s.connectV5(id, nil)
	p.subscribeOne(id+"/+", 0)
	p.subscribeOne("$share/g/"+id+"/#", 0)
	p.subscribeOne("$share/h/"+id+"/x", 0)
	p.sendPublish(codec.Publish{Topic: codec.View(id + "/x")})
	for range 3 {
		p.receive()
	}
	p.quiet()
}

// testSharedQoS2: what a member that ends has not been released goes to another;
// with an expiry, a subscription identifier and the lower QoS of the other.
func testSharedQoS2(t *testing.T, s *fixture, id string) {
	one := s.connectV5(id+"-1", func(c *codec.Connect) { c.ReceiveMaximum = 1 })
	one.subscribeOne("$share/g/"+id, 2)
	pub := s.connectV5(id+"-pub", nil)
	for i := range uint16(3) {
		pub.sendPublish(codec.Publish{QoS: 2, PacketID: 1 + i, Topic: codec.View(id), Payload: codec.View(fmt.Sprint(i)), HasMessageExpiry: true, MessageExpirySeconds: 500})
		pub.acked(codec.TypePubrec)
		pub.release(1 + i)
	}
	one.receive() // its delivery has started: it is this member's for good
	two := s.connectV5(id+"-2", nil)
	two.write(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1, SubscriptionID: 77},
		[]codec.Subscription{{Filter: codec.View("$share/g/" + id), QoS: 1}}, codec.Version5))
	two.expect(codec.TypeSuback)
	_ = one.Close()
	for _, want := range []string{"1", "2"} {
		m := two.receive()
		if string(m.Payload) != want || m.QoS != 1 || m.Dup || fmt.Sprint(m.SubscriptionIDs) != "[77]" || m.MessageExpirySeconds == 0 || m.MessageExpirySeconds > 500 {
			t.Errorf("%q at QoS %d, DUP %v, identifiers %v, expiry %d", m.Payload, m.QoS, m.Dup, m.SubscriptionIDs, m.MessageExpirySeconds)
		}
		two.ack(codec.TypePuback, m.PacketID)
	}
	two.quiet()
}

// testSharedUnsubscribe: what waits for a member that unsubscribes goes to the
// others; what it was sent it may still acknowledge.
func testSharedUnsubscribe(t *testing.T, s *fixture, id string) {
	one := s.connectV5(id+"-1", func(c *codec.Connect) { c.ReceiveMaximum = 1 })
	one.subscribeOne("$share/g/"+id, 1)
	pub := s.connectV5(id+"-pub", nil)
	for i := range uint16(5) {
		pub.publish1(1+i, id, fmt.Sprint(i))
	}
	first := one.receive()
	two := s.connectV5(id+"-2", nil)
	two.subscribeOne("$share/g/"+id, 1)
	one.write(codec.AppendUnsubscribe(nil, &codec.Unsubscribe{PacketID: 3}, []codec.View{codec.View("$share/g/" + id)}, codec.Version5))
	one.expect(codec.TypeUnsuback)
	for _, want := range []string{"1", "2", "3", "4"} {
		m := two.receive()
		if string(m.Payload) != want {
			t.Errorf("%q, expected %q", m.Payload, want)
		}
		two.ack(codec.TypePuback, m.PacketID)
	}
	one.ack(codec.TypePuback, first.PacketID)
	one.quiet()
	two.quiet()
}

// TestNoMemberSwallowsMessages: members of a Shared Subscription come and go while
// it is published to; all that is acknowledged comes to one of them.
func TestNoMemberSwallowsMessages(t *testing.T) { timeless(t, testNoMemberSwallowsMessages) }

func testNoMemberSwallowsMessages(t *testing.T) {
	s := newFixtureWith(t)
	const messages, filter = 3000, "$share/g/x"
	got := make(chan string, messages)
	stays, _ := s.connectAs(codec.Version5, "stays", nil)
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
				nc, server := newSimConn(0, 1)
				go s.b.ServeConn(&memoryConn{server})
				b, _ := codec.AppendConnect(nil, &codec.Connect{ClientID: codec.View(fmt.Sprint("goes", i)), CleanStart: true, ReceiveMaximum: 65535}, codec.Version5)
				b, _ = codec.AppendSubscribe(b, &codec.Subscribe{PacketID: 1}, []codec.Subscription{{Filter: codec.View(filter), QoS: 1}}, codec.Version5)
				_, _ = nc.Write(b)
				_, _ = nc.Read(make([]byte, 64)) // it acknowledges nothing: others get all that it was sent
				_ = nc.Close()
			}
		})
	}
	pub, _ := s.connectAs(codec.Version5, "pub", nil)
	for i := range messages {
		if r := pub.publish1(1, "x", fmt.Sprint(i)); r >= 0x80 {
			t.Fatalf("PUBACK %v", r)
		}
	}
	over.Store(true)
	churn.Wait()
	seen := make(map[string]bool)
	for deadline := time.After(patience); len(seen) < messages; {
		select {
		case m := <-got:
			seen[m] = true
		case <-deadline:
			t.Fatalf("%d of %d messages came; no_member %v, session_ended %v", len(seen), messages,
				s.metric(`promptmq_messages_dropped_total{reason="no_member"}`), s.metric(`promptmq_messages_dropped_total{reason="session_ended"}`))
		}
	}
}
