package broker_test

import (
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// At its limit too, a store lets retained messages be removed, although a queue
// must take the message that does it; and only where there is one.
func TestMaxSizeClears(t *testing.T) { timeless(t, testMaxSizeClears) }

func testMaxSizeClears(t *testing.T) {
	s := newFixtureMax(t, 1<<20)
	s.absent("away", "#")
	pub := s.connectV5("pub", nil)
	retain := func(payload string) codec.ReasonCode {
		pub.sendPublish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View("kept"), Payload: codec.View(payload)})
		return pub.acked(codec.TypePuback).Reason
	}
	if r := retain("x"); r != codec.Success {
		t.Fatal(r)
	}
	for _, bytes := range []int{40000, 1500, 1} {
		for pub.publish1(1, "t", strings.Repeat("x", bytes)) == codec.Success {
		}
	}
	if r := retain(""); r != codec.Success {
		t.Errorf("removing: %v", r)
	}
	if r := retain(""); r != codec.QuotaExceeded {
		t.Errorf("removing nothing: %v", r)
	}
	late := s.connectV5("late", nil)
	late.subscribeOne("kept", 0)
	late.quiet()
}

// What a queue took on disk is given back when it is drained, without a restart.
func TestFileShrinks(t *testing.T) { timeless(t, testFileShrinks) }

func testFileShrinks(t *testing.T) {
	s := newFixtureWith(t)
	sub, _ := s.connectAs(codec.Version5, "sub", lasting)
	sub.subscribeOne("q", 1)
	sub.drop()
	pub, _ := s.connectAs(codec.Version5, "pub", nil)
	const messages = 200
	for range messages {
		if r := pub.publish1(1, "q", strings.Repeat("x", 100_000)); r != codec.Success {
			t.Fatal(r)
		}
	}
	size := func() int64 {
		stats := s.store.Stats()
		return stats.FileBytes + stats.WALBytes
	}
	full := size()
	sub, _ = s.connectAs(codec.Version5, "sub", resumed)
	for range messages {
		sub.ack(codec.TypePuback, sub.receive().PacketID)
	}
	eventually(t, "the file is smaller", func() bool { return size() < full/2 })
	if full < messages*100_000 {
		t.Errorf("%d bytes when it was full", full)
	}
}
