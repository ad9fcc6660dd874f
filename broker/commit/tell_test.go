package commit

import (
	"sync"
	"testing"
	"testing/synctest"
)

// TestTellMany: each of many Waiters is told once, after the commit, whatever happens
// with one of them.
func TestTellMany(t *testing.T) {
	for _, n := range []int{1, tellAloneMax, tellAloneMax + 1, tellChunk, 3*tellChunk + 1, tellChunk*tellQueue + 1000} {
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

// TestTellDoesNotHoldUp: the Committer goes on while many are told, even if one keeps
// all tellers; and it does not end before all are told.
func TestTellDoesNotHoldUp(t *testing.T) {
	inTime(t, func(x *fixture) {
		block := make(chan struct{})
		number := x.deliver("a", false, nil)
		told := make([]*witness, tellChunk*tellQueue/2)
		x.c.Enter()
		for i := range told {
			told[i] = x.await(number)
			told[i].do = func() { <-block }
		}
		x.c.Leave()
		synctest.Wait()
		next := x.await(x.deliver("b", false, nil))
		x.expectWrites("[1:a]", "[1:b]")
		if next.times() != 1 {
			t.Error("who waits for the next commit is not told")
		}
		var ended sync.WaitGroup
		ended.Go(func() {
			if err := x.c.Shutdown(); err != nil {
				t.Error(err)
			}
			for _, w := range told {
				if w.times() != 1 {
					t.Error("not told at the end")
					return
				}
			}
		})
		synctest.Wait()
		close(block)
		ended.Wait()
	})
}
