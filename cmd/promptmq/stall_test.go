package main

import (
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// TestStalledDiskKeepsNothingAcknowledged: while the disk does not answer, messages
// that a durable session acknowledges at once are acknowledged to their publisher,
// and leave nothing in memory, however many they are.
func TestStalledDiskKeepsNothingAcknowledged(t *testing.T) {
	t.Parallel()
	s := startBinary(t, controlBinary(t), []string{"BREAK_RULES=disk-stalls"}, "")
	sub := v5Of(t, s, "sub", lasting)
	sub.subscribeOne("t", 1)
	pub := v5Of(t, s, "pub", nil)
	v5Of(t, s, "other", nil).publish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View("kept"), Payload: codec.View("x")})
	eventually(t, "the disk stalls", func() bool { return s.metric("promptmq_store_commit_waiting_seconds") > 0 })
	const n, most = 6000, 2500
	for i := range n {
		pub.publish(codec.Publish{QoS: 1, PacketID: 1, Topic: codec.View("t"), Payload: codec.View("x")})
		m := sub.receive()
		sub.sendAck(codec.TypePuback, m.PacketID)
		if r := pub.ack(codec.TypePuback).Reason; r != codec.Success {
			t.Fatalf("message %d: %v", i, r)
		}
	}
	if held := s.metric("promptmq_store_open_entries"); held > most {
		t.Errorf("%v entries are in memory after %d messages", held, n)
	}
	s.kill()
}
