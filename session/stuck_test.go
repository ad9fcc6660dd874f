package session

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// BenchmarkRoundBehindStuck is BenchmarkRound behind a message that is never
// acknowledged.
func BenchmarkRoundBehindStuck(b *testing.B) {
	m := &Message{Topic: "t", Payload: []byte("payload"), QoS: 1}
	for _, durable := range []bool{false, true} {
		b.Run(map[bool]string{false: "volatile", true: "durable"}[durable], func(b *testing.B) {
			s := New(1, "c", "", durable, &Limits{WindowMessages: 8, WindowBytes: 1 << 20, QueueMessages: 100, QueueBytes: 1 << 20, Inflight: 20})
			var fx Effects
			s.Attach(65535, 0, start, &fx)
			s.Deliver(Entry{Message: m, QoS: 1}, start, &fx)
			b.ReportAllocs()
			for b.Loop() {
				roundQoS1(s, m, &fx)
			}
			if n := cap(s.ring); n > 1000 {
				b.Errorf("memory for %d messages", n)
			}
		})
	}
}

// TestStateOfExceptions: what a State takes for the most exceptions that there can be.
func TestStateOfExceptions(t *testing.T) {
	consecutive, random := make([]exception, packetIDs), make([]exception, packetIDs)
	r := rand.New(rand.NewPCG(1, 2))
	for i, id := range r.Perm(packetIDs) {
		consecutive[i] = exception{1e9 + uint64(i), uint16(i + 1)}
		random[i] = exception{1e9 + 200*uint64(i), uint16(id + 1)}
	}
	for _, c := range []struct {
		list []exception
		most int
	}{{consecutive, 40}, {random, 6 * packetIDs}} {
		st, again := State{Floor: 1e9, Sent: 1e10, Next: 1e10, identified: c.list}, State{}
		b := st.Append(nil)
		if err := again.Decode(b); err != nil || !slices.Equal(again.identified, c.list) {
			t.Errorf("%v, %d of %d exceptions", err, len(again.identified), len(c.list))
		}
		if len(b) > c.most {
			t.Errorf("%d bytes for %d exceptions, at most %d", len(b), len(c.list), c.most)
		}
		t.Logf("%d bytes", len(b))
	}
}

// TestDamagedExceptions: an identifier has one message, and one that is not done.
func TestDamagedExceptions(t *testing.T) {
	for name, list := range map[string][]exception{
		"0": {{5, 0}}, "twice": {{5, 7}, {6, 7}}, "the same Seq": {{5, 7}, {5, 8}}, "below the floor": {{2, 7}}, "not sent": {{9, 7}},
	} {
		st := State{Floor: 3, Sent: 9, Next: 12, identified: list}
		if err := new(State).Decode(st.Append(nil)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestExceptionsInAnyOrder: behind one that is stuck, exceptional identifiers are free
// again in whatever order their messages are acknowledged.
func TestExceptionsInAnyOrder(t *testing.T) {
	for _, durable := range []bool{false, true} {
		limits := Limits{WindowMessages: 100, WindowBytes: 1 << 20, QueueMessages: 100, QueueBytes: 1 << 20, Inflight: 20, packetIDs: 5}
		s := New(1, "c", "", durable, &limits)
		var fx Effects
		s.Attach(65535, 0, start, &fx)
		m := &Message{Topic: "t", Payload: []byte("m"), QoS: 1}
		inUse := []uint16{}
		for range 200 {
			fx.Reset()
			if s.Deliver(Entry{Message: m, QoS: 1}, start, &fx); len(fx.Sends) != 1 {
				t.Fatalf("durable %v: not sent with %d of 5 identifiers in use", durable, len(inUse))
			}
			if inUse = append(inUse, fx.Sends[0].PacketID); len(inUse) == 5 { // the first stays
				for _, i := range []int{4, 2, 3, 1} {
					if !s.ReceivePuback(inUse[i], start, &fx) {
						t.Errorf("durable %v: identifier %d is not known", durable, inUse[i])
					}
				}
				inUse = inUse[:1]
			}
		}
	}
}

// TestAllIdentifiersInUse: with none left the next message waits, whatever the send quota.
func TestAllIdentifiersInUse(t *testing.T) {
	s := New(1, "c", "", false, &Limits{WindowMessages: 8, WindowBytes: 1 << 20, QueueMessages: 100, QueueBytes: 1 << 20, Inflight: 20, packetIDs: 3})
	c := &scripted{t: t, s: s, now: start}
	c.attach(65535, 0, "")
	c.deliver("a", 1, 0, "a:1/1")
	c.deliver("b", 2, 0, "b:2/2")
	c.deliver("c", 1, 0, "c:1/3")
	c.deliver("d", 1, 0, "")
	if c.s.SendNow(&codec.Publish{QoS: 1}) {
		t.Error("another message is sent")
	}
	c.do("d:1/3", func() { c.s.ReceivePuback(3, c.now, &c.fx) })
	c.do("pubrel:2", func() { c.s.ReceivePubrec(2, codec.Success, c.now, &c.fx) })
	c.s.Detach()
	c.attach(65535, 0, "pubrel:2 a:1/1dup d:1/3dup")
	c.deliver("e", 1, 0, "")
	c.do("e:1/2", func() { c.s.ReceivePubcomp(2, c.now, &c.fx) })
	if c.s.ReceivePuback(4, c.now, &c.fx) || !c.s.ReceivePuback(1, c.now, &c.fx) || c.s.Awaits(1) != 0 || c.s.Awaits(3) != codec.TypePuback {
		t.Error("an acknowledgement is taken for another message")
	}
}
