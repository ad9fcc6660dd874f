package commit

import (
	"testing"
	"testing/synctest"
)

// TestTellMany: each of many Waiters is told once, after the commit, whatever happens
// with one of them.
func TestTellMany(t *testing.T) {
	for _, n := range []int{1, tellAloneMax, tellAloneMax + 1, tellChunk, 3*tellChunk + 1, 5000} {
		inTime(t, func(x *fixture) {
			number := x.deliver("a", false, nil)
			told := make([]*witness, n)
			x.c.Enter() // so that no group is sealed
			for i := range told {
				told[i] = x.await(number)
			}
			told[n/2].do = func() { panic("asked for") }
			x.c.Leave()
			synctest.Wait()
			for i, w := range told {
				if w.times() != 1 || w.early {
					t.Fatalf("%d of %d: told %d times, early %v", i, n, w.times(), w.early)
				}
			}
			if got := x.m.Panics.Get(); got != 1 {
				t.Errorf("%d panics", got)
			}
		})
	}
}

// TestTellDoesNotHoldUp: the Committer goes on while a teller is still at work; and it
// does not end before all are told.
func TestTellDoesNotHoldUp(t *testing.T) {
	inTime(t, func(x *fixture) {
		synctest.Wait() // the tellers are ready
		block := make(chan struct{})
		number := x.deliver("a", false, nil)
		told := make([]*witness, 1000)
		x.c.Enter()
		for i := range told {
			told[i] = x.await(number)
		}
		told[0].do = func() { <-block } // of the first chunk, which a teller takes
		x.c.Leave()
		synctest.Wait()
		next := x.await(x.deliver("b", false, nil))
		x.expectWrites("[1:a]", "[1:b]")
		if next.times() != 1 {
			t.Error("who waits for the next commit is not told")
		}
		done := make(chan error, 1)
		go func() { done <- x.c.Shutdown() }()
		synctest.Wait()
		select {
		case <-done:
			t.Error("it ended before all were told")
		default:
		}
		close(block)
		if err := <-done; err != nil {
			t.Error(err)
		}
		for i, w := range told {
			if w.times() != 1 {
				t.Fatalf("%d: told %d times", i, w.times())
			}
		}
	})
}
