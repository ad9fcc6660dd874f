package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

const (
	removalsPending = "promptmq_store_removals_pending"
	removedRowsMax  = "promptmq_store_removed_rows_max"
	// rowsAtOnce is more rows than one transaction removes, and fewer than the
	// tests have to remove.
	rowsAtOnce = 700
)

// fillRows gives an absent session a queue of n messages, each a row of its own,
// and so many subscriptions beside. Every second message expires.
func fillRows(t *testing.T, s *server, id string, n, subs int, expiry uint32) {
	t.Helper()
	p := v5Of(t, s, id, lasting)
	p.subscribeOne("t", 1)
	for from := 0; from < subs; from += 500 {
		batch := make([]codec.Subscription, 500)
		for i := range batch {
			batch[i].Filter = codec.View(fmt.Sprintf("f/%d", from+i))
		}
		p.subscribe(batch...)
	}
	p.drop()
	pub := v5Of(t, s, id+"-pub", nil)
	for i := range n {
		pub.publish(codec.Publish{QoS: 1, PacketID: 1, Topic: codec.View("t"), Payload: codec.View(fmt.Sprint(i)),
			HasMessageExpiry: i%2 == 1, MessageExpirySeconds: expiry})
		pub.ack(codec.TypePuback)
	}
}

// TestRemovalsHoldNobodyUp: a session with much in its queue and many
// subscriptions ends, and what has expired is removed from among what has not; no
// transaction removes more than a bounded number of rows, for all others wait for
// it. What is being removed stays removed, whatever happens to the process.
func TestRemovalsHoldNobodyUp(t *testing.T) {
	t.Parallel()
	const yaml = "storage: {sqlite: {synchronous: \"OFF\"}, cleanup: {batch-size: 100000}}"
	bounded := func(t *testing.T, s *server) {
		t.Helper()
		eventually(t, "all is removed", func() bool { return s.metric(removalsPending) == 0 })
		if n := s.metric(removedRowsMax); n == 0 || n > rowsAtOnce {
			t.Errorf("one transaction removed %v rows", n)
		}
	}
	t.Run("a session ends", func(t *testing.T) {
		t.Parallel()
		s := start(t, yaml)
		fillRows(t, s, "dev", rowsAtOnce, 4000, 86400)
		p, ack := connectRaw(t, s.mqtt, codec.Version5, "dev", nil) // a Clean Start
		if ack.SessionPresent {
			t.Error("a session after a Clean Start")
		}
		p.quiet()
		s.kill()
		s.restart()
		if n := s.metric("promptmq_sessions"); n != 0 {
			t.Errorf("%v sessions after a Clean Start and kill -9", n)
		}
		if _, ack := connectRaw(t, s.mqtt, codec.Version5, "dev", resumed); ack.SessionPresent {
			t.Error("a session that had ended is there again")
		}
		bounded(t, s)
		s.stop()
		s.restart()
		if n := s.metric(removalsPending); n != 0 {
			t.Errorf("%v are to be removed after all was", n)
		}
	})
	t.Run("messages expire", func(t *testing.T) {
		t.Parallel()
		s := start(t, yaml, "--cleanup-check-interval", "24h")
		const n = 2 * rowsAtOnce
		fillRows(t, s, "dev", n, 0, 1)
		over := time.Now().Add(1100 * time.Millisecond)
		s.stop()
		eventually(t, "they have expired", func() bool { return time.Now().After(over) })
		s.restart() // begins with a cleanup
		eventually(t, "they are removed", func() bool { return s.metric("promptmq_queued_messages") == n/2 })
		bounded(t, s)
		s.kill()
		s.restart()
		sub := v5Of(t, s, "dev", resumed)
		for i := 0; i < n; i += 2 {
			if got, _ := sub.takeNumber(); got != i {
				t.Fatalf("message %d in the place of %d", got, i)
			}
		}
		sub.quiet()
		sub.drop()
		bounded(t, s)
	})
}
