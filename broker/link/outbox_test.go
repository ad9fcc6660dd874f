package link

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// TestHeldAwaitsCommit: what awaits a commit is written after it, in the order in
// which it was queued; what promises nothing goes ahead.
func TestHeldAwaitsCommit(t *testing.T) {
	b := newBench(t, -1)
	if b.held(1, Hold{Commit: 0}) {
		t.Error("what awaits nothing is held")
	}
	if !b.held(2, Hold{Commit: 1}) || !b.held(3, Hold{Commit: 2}) || !b.held(4, Hold{}) || !b.held(5, Hold{Commit: 1}) {
		t.Error("it is not held")
	}
	b.now(6)
	b.expect("1 6")
	if n := b.out.Held(); n != 4 {
		t.Errorf("%d packets are held, expected 4", n)
	}
	b.disk.commit(1)
	b.expect("1 6 2")
	b.disk.commit(2)
	b.expect("1 6 2 3 4 5")
	if b.held(7, Hold{Commit: 2}) {
		t.Error("it is held after its commit")
	}
	b.expect("1 6 2 3 4 5 7")
	if n := b.out.Held(); n != 0 {
		t.Errorf("%d packets are held, expected none", n)
	}
}

// TestReceiptReplacesCommit: a receipt lets its packet go, and those behind it only if
// they may go too.
func TestReceiptReplacesCommit(t *testing.T) {
	b := newBench(t, -1)
	first, third := new(receipt), new(receipt)
	b.held(1, Hold{Commit: 1, Receipt: first})
	b.held(2, Hold{Commit: 1})
	b.held(3, Hold{Commit: 1, Receipt: third})
	third.complete.Store(true)
	b.p.Add(b.out)
	b.expect("") // 3 may not overtake
	first.complete.Store(true)
	b.p.Add(b.out)
	b.expect("1")
	b.disk.commit(1)
	b.expect("1 2 3")
}

// TestQoS2IsHeld: a QoS 2 message awaits its commit and counts as sent when that lets
// it go; others go ahead and count at once.
func TestQoS2IsHeld(t *testing.T) {
	b := newBench(t, -1)
	sent := func(want ...uint64) {
		t.Helper()
		for qos, n := range want {
			if got := b.m.MessagesSent[qos].Get(); got != n {
				t.Errorf("%d messages with QoS %d are counted as sent, expected %d", got, qos, n)
			}
			if got := b.m.MessageBytesSent[qos].Get(); got != 2*n {
				t.Errorf("%d bytes with QoS %d are counted as sent, expected %d", got, qos, 2*n)
			}
		}
	}
	b.publish(2, "t", "m1", 1)
	b.publish(1, "t", "m2", 0)
	b.publish(0, "t", "m3", 1)
	b.offer("t", "m4")
	b.expect("m2@t#0 m3@t#0 m4@t#0")
	sent(2, 1, 0)
	b.disk.commit(1)
	b.expect("m2@t#0 m3@t#0 m4@t#0 m1@t#0")
	sent(2, 1, 1)
	b.publish(2, "t", "m5", 1)
	b.expect("m2@t#0 m3@t#0 m4@t#0 m1@t#0 m5@t#0")
	sent(2, 1, 2)

	b.publish(2, "t", "m6", 2)
	b.out.Close(nil)
	b.disk.commit(2)
	sent(2, 1, 2) // it was dropped
}

// TestQoS1KeepsOrder: a QoS 1 message that awaits a commit is held, and those after it
// too; when it is released they go at once again.
func TestQoS1KeepsOrder(t *testing.T) {
	b := newBench(t, -1)
	b.publish(1, "t", "m1", 1)
	b.publish(1, "t", "m2", 0)
	b.publish(0, "t", "m3", 0)
	b.expect("m3@t#0")
	b.held(1, Hold{Commit: 2})
	b.disk.commit(1)
	b.publish(1, "t", "m4", 0)
	b.expect("m3@t#0 m1@t#0 m2@t#0 m4@t#0")
	if n := b.m.MessagesSent[1].Get(); n != 3 {
		t.Errorf("%d messages with QoS 1 are counted as sent, expected 3", n)
	}
}

// TestAliasOrder: an alias that only a held packet sets is not used by what goes ahead
// of that.
func TestAliasOrder(t *testing.T) {
	b := newBench(t, -1)
	b.out.SetClient(codec.Version5, 2, 0, time.Time{})
	b.publish(2, "topic/a", "a1", 1)
	b.publish(2, "topic/a", "a2", 1)
	b.publish(0, "topic/a", "a3", 0) // sets it too
	b.publish(1, "topic/a", "a4", 0)
	b.publish(2, "topic/b", "b1", 2)
	b.publish(2, "topic/c", "c1", 2) // there is no third
	b.expect("a3@topic/a#1 a4@#1")
	b.disk.commit(1)
	b.publish(0, "topic/b", "b2", 0)
	b.publish(0, "topic/a", "a5", 0)
	b.expect("a3@topic/a#1 a4@#1 a1@topic/a#1 a2@#1 b2@topic/b#2 a5@#1")
	b.disk.commit(2)
	b.publish(0, "topic/b", "b3", 0)
	b.expect("a3@topic/a#1 a4@#1 a1@topic/a#1 a2@#1 b2@topic/b#2 a5@#1 b1@topic/b#2 c1@topic/c#0 b3@#2")
}

// TestAliasFits: an alias that would make the packet too large is neither used nor set.
func TestAliasFits(t *testing.T) {
	b := newBench(t, -1)
	b.out.SetClient(codec.Version5, 2, 16, time.Time{})
	m := codec.Publish{Topic: codec.View("t"), Payload: codec.View("0123456789")} // 16 bytes
	b.out.QueuePublish(&b.p, &m, 0)
	m.Payload = m.Payload[:7]
	b.out.QueuePublish(&b.p, &m, 0)
	b.out.QueuePublish(&b.p, &m, 0)
	b.expect("0123456789@t#0 0123456@t#1 0123456@#1")
	if string(m.Topic) != "t" || m.TopicAlias != 0 {
		t.Error("the message was changed")
	}
}

// TestLimits: each limit stops the reader, and half of it lets it go on.
func TestLimits(t *testing.T) {
	for _, limit := range []struct {
		name string
		room int // of the wire
		fill func(b *bench, id uint16)
		most int // times that fill is called
		free func(b *bench, times int)
	}{
		{"bytes", 0, func(b *bench, _ uint16) { b.publish(1, "t", strings.Repeat("x", 1<<15), 0); b.flush() }, 32,
			func(b *bench, times int) { b.wire.take((times/2 + 1) * (1<<15 + 100)) }},
		{"held packets", -1, func(b *bench, id uint16) { b.held(id, Hold{Commit: uint64(id)}) }, HeldPacketsMax,
			func(b *bench, times int) { b.disk.commit(uint64(times/2 + 1)) }},
		{"answered bytes", -1, func(b *bench, id uint16) { b.held(id, Hold{Commit: uint64(id), Answered: 1 << 20}) }, 4,
			func(b *bench, times int) { b.disk.commit(uint64(times/2 + 1)) }},
	} {
		t.Run(limit.name, func(t *testing.T) {
			virtual(t, limit.room, func(t *testing.T, b *bench) {
				times := 0
				for ; b.out.Room() == nil; times++ {
					if times > limit.most {
						t.Fatalf("there is room after %d times", times)
					}
					limit.fill(b, uint16(times+1))
				}
				if times < limit.most/2 {
					t.Errorf("no room after %d times", times)
				}
				toRead, toFeed, woken := b.out.RoomToRead(), b.out.Room(), b.out.Woken()
				limit.free(b, times)
				synctest.Wait()
				for _, room := range []<-chan struct{}{toRead, toFeed, woken} {
					select {
					case <-room:
					default:
						t.Error("who waits is not told that there is room")
					}
				}
				if b.out.Room() != nil || b.out.RoomToRead() != nil {
					t.Error("there is no room")
				}
			})
		})
	}
}

// TestOfferIsBounded: what may be dropped is, as soon as too much waits; the rest is not.
func TestOfferIsBounded(t *testing.T) {
	b := newBench(t, 0)
	payload := strings.Repeat("x", 1<<16)
	for range 16 {
		if b.offer("t", payload) != Taken {
			t.Fatal("dropped before the limit")
		}
	}
	if b.offer("t", "x") != Full {
		t.Error("accepted beyond the limit")
	}
	if b.publish(0, "t", "x", 0) != Taken || b.publish(1, "t", "x", 0) != Taken || !b.now(1) {
		t.Error("what may not be dropped is")
	}
	b.out.Close(nil)
	if b.offer("t", "x") != Closing || b.publish(1, "t", "x", 0) != Closing || b.publish(2, "t", "x", 1) != Closing || b.now(1) || b.held(1, Hold{Commit: 1}) {
		t.Error("accepted when it is closing")
	}
	b.out.Abort()
}

// TestInterrupt: the reader is woken and waits no more, others still do.
func TestInterrupt(t *testing.T) {
	b := newBench(t, 0)
	b.publish(1, "t", strings.Repeat("x", OutBytesMax), 0)
	room := b.out.RoomToRead()
	b.out.Wake()
	<-room
	room = b.out.RoomToRead()
	if room == nil {
		t.Fatal("there is room after Wake")
	}
	b.out.Interrupt()
	<-room
	if b.out.RoomToRead() != nil || b.out.Woken() != nil {
		t.Error("the reader waits")
	}
	feeding := b.out.Room()
	if feeding == nil {
		t.Error("who feeds does not wait")
	}
	b.out.Abort()
	<-feeding
	if b.out.Room() != nil {
		t.Error("who feeds waits for a closed connection")
	}
}

// TestCredits: a credit comes back when its packet is released, not before, and once.
func TestCredits(t *testing.T) {
	b := newBench(t, -1)
	b.held(1, Hold{Credit: true}) // is not held: the caller has it back at once
	b.held(2, Hold{Commit: 1, Credit: true})
	b.held(3, Hold{Commit: 1})
	b.held(4, Hold{Commit: 2, Credit: true})
	b.flush()
	for _, step := range []struct {
		commit uint64
		want   int32
	}{{0, 0}, {1, 1}, {1, 0}, {2, 1}} {
		if b.disk.commit(step.commit); b.out.TakeCredits() != step.want {
			t.Errorf("after commit %d there are not %d credits", step.commit, step.want)
		}
	}
}

// TestRipe: an outbox that has gathered enough says so.
func TestRipe(t *testing.T) {
	b := newBench(t, -1)
	b.now(1)
	if b.p.Ripe() || b.p.Len() != 1 {
		t.Error("it is ripe with one small packet, or listed more than once")
	}
	b.publish(0, "t", strings.Repeat("x", 32<<10), 0)
	if !b.p.Ripe() {
		t.Error("it is not ripe with more than a write buffer")
	}
	b.p.Received(&codec.Publish{QoS: 1, Payload: codec.View("four")})
	b.flush()
	if b.p.Ripe() || b.p.Len() != 0 {
		t.Error("it is ripe, or listed, when it was flushed")
	}
	if n, bytes := b.m.MessagesReceived[1].Get(), b.m.MessageBytesReceived[1].Get(); n != 1 || bytes != 4 {
		t.Errorf("%d messages with %d bytes are counted as received", n, bytes)
	}
}

// TestAllocations: a round of all kinds of packets takes no memory.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector empties pools at random")
	}
	b := newBench(t, -1)
	b.wire.onWrite = func([]byte) { b.wire.written = b.wire.written[:0] }
	b.out.SetClient(codec.Version5, 4, 0, time.Time{})
	var waiting []interface{ Committed() }
	b.out.config.Commits = &lastWaiter{disk: b.disk, waiting: &waiting}
	done := new(receipt)
	done.complete.Store(true)
	group := uint64(0)
	m := codec.Publish{Topic: codec.View("some/topic"), Payload: make([]byte, 64), PacketID: 1}
	round := func() {
		group++
		for i := range uint16(16) {
			for m.QoS = range codec.QoS(3) {
				b.out.QueuePublish(&b.p, &m, group)
			}
			m.QoS = 0
			b.out.OfferPublish(&b.p, &m)
			b.held(i, Hold{Commit: group, Answered: 64, Credit: true, Receipt: done})
			b.now(i)
		}
		b.flush()
		b.disk.committed.Store(group)
		for _, w := range waiting {
			w.Committed()
		}
		waiting = waiting[:0]
		if b.out.TakeCredits() != 16 || b.out.Held() != 0 {
			t.Fatal("not all was released")
		}
	}
	for range 100 {
		round()
	}
	if n := testing.AllocsPerRun(1000, round); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// A lastWaiter is a disk that takes no memory.
type lastWaiter struct {
	*disk
	waiting *[]interface{ Committed() }
}

func (l *lastWaiter) Await(_ uint64, w interface{ Committed() }) bool {
	*l.waiting = append(*l.waiting, w)
	return true
}

func BenchmarkOutbox(b *testing.B) {
	f := newBench(b, -1)
	f.wire.onWrite = func([]byte) { f.wire.written = f.wire.written[:0] }
	m := codec.Publish{QoS: 1, Topic: codec.View("some/topic"), Payload: make([]byte, 64), PacketID: 1}
	b.Run("message", func(b *testing.B) {
		b.ReportAllocs()
		for n := 0; n < b.N; n += 16 {
			for range 16 {
				f.out.QueuePublish(&f.p, &m, 0)
			}
			f.flush()
		}
	})
	b.Run("held acknowledgement", func(b *testing.B) {
		b.ReportAllocs()
		var waiting []interface{ Committed() }
		f.out.config.Commits = &lastWaiter{disk: f.disk, waiting: &waiting}
		for n := 0; n < b.N; n += 16 {
			group := f.disk.committed.Load() + 1
			for range 16 {
				f.held(1, Hold{Commit: group, Answered: 64, Credit: true})
			}
			f.flush()
			f.disk.committed.Store(group)
			f.out.Committed()
			waiting = waiting[:0]
		}
	})
}
