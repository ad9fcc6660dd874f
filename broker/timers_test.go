package broker

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A timedThing notes when it was fired.
type timedThing struct {
	at    uint32
	fired []time.Time
}

func (t *timedThing) place() *uint32 { return &t.at }

// noCommit is for timers whose things write nothing.
func noCommit(<-chan struct{}) error { return nil }

// TestTimers sets, moves and removes the times of things at random: each fires
// at its last time, once, and never too early; the heap holds each once.
func TestTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rnd := randomly(t)
		x := newTimers(time.Now, func(thing timed, now time.Time) {
			th := thing.(*timedThing)
			th.fired = append(th.fired, now)
		}, noCommit)
		things := make([]timedThing, 3000)
		due := make([]time.Time, len(things))
		start := time.Now()
		for range 50000 {
			i := rnd.IntN(len(things))
			due[i] = time.Time{}
			if rnd.IntN(4) > 0 {
				due[i] = start.Add(time.Duration(rnd.IntN(10_000_000)) * time.Microsecond)
			}
			x.set(&things[i], dueAt(due[i]))
		}
		want := len(due) - len(slices.DeleteFunc(slices.Clone(due), func(t time.Time) bool { return !t.IsZero() }))
		if x.len() != want {
			t.Fatalf("%d in the heap, expected %d", x.len(), want)
		}
		go x.run()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		now := time.Now()
		for i := range things { // what is to come comes sooner, or never
			if len(things[i].fired) == 0 && due[i].After(now) {
				due[i] = now.Add(due[i].Sub(now) / 2)
				if i%2 == 0 {
					due[i] = time.Time{}
				}
				x.set(&things[i], dueAt(due[i]))
			}
		}
		time.Sleep(time.Minute)
		x.shutdown()
		for i := range things {
			th := &things[i]
			switch {
			case due[i].IsZero() != (len(th.fired) == 0) || len(th.fired) > 1 || th.at != 0:
				t.Fatalf("thing %d, due %v, fired %v, stands at %d", i, due[i], th.fired, th.at)
			case len(th.fired) == 1 && (th.fired[0].Before(due[i]) || th.fired[0].Sub(due[i]) > time.Millisecond):
				t.Fatalf("thing %d was due %v and fired %v", i, due[i], th.fired[0])
			}
		}
		if x.len() != 0 || cap(x.heap) > heapShrinkFrom {
			t.Errorf("%d left in the heap, with room for %d", x.len(), cap(x.heap))
		}
	})
}
