package commit

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestAwaitedGroup: what is sent is not written if it is acknowledged in time, and its
// publisher is answered at once.
func TestAwaitedGroup(t *testing.T) {
	for _, test := range []struct {
		name  string
		end   func(x *fixture)
		after time.Duration
		wrote []string
	}{
		{"acknowledged", func(x *fixture) {
			x.acknowledge(1)
			x.acknowledge(2)
		}, 0, nil},
		{"one acknowledged, then over", func(x *fixture) { x.acknowledge(1) }, ackWaitMin, []string{"[1:b]"}},
		{"none acknowledged", func(*fixture) {}, ackWaitMin, []string{"[1:a 1:b]"}},
		{"somebody must have a commit", func(x *fixture) { go func() { _ = x.c.Flush() }() }, 0, []string{"[1:a 1:b]"}},
		{"somebody awaits a message that must be written", func(x *fixture) { x.await(x.deliver("c", false, nil)) }, 0, []string{"[1:a 1:b]", "[1:c]"}},
		{"somebody awaits one that need not", func(x *fixture) { x.await(x.deliver("c", true, nil)) }, ackWaitMin, []string{"[1:a 1:b]", "[1:c]"}},
		{"the end", func(x *fixture) { x.c.End() }, 0, []string{"[1:a 1:b]"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inTime(t, func(x *fixture) {
				number := x.deliver("a", true, nil)
				x.deliver("b", true, nil)
				w := x.await(number)
				synctest.Wait()
				x.c.Enter()
				awaiting := x.c.awaiting
				x.c.Leave()
				if awaiting == nil || w.times() != 0 {
					t.Fatal("no acknowledgement is awaited")
				}
				test.end(x)
				if test.after > 0 {
					pass(test.after - 1)
					if len(x.d.wrote()) >= len(test.wrote) {
						t.Error("too early")
					}
					pass(1)
				}
				x.expectWrites(test.wrote...)
				if w.times() != 1 {
					t.Errorf("told %d times", w.times())
				}
			})
		})
	}
}

// TestAwaitedAgain: a group of which all was acknowledged before it was sealed, and to
// which more was added then, awaits the acknowledgement of that too.
func TestAwaitedAgain(t *testing.T) {
	inTime(t, func(x *fixture) {
		x.deliver("a", true, nil)
		x.acknowledge(1)
		w := x.await(x.deliver("b", true, nil))
		synctest.Wait()
		if w.times() != 0 {
			t.Error("no acknowledgement was awaited")
		}
		x.acknowledge(2)
		x.expectWrites()
		if w.times() != 1 {
			t.Errorf("told %d times", w.times())
		}
	})
}

// TestBackoff: after a vain wait the next groups are not waited for.
func TestBackoff(t *testing.T) {
	inTime(t, func(x *fixture) {
		for i, wait := range []time.Duration{ackWaitMin, 0, ackWaitMin, 0, 0, 0, ackWaitMin} {
			began := time.Now()
			w := x.await(x.deliver("a", true, nil))
			synctest.Wait()
			if w.times() == 0 {
				pass(ackWaitMin)
			}
			if d := time.Since(began); w.times() != 1 || d != wait {
				t.Errorf("group %d: told %d times after %v, expected after %v", i, w.times(), d, wait)
			}
		}
	})
}

// TestReceiptOfASealedGroup: an acknowledgement completes the Receipt of a message in
// the group that awaits it, and of one in the group after that.
func TestReceiptOfASealedGroup(t *testing.T) {
	inTime(t, func(x *fixture) {
		pub := &witness{c: x.c}
		queue := func(payload string) uint64 {
			r := NewReceipt(pub)
			number := x.deliver(payload, true, r)
			r.Add()
			r.Routed()
			return number
		}
		x.await(queue("a"))
		synctest.Wait()
		queue("b")
		if got := x.acknowledge(1); len(got) != 1 || got[0] != Waiter(pub) {
			t.Errorf("completed by the first acknowledgement: %v", got)
		}
		if got := x.acknowledge(2); len(got) != 1 {
			t.Errorf("completed by the second: %v", got)
		}
		if err := x.c.Flush(); err != nil {
			t.Error(err)
		}
		x.expectWrites()
	})
}

// TestAcknowledgedTooLate: of a group that is being written nothing is struck out; what
// was acknowledged is removed by the next.
func TestAcknowledgedTooLate(t *testing.T) {
	inTime(t, func(x *fixture) {
		answer := make(chan struct{})
		x.d.set(func(d *disk) { d.answer = answer })
		r := NewReceipt(nil)
		x.await(x.deliver("a", false, r))
		synctest.Wait()
		if got := x.acknowledge(1); len(got) != 0 || r.Complete() {
			t.Error("it counts as not to be written")
		}
		close(answer)
		if err := x.c.Flush(); err != nil {
			t.Error(err)
		}
		x.expectWrites("[1:a]", "[1 state]")
	})
}
