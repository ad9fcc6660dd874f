package broker_test

import (
	"cmp"
	"fmt"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/codec"
)

const (
	droppedExpired = `promptmq_messages_dropped_total{reason="expired"}`
	droppedTooOld  = `promptmq_messages_dropped_total{reason="too_old"}`
)

// TestCleanup: expired and old messages of sessions that never return are
// removed from memory and from disk, among others that stay, and are counted;
// nothing is removed because of its age if nobody asked for it.
func TestCleanup(t *testing.T) {
	for name, c := range map[string]struct {
		batch   int  // 0: as ever
		n       int  // messages, every second of which expires
		restart bool // before they expire: then they are on disk only
	}{
		"in memory":            {n: 20},
		"on disk":              {n: 1500},
		"after a restart":      {n: 1500, restart: true},
		"in batches of one":    {n: 20, batch: 1, restart: true},
		"in batches of eleven": {n: 600, batch: 11},
	} {
		t.Run(name, func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				s := newFixtureWith(t, func(o *broker.Options) {
					o.CleanupInterval, o.CleanupBatch = 50*time.Second, cmp.Or(c.batch, o.CleanupBatch)
				})
				eventually(t, "the first cleanup", func() bool { return s.metric("promptmq_cleanup_runs_total") > 0 })
				s.absent("sub", "t")
				s.absent("sub2", "t") // so that messages are shared on disk
				s.connectV5("pub", nil).publishExpiring(c.n, 100)
				if c.restart {
					s.stop()
					s.restart()
				}
				time.Sleep(99 * time.Second)
				if n := s.metric("promptmq_queued_messages"); n != float64(4*c.n/2) {
					t.Errorf("%v messages before they expire", n)
				}
				eventually(t, "what has expired is removed", func() bool { return s.metric("promptmq_queued_messages") == float64(c.n) })
				if n := s.metric(droppedExpired); n != float64(c.n) {
					t.Errorf("%v counted", n)
				}
				if n := s.metric(droppedTooOld); n != 0 {
					t.Errorf("%v were too old without a limit", n)
				}
				time.Sleep(100 * time.Second) // and two more cleanups
				if n := s.metric("promptmq_queued_messages"); n != float64(c.n) {
					t.Errorf("%v messages after the next cleanup", n)
				}
				s.kill() // what was removed is removed on disk: the next process has nothing to do
				s.restart(func(o *broker.Options) { o.CleanupInterval = 24 * time.Hour })
				eventually(t, "the first cleanup", func() bool { return s.metric("promptmq_cleanup_runs_total") == 1 })
				if n, q := s.metric(droppedExpired), s.metric("promptmq_queued_messages"); n != 0 || q != float64(c.n) {
					t.Errorf("after kill -9 %v were removed again, and %v are queued", n, q)
				}
				for _, id := range []string{"sub", "sub2"} {
					sub := s.connectV5(id, resumed)
					for i := 1; i < c.n; i += 2 {
						if n, _ := sub.takeNumber(); n != i {
							t.Fatalf("message %d in the place of %d", n, i)
						}
					}
					sub.quiet()
				}
			})
		})
	}
}

// publishExpiring publishes numbers, of which the even ones expire.
func (p *peer) publishExpiring(n int, seconds uint32) {
	p.t.Helper()
	for i := range n {
		pub := codec.Publish{QoS: 1, PacketID: 1, Topic: codec.View("t"), Payload: codec.View(fmt.Sprintf("%-200d", i))}
		pub.HasMessageExpiry, pub.MessageExpirySeconds = i%2 == 0, seconds
		p.sendPublish(pub)
		if i%50 == 49 || i == n-1 {
			for range i%50 + 1 {
				p.acked(codec.TypePuback)
			}
		}
	}
}

// TestMaxMessageAge: what has been queued for that long goes, and makes room;
// what is in flight and what is retained stays.
func TestMaxMessageAge(t *testing.T) { timeless(t, testMaxMessageAge) }

func testMaxMessageAge(t *testing.T) {
	s := newFixtureWith(t, func(o *broker.Options) {
		o.QueuePolicy, o.MaxQueuedMessages = "reject", 5
		o.MaxMessageAge, o.CleanupInterval = 8*time.Second, 100*time.Millisecond
	})
	busy := s.connectV5("busy", func(c *codec.Connect) { lasting(c); c.ReceiveMaximum = 1 })
	busy.subscribeOne("t", 1)
	s.absent("sub", "t")
	pub := s.connectV5("pub", nil)
	pub.sendPublish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View("kept"), Payload: codec.View("0")})
	pub.acked(codec.TypePuback)
	began := time.Now()
	pub.publishRange("t", 0, 5, 10)
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
	pub.publishRange("t", 5, 6, 10)
	busy.ack(codec.TypePuback, inflight.PacketID)
	busy.expectRange(5, 6)
	s.connectV5("sub", resumed).expectRange(5, 6)
	fresh := s.connectV5("fresh", nil)
	fresh.subscribeOne("kept", 1)
	fresh.expectRange(0, 1)
}
