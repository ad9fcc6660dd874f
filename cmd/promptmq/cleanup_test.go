package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

const (
	droppedExpired = `promptmq_messages_dropped_total{reason="expired"}`
	droppedTooOld  = `promptmq_messages_dropped_total{reason="too_old"}`
)

// publishExpiring publishes numbers, of which the even ones expire.
func publishExpiring(p *raw, n int, seconds uint32) {
	p.t.Helper()
	for i := range n {
		pub := codec.Publish{QoS: 1, PacketID: 1, Topic: codec.View("t"), Payload: codec.View(fmt.Sprintf("%-200d", i))}
		pub.HasMessageExpiry, pub.MessageExpirySeconds = i%2 == 0, seconds
		p.publish(pub)
		if i%50 == 49 || i == n-1 {
			for range i%50 + 1 {
				p.ack(codec.TypePuback)
			}
		}
	}
}

// testMaxMessageAge: what has been queued for that long goes, and makes room;
// what is in flight and what is retained stays. Each step is done long before
// the age is reached.
func testMaxMessageAge(t *testing.T, s *server) {
	busy := v5Of(t, s, "busy", func(c *codec.Connect) { lasting(c); c.ReceiveMaximum = 1 })
	busy.subscribeOne("t", 1)
	absent(t, s, "sub", "t")
	pub := v5Of(t, s, "pub", nil)
	pub.publish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View("kept"), Payload: codec.View("0")})
	pub.ack(codec.TypePuback)
	began := time.Now()
	publishRange(pub, "t", 0, 5, 10)
	if r := pub.publish1(1, "t", "5"); r != codec.QuotaExceeded {
		t.Errorf("to a full queue: %v", r)
	}
	inflight := busy.receive()
	eventually(t, "they are too old", func() bool { return s.metric("promptmq_queued_messages") == 1 })
	if d := time.Since(began); d < 8*time.Second {
		t.Errorf("removed after %v", d)
	}
	if n := s.metric(droppedTooOld); n != 9 {
		t.Errorf("%v counted", n)
	}
	publishRange(pub, "t", 5, 6, 10)
	busy.sendAck(codec.TypePuback, inflight.PacketID)
	busy.expectRange(5, 6)
	v5Of(t, s, "sub", resumed).expectRange(5, 6)
	fresh := v5Of(t, s, "fresh", nil)
	fresh.subscribeOne("kept", 1)
	fresh.expectRange(0, 1)
}

// testCleanupInterval: not before its time, which the default of an hour shows.
func testCleanupInterval(t *testing.T, s *server) {
	eventually(t, "three cleanups", func() bool { return s.metric("promptmq_cleanup_runs_total") >= 3 })
	other := start(t, "")
	absent(t, other, "sub", "t")
	publishExpiring(v5Of(t, other, "pub", nil), 1, 1)
	runs := s.metric("promptmq_cleanup_runs_total")
	eventually(t, "more than a second's worth", func() bool { return s.metric("promptmq_cleanup_runs_total") > runs+15 })
	if n, q := other.metric("promptmq_cleanup_runs_total"), other.metric("promptmq_queued_messages"); n != 1 || q != 1 {
		t.Errorf("%v cleanups in the first hour, %v queued", n, q)
	}
}

// testCleanupBatch counts the commits of one cleanup.
func testCleanupBatch(t *testing.T, _ *server) {
	commits := func(yaml string) float64 {
		s := start(t, "storage: {cleanup: {"+yaml+"}}")
		absent(t, s, "sub", "t")
		pub := v5Of(t, s, "pub", nil)
		for range 30 { // one by one, for each to be a row of its own
			publishExpiring(pub, 1, 1)
		}
		ended := time.Now().Add(1100 * time.Millisecond)
		s.stop()
		eventually(t, "they have expired", func() bool { return time.Now().After(ended) })
		s.restart()
		eventually(t, "they are removed", func() bool { return s.metric(droppedExpired) == 30 && s.metric("promptmq_cleanup_runs_total") > 0 })
		return s.metric("promptmq_store_commits_total")
	}
	if n := commits("batch-size: 5"); n < 6 {
		t.Errorf("%v commits for 30 messages, 5 at a time", n)
	}
	if n := commits("batch-size: 100"); n > 3 {
		t.Errorf("%v commits for 30 messages, 100 at a time", n)
	}
}
