package broker

import (
	"container/heap"
	"time"

	"github.com/x0a1b/promptmq/broker/lock"
)

// A timed is a thing of which something may be due: see Broker.expire.
type timed interface {
	// place is where it stands in the heap of timers, counted from 1; 0: nowhere.
	// It belongs to timers.
	place() *uint32
}

// A dueTime is when something is due, in Unix milliseconds, rounded up; 0: never.
type dueTime int64

func dueAt(t time.Time) dueTime {
	if t.IsZero() {
		return 0
	}
	return dueTime(t.Add(time.Millisecond - 1).UnixMilli())
}

// over reports whether the time has come.
func (d dueTime) over(now time.Time) bool { return d != 0 && now.UnixMilli() >= int64(d) }

// earlier returns the earlier of two times, of which each may be never.
func earlier(a, b dueTime) dueTime {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}

const (
	// fireStep is how many things fire for one commit: who waits for it must not wait
	// for all that are due at the same time.
	fireStep = 32
	// idleWait is how long run sleeps at most.
	idleWait = time.Hour
)

// A timers fires what is due, with one goroutine and one heap. A thing stands in the
// heap at most once, and only while it has a time: the heap grows with the number of
// things and not with what happens to them.
type timers struct {
	// Static after newTimers.
	now    func() time.Time
	fire   func(timed, time.Time)
	commit func(stop <-chan struct{}) error // after each fireStep; an error: the broker stops
	wake   chan struct{}
	stop   chan struct{}
	done   chan struct{}

	mu   lock.Mutex[lock.Leaf] // guards the following
	heap timerHeap
}

// newTimers returns timers that call fire, without a lock, for each thing whose time
// has come.
func newTimers(now func() time.Time, fire func(timed, time.Time), commit func(stop <-chan struct{}) error) *timers {
	return &timers{
		now: now, fire: fire, commit: commit,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
}

// set gives thing a time, in place of the one that it had; 0 takes it out. It may be
// called with any lock held but timers.mu.
func (t *timers) set(thing timed, at dueTime) {
	if t.put(thing, at) {
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
}

// put is set without waking the goroutine, and reports whether it must be woken.
func (t *timers) put(thing timed, at dueTime) (first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := int(*thing.place()) - 1
	switch {
	case at == 0 && i < 0:
		return false
	case at == 0:
		heap.Remove(&t.heap, i)
		return false
	case i < 0:
		heap.Push(&t.heap, timer{at, thing})
	default:
		t.heap[i].at = at
		heap.Fix(&t.heap, i)
	}
	return *thing.place() == 1
}

// remove takes out a thing that has ended.
func (t *timers) remove(thing timed) { t.set(thing, 0) }

// len is how many things have a time.
func (t *timers) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.heap)
}

// run fires what is due until shutdown.
func (t *timers) run() {
	defer close(t.done)
	sleep := time.NewTimer(idleWait)
	defer sleep.Stop()
	for {
		sleep.Reset(t.fireDue())
		select {
		case <-sleep.C:
		case <-t.wake:
		case <-t.stop:
			return
		}
	}
}

// shutdown ends run. What is due later is due at the next start.
func (t *timers) shutdown() {
	close(t.stop)
	<-t.done
}

// fireDue fires what is due and returns how long it is until the next.
func (t *timers) fireDue() time.Duration {
	for fired := 1; ; fired++ {
		now := t.now()
		thing, wait := t.next(now)
		if thing == nil {
			return wait
		}
		t.fire(thing, now)
		if fired%fireStep == 0 && t.commit(t.stop) != nil {
			return idleWait
		}
	}
}

// next takes out the first thing if its time has come, or else returns how long
// to wait for it.
func (t *timers) next(now time.Time) (timed, time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.heap) == 0 {
		return nil, idleWait
	}
	if at := t.heap[0].at; !at.over(now) {
		return nil, min(time.UnixMilli(int64(at)).Sub(now), idleWait)
	}
	return heap.Pop(&t.heap).(timer).thing, 0
}

// A timer is one thing in the heap.
type timer struct {
	at    dueTime
	thing timed
}

// A timerHeap is a heap by time in which each thing knows its place.
type timerHeap []timer

// heapShrinkFrom is the capacity from which on the heap gives memory back when most
// of it is empty.
const heapShrinkFrom = 1024

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	*h[i].thing.place(), *h[j].thing.place() = uint32(i+1), uint32(j+1)
}
func (h *timerHeap) Push(x any) {
	e := x.(timer)
	*h = append(*h, e)
	*e.thing.place() = uint32(len(*h))
}
func (h *timerHeap) Pop() any {
	old := *h
	n := len(old) - 1
	e := old[n]
	old[n] = timer{}
	*e.thing.place() = 0
	if *h = old[:n]; cap(old) >= heapShrinkFrom && n < cap(old)/4 {
		*h = append(make(timerHeap, 0, cap(old)/2), old[:n]...)
	}
	return e
}
