package broker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/codec"
)

// rowsAtOnce is more rows than one transaction removes, and fewer than the
// tests have to remove.
const rowsAtOnce = 700

// fillRows gives an absent session a queue of n messages, each a row of its own,
// and so many subscriptions beside. Every second message expires.
func fillRows(t *testing.T, s *fixture, id string, n, subs int, expiry uint32) {
	t.Helper()
	p := s.connectV5(id, lasting)
	p.subscribeOne("t", 1)
	for from := 0; from < subs; from += 500 {
		batch := make([]codec.Subscription, 500)
		for i := range batch {
			batch[i].Filter = codec.View(fmt.Sprintf("f/%d", from+i))
		}
		p.subscribed(batch...)
	}
	p.drop()
	pub := s.connectV5(id+"-pub", nil)
	for i := range n {
		pub.sendPublish(codec.Publish{QoS: 1, PacketID: 1, Topic: codec.View("t"), Payload: codec.View(fmt.Sprint(i)),
			HasMessageExpiry: i%2 == 1, MessageExpirySeconds: expiry})
		pub.acked(codec.TypePuback)
	}
}

// TestRemovalsHoldNobodyUp: a session with much in its queue and many
// subscriptions ends, and what has expired is removed from among what has not; no
// transaction removes more than a bounded number of rows, for all others wait for
// it. What is being removed stays removed, whatever happens to the process.
func TestRemovalsHoldNobodyUp(t *testing.T) {
	batch := func(o *broker.Options) { o.CleanupBatch = 100000 }
	bounded := func(t *testing.T, s *fixture) {
		t.Helper()
		eventually(t, "all is removed", func() bool { return s.store.Stats().RemovalsLeft == 0 })
		if n := s.store.Stats().RemovedMost; n == 0 || n > rowsAtOnce {
			t.Errorf("one transaction removed %v rows", n)
		}
	}
	t.Run("a session ends", func(t *testing.T) {
		timeless(t, func(t *testing.T) {
			s := newFixtureWith(t, batch)
			fillRows(t, s, "dev", rowsAtOnce, 4000, 86400)
			p, ack := s.connectAs(codec.Version5, "dev", nil) // a Clean Start
			if ack.SessionPresent {
				t.Error("a session after a Clean Start")
			}
			p.quiet()
			s.kill()
			s.restart()
			if n := s.metric("promptmq_sessions"); n != 0 {
				t.Errorf("%v sessions after a Clean Start and kill -9", n)
			}
			if _, ack := s.connectAs(codec.Version5, "dev", resumed); ack.SessionPresent {
				t.Error("a session that had ended is there again")
			}
			bounded(t, s)
			s.stop()
			s.restart()
			if n := s.store.Stats().RemovalsLeft; n != 0 {
				t.Errorf("%v are to be removed after all was", n)
			}
		})
	})
	t.Run("messages expire", func(t *testing.T) {
		timeless(t, func(t *testing.T) {
			s := newFixtureWith(t, batch, func(o *broker.Options) { o.CleanupInterval = 24 * time.Hour })
			const n = 2 * rowsAtOnce
			fillRows(t, s, "dev", n, 0, 100)
			s.stop()
			time.Sleep(101 * time.Second)
			s.restart() // begins with a cleanup
			eventually(t, "they are removed", func() bool { return s.metric("promptmq_queued_messages") == n/2 })
			bounded(t, s)
			s.kill()
			s.restart()
			sub := s.connectV5("dev", resumed)
			for i := 0; i < n; i += 2 {
				if got, _ := sub.takeNumber(); got != i {
					t.Fatalf("message %d in the place of %d", got, i)
				}
			}
			sub.quiet()
			sub.drop()
			bounded(t, s)
		})
	})
}
