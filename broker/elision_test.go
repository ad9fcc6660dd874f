package broker_test

import (
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// TestPubackWithoutCommit: while the disk does not answer, a message that every
// durable receiver has acknowledged is acknowledged to the publisher; one that
// is still to be acknowledged by one of them, or is kept as the retained
// message, is not.
func TestPubackWithoutCommit(t *testing.T) {
	f := newFixture(t)
	busy, pub := f.connect("busy"), f.connect("pub")
	one, two := f.connect("one"), f.connect("two")
	for _, s := range []*peer{one, two} {
		s.subscribe(1, "t", 1)
		s.expect(codec.TypeSuback)
	}
	one.subscribe(2, "kept", 1)
	one.expect(codec.TypeSuback)
	absent := f.connect("absent")
	absent.subscribe(1, "stored", 1)
	absent.expect(codec.TypeSuback)
	_ = absent.Close()
	take := func(s *peer) {
		t.Helper()
		var p codec.Publish
		if err := p.Decode(s.expect(codec.TypePublish), codec.Version5); err != nil {
			t.Fatal(err)
		}
		s.ack(codec.TypePuback, p.PacketID)
	}

	open := f.store.close()
	defer open()
	busy.publish(1, 1, "stored", "occupies the disk")
	<-f.store.entered
	pub.publish(1, 1, "t", "to both")
	take(one)
	one.quiet()
	pub.quiet() // the other has not acknowledged it
	take(two)
	pub.expect(codec.TypePuback)

	pub.write(codec.AppendPublish(nil, &codec.Publish{QoS: 1, PacketID: 2, Retain: true, Topic: codec.View("kept")}, codec.Version5))
	take(one)
	one.quiet()
	pub.quiet()
	busy.quiet()
	open()
	pub.expect(codec.TypePuback)
	busy.expect(codec.TypePuback)
}
