package broker

import (
	"flag"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// randomly returns a source of random numbers whose seed is printed.
func randomly(t *testing.T) *rand.Rand {
	t.Helper()
	seed, err := strconv.ParseUint(flag.Lookup("sim.seed").Value.String(), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("replay with -sim.seed=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// A timersModel says when each thing is to fire, and checks each that does. What
// fires may give itself or others a time, as a Session does whose Will was due.
type timersModel struct {
	t      *testing.T
	x      *timers
	things []modelThing

	mu    sync.Mutex // guards the following
	rnd   *rand.Rand
	fired int
}

type modelThing struct {
	m   *timersModel
	at  uint32
	due dueTime // guarded by m.mu
}

func (th *modelThing) place() *uint32 { return &th.at }

func (th *modelThing) fire(now time.Time) {
	th.m.mu.Lock()
	defer th.m.mu.Unlock()
	if !th.due.over(now) || now.Sub(time.UnixMilli(int64(th.due))) > time.Millisecond {
		th.m.t.Errorf("fired at %d, due at %d", now.UnixMilli(), th.due)
	}
	if th.at != 0 {
		th.m.t.Errorf("stands at %d when it is fired", th.at)
	}
	th.due = 0
	th.m.fired++
	switch th.m.rnd.IntN(4) {
	case 0:
		th.m.setLocked(th, now)
	case 1:
		th.m.setLocked(&th.m.things[th.m.rnd.IntN(len(th.m.things))], now)
	}
}

// setLocked gives a thing some time, or none.
func (m *timersModel) setLocked(th *modelThing, now time.Time) {
	spans := []time.Duration{time.Millisecond, time.Second, time.Hour, 72 * time.Hour}
	switch m.rnd.IntN(5) {
	case 0:
		th.due = 0
		m.x.remove(th)
		return
	case 1: // it has passed
		th.due = dueAt(now.Add(-time.Microsecond))
	default:
		th.due = dueAt(now.Add(1 + time.Duration(m.rnd.Int64N(int64(spans[m.rnd.IntN(len(spans))])))))
	}
	m.x.set(th, th.due)
}

// checkLocked checks that nothing is late, and the heap: its order, that each thing
// with a time is in it once and knows where.
func (m *timersModel) checkLocked(now time.Time) {
	m.t.Helper()
	m.x.mu.Lock()
	defer m.x.mu.Unlock()
	pending := 0
	for i := range m.things {
		th := &m.things[i]
		if th.due == 0 {
			continue
		}
		pending++
		if th.due.over(now) {
			m.t.Fatalf("at %d thing %d has not fired, due at %d", now.UnixMilli(), i, th.due)
		}
		if at := int(th.at) - 1; at < 0 || at >= len(m.x.heap) || m.x.heap[at].thing != th || m.x.heap[at].at != th.due {
			m.t.Fatalf("thing %d, due at %d, is not at its place %d", i, th.due, th.at)
		}
	}
	if len(m.x.heap) != pending {
		m.t.Fatalf("%d in the heap, expected %d", len(m.x.heap), pending)
	}
	for i := 1; i < len(m.x.heap); i++ {
		if m.x.heap[i].at < m.x.heap[(i-1)/2].at {
			m.t.Fatalf("the heap is out of order at %d", i)
		}
	}
}

// TestTimersModel sets, moves and removes times while the time passes, by jumps of
// all sizes, and things fire.
func TestTimersModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fire := func(thing timed, now time.Time) { thing.(*modelThing).fire(now) }
		m := &timersModel{t: t, x: newTimers(time.Now, fire, noCommit), rnd: randomly(t), things: make([]modelThing, 31)}
		for i := range m.things {
			m.things[i].m = m
		}
		go m.x.run()
		defer m.x.shutdown()
		for range 5000 {
			m.mu.Lock()
			for range m.rnd.IntN(4) {
				m.setLocked(&m.things[m.rnd.IntN(len(m.things))], time.Now())
			}
			pause := []time.Duration{0, time.Millisecond, time.Second, 3 * time.Hour}[m.rnd.IntN(4)]
			m.mu.Unlock()
			time.Sleep(pause + time.Microsecond)
			synctest.Wait()
			m.mu.Lock()
			m.checkLocked(time.Now())
			m.mu.Unlock()
		}
		if m.fired < 1000 {
			t.Errorf("only %d have fired", m.fired)
		}
	})
}
