package broker_test

import (
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// TestStalledDiskKeepsNothingAcknowledged: while the disk does not answer, messages
// that a durable session acknowledges at once are acknowledged to their publisher,
// and leave nothing in memory, however many they are.
func TestStalledDiskKeepsNothingAcknowledged(t *testing.T) {
	timeless(t, testStalledDiskKeepsNothingAcknowledged)
}

func testStalledDiskKeepsNothingAcknowledged(t *testing.T) {
	s := newFixtureWith(t)
	sub := s.connectV5("sub", lasting)
	sub.subscribeOne("t", 1)
	pub := s.connectV5("pub", nil)
	open := s.store.close()
	defer open()
	s.connectV5("other", nil).sendPublish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View("kept"), Payload: codec.View("x")})
	<-s.store.entered
	const n, most = 6000, 2500
	for i := range n {
		pub.sendPublish(codec.Publish{QoS: 1, PacketID: 1, Topic: codec.View("t"), Payload: codec.View("x")})
		m := sub.receive()
		sub.ack(codec.TypePuback, m.PacketID)
		if r := pub.acked(codec.TypePuback).Reason; r != codec.Success {
			t.Fatalf("message %d: %v", i, r)
		}
	}
	if held := s.metric("promptmq_store_open_entries"); held > most {
		t.Errorf("%v entries are in memory after %d messages", held, n)
	}
}
