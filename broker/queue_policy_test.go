package broker_test

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/codec"
)

const (
	droppedNewest = `promptmq_messages_dropped_total{reason="queue_full_newest"}`
	droppedOldest = `promptmq_messages_dropped_total{reason="queue_full_oldest"}`
)

// TestDropOldestKeepsWhatIsInFlight: only what was never sent makes room.
func TestDropOldestKeepsWhatIsInFlight(t *testing.T) {
	for name, connect := range map[string]func(*codec.Connect){
		"durable":  func(c *codec.Connect) { lasting(c); c.ReceiveMaximum = 2 },
		"volatile": func(c *codec.Connect) { c.ReceiveMaximum = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				s := newFixtureWith(t, func(o *broker.Options) { o.QueuePolicy = "drop-oldest"; o.MaxQueuedMessages = 4 })
				sub := s.connectV5("sub", connect)
				sub.subscribeOne("t", 1)
				pub := s.connectV5("pub", nil)
				pub.publishRange("t", 0, 1000, 10)
				for want := range 2 {
					if n := sub.receive().Payload.String(); strings.TrimSpace(n) != fmt.Sprint(want) {
						t.Errorf("%q in flight, expected %d", n, want)
					}
				}
				// A message may be acknowledged a moment before what it has dropped is counted.
				eventually(t, "996 are counted", func() bool { return s.metric(droppedOldest) == 996 })
				sub.ack(codec.TypePuback, 2)
				if n, dup := sub.takeNumber(); n != 998 || dup {
					t.Errorf("then %d, DUP %v", n, dup)
				}
				sub.expectRange(999, 1000)
				if name == "volatile" {
					return
				}
				sub.drop()
				pub.publishRange("t", 1000, 1010, 10)
				sub = s.connectV5("sub", resumed)
				if n, dup := sub.takeNumber(); n != 0 || !dup {
					t.Errorf("after the reconnection %d, DUP %v", n, dup)
				}
				sub.expectRange(1007, 1010)
			})
		})
	}
	t.Run("all of them", func(t *testing.T) {
		timeless(t, func(t *testing.T) {
			s := newFixtureWith(t, func(o *broker.Options) { o.QueuePolicy = "drop-oldest"; o.MaxQueuedMessages = 4 })
			sub := s.connectV5("sub", lasting)
			sub.subscribeOne("t", 1)
			s.connectV5("pub", nil).publishRange("t", 0, 6, 10)
			eventually(t, "two are counted as the newest", func() bool { return s.metric(droppedNewest) == 2 })
			if n := s.metric(droppedOldest); n != 0 {
				t.Errorf("%v counted as the oldest", n)
			}
			sub.expectRange(0, 4)
		})
	})
}

// TestDroppedWithTheSession: what a Session leaves unsent when it ends is counted.
func TestDroppedWithTheSession(t *testing.T) { timeless(t, testDroppedWithTheSession) }

func testDroppedWithTheSession(t *testing.T) {
	s := newFixtureWith(t)
	count := func() float64 { return s.metric(`promptmq_messages_dropped_total{reason="session_ended"}`) }
	narrow := func(c *codec.Connect) { c.ReceiveMaximum = 2 }
	pub := s.connectV5("pub", nil)
	for i, connect := range []func(*codec.Connect){narrow, func(c *codec.Connect) { narrow(c); lasting(c) }} {
		sub := s.connectV5("sub", connect)
		sub.subscribeOne("t", 1)
		pub.publishRange("t", 0, 1000, 10)
		sub.drop()
		if i == 1 { // the stored Session ends when another takes its place
			s.connectV5("sub", nil).drop()
		}
		eventually(t, "what was never sent is counted", func() bool { return count() == float64(998*(i+1)) })
	}
	s.connectV5("sub", nil).drop() // nothing was queued
	if n := count(); n != 2*998 {
		t.Errorf("%v counted", n)
	}
}

// TestDropOldestOnDisk: the oldest messages are on disk only, before and after
// kill -9, and what is left is the newest, in order.
func TestDropOldestOnDisk(t *testing.T) { timeless(t, testDropOldestOnDisk) }

func testDropOldestOnDisk(t *testing.T) {
	const room = 1500
	s := newFixtureWith(t, func(o *broker.Options) { o.QueuePolicy, o.MaxQueuedMessages = "drop-oldest", room })
	s.absent("sub", "t")
	settled := func(dropped int) {
		t.Helper()
		eventually(t, "the queue is within its limit", func() bool { return s.metric("promptmq_queued_messages") == room })
		if n, o := s.metric(droppedNewest), s.metric(droppedOldest); n != 0 || o != float64(dropped) {
			t.Errorf("%v counted as the newest and %v as the oldest, expected %d", n, o, dropped)
		}
	}
	s.connectV5("pub", nil).publishRange("t", 0, 4000, 200)
	settled(4000 - room)
	s.stop()
	s.restart()
	s.connectV5("pub", nil).publishRange("t", 4000, 4700, 200)
	settled(700)
	s.kill() // removals that nobody waits for may be lost with it, and are made again
	s.restart()
	s.connectV5("pub", nil).publishRange("t", 4700, 5000, 200)
	eventually(t, "the queue is within its limit", func() bool { return s.metric("promptmq_queued_messages") == room })
	s.connectV5("sub", resumed).expectRange(5000-room, 5000)
}

// TestQueuePolicy fills the queue of an absent session, in a broker of each
// policy, beside one that takes everything.
func TestQueuePolicy(t *testing.T) {
	for _, c := range []struct {
		policy         string
		messages       int   // 0: as ever
		bytes          int64 // 0: as ever
		first, last    int   // what the full session gets
		newest, oldest float64
	}{
		{"drop-newest", 4, 0, 0, 4, 6, 0},
		{"drop-oldest", 4, 0, 6, 10, 0, 6},
		// Full is the queue that has reached 2000 bytes: with its third message.
		{"drop-newest", 0, 2000, 0, 3, 7, 0},
		{"drop-oldest", 0, 2000, 7, 10, 0, 7},
	} {
		t.Run(fmt.Sprint(c.policy, c.messages, c.bytes), func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				s := newFixtureWith(t, func(o *broker.Options) {
					o.QueuePolicy, o.MaxQueuedMessages, o.MaxQueuedBytes = c.policy, cmp.Or(c.messages, o.MaxQueuedMessages), cmp.Or(c.bytes, o.MaxQueuedBytes)
				})
				s.absent("full", "t")
				other := s.connectV5("other", nil)
				other.subscribeOne("t", 1)
				pub := s.connectV5("pub", nil)
				for i := range 10 {
					pub.publishRange("t", i, i+1, 800)
					other.expectRange(i, i+1)
				}
				if n, o := s.metric(droppedNewest), s.metric(droppedOldest); n != c.newest || o != c.oldest {
					t.Errorf("%v counted as the newest and %v as the oldest", n, o)
				}
				if n := s.metric("promptmq_queued_messages"); n != float64(c.last-c.first) {
					t.Errorf("%v in the queue", n)
				}
				s.kill()
				s.restart()
				s.connectV5("full", resumed).expectRange(c.first, c.last)
			})
		})
	}
}
