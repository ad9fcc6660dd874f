package broker_test

import (
	"fmt"
	"testing"

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
