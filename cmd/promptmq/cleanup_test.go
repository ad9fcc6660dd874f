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

// testMaxMessageAge: package broker has what stays.
func testMaxMessageAge(t *testing.T, s *server) {
	absent(t, s, "sub", "t")
	began := time.Now()
	publishRange(v5Of(t, s, "pub", nil), "t", 0, 5, 10)
	eventually(t, "they are too old", func() bool { return s.metric(droppedTooOld) == 5 })
	if d := time.Since(began); d < 2*time.Second {
		t.Errorf("removed after %v", d)
	}
	v5Of(t, s, "sub", resumed).quiet()
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
