package broker_test

import (
	"flag"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

var simHours = flag.Int("sim.hours", 0, "how many virtual hours TestSimTimers runs; 0: some")

// timersHours is how many virtual hours one seed of TestSimTimers runs.
const timersHours = 20

// TestSimTimers: for hours of virtual time Clients come, stay away and fall
// silent, the broker stops, is killed and loses power, and the clock of the
// system jumps by up to a year either way. Sessions, Wills, messages, retained
// messages and connections must end when their time is over: not before, not
// later, and not twice.
func TestSimTimers(t *testing.T) {
	root := simRoot(t)
	if *simHours > 0 {
		*simSeeds = (*simHours + timersHours - 1) / timersHours
	}
	sums := make(map[string]int)
	hours := 0.0
	seeds(t, 15, func(seed uint64) error {
		var tw *timersWorld
		w, err := inBubble(t, root, seed, simConfig{}, func(w *world) error {
			tw = newTimersWorld(w)
			return tw.run()
		})
		if w != nil && tw != nil {
			hours += tw.hours
			for what, n := range tw.sums {
				sums[what] += n
			}
		}
		return err
	})
	var b strings.Builder
	for _, what := range sortedKeys(sums) {
		fmt.Fprintf(&b, ", %d %s", sums[what], what)
	}
	t.Logf("%.0f virtual hours%s", hours, b.String())
}

const (
	// A deadline counts as over when so much more has passed, and as not reached
	// until so much before it: packets travel, syncs take time, a stored time has
	// milliseconds.
	lateSlack  = time.Second
	earlySlack = 100 * time.Millisecond
	// quiet is how long the script waits for what it began to be over.
	quiet = 2 * time.Second
)

// A timersWorld is a simulation of TestSimTimers. What the broker's clock says is
// known exactly while one process lives. After a crash it may go on from where
// the last commit was, so it is known from lo to hi.
type timersWorld struct {
	*world
	offset   atomic.Int64 // of the system clock from virtual time; the broker reads it at any time
	offsets  []offsetFrom // in this process
	down     bool         // no process lives
	left     time.Time    // what noted was at the start
	boot     time.Time    // virtual time of the last start
	lo, hi   time.Time    // the broker's clock then
	noted    time.Time    // the broker's clock was at least there in the last commit
	subjects []*subject
	observer *observer
	links    []*timedLink
	kept     map[string]*timedMessage // the retained messages
	payloads int
	hours    float64
	sums     map[string]int
}

// An offsetFrom is where the system clock stands from a virtual time on.
type offsetFrom struct {
	from   time.Time
	offset time.Duration
}

// A deadline is a time of the broker's clock, set in one of its processes.
type deadline struct {
	boot, at time.Time
	lo, hi   time.Time
}

func newTimersWorld(w *world) *timersWorld {
	tw := &timersWorld{world: w, kept: make(map[string]*timedMessage), sums: make(map[string]int)}
	tw.disk.setDelay(func() time.Duration { return time.Millisecond })
	tw.clients = nil
	tw.system = func() time.Time { return time.Now().Add(time.Duration(tw.offset.Load())) }
	tw.observer = &observer{tw: tw, wills: make(map[string]*timedWill), received: make(map[uint16]bool), stored: make(map[uint16]bool)}
	for i := range 4 {
		tw.subjects = append(tw.subjects, &subject{tw: tw, id: fmt.Sprintf("s%d", i)})
	}
	return tw
}

func (tw *timersWorld) nowLo() time.Time { return tw.lo.Add(time.Since(tw.boot)) }
func (tw *timersWorld) nowHi() time.Time { return tw.hi.Add(time.Since(tw.boot)) }

// after returns the deadline that is d from now.
func (tw *timersWorld) after(d time.Duration) deadline {
	return deadline{boot: tw.boot, at: time.Now().Add(d), lo: tw.nowLo().Add(d), hi: tw.nowHi().Add(d)}
}

// over reports whether the deadline has passed for sure, ahead whether it has not.
func (tw *timersWorld) over(d deadline) bool {
	if d.boot.Equal(tw.boot) {
		return !time.Now().Before(d.at.Add(lateSlack))
	}
	return !tw.nowLo().Before(d.hi.Add(lateSlack))
}

func (tw *timersWorld) ahead(d deadline) bool {
	if d.boot.Equal(tw.boot) {
		return time.Now().Before(d.at.Add(-earlySlack))
	}
	return tw.nowHi().Before(d.lo.Add(-earlySlack))
}

// committed notes that something that was just acknowledged is on disk, and the
// time with it.
func (tw *timersWorld) committed() {
	if now := tw.nowLo().Add(-time.Second - lateSlack); now.After(tw.noted) {
		tw.noted = now
	}
}

func (tw *timersWorld) run() error {
	began := time.Now()
	if err := tw.startAt(time.Time{}, time.Time{}); err != nil {
		return err
	}
	for time.Since(began) < timersHours*time.Hour && tw.verdict() == nil {
		tw.sleep([]time.Duration{quiet, 20 * time.Second, 3 * time.Minute, 20 * time.Minute}[tw.r.IntN(4)])
		if err := tw.act(); err != nil {
			return err
		}
		tw.sleep(quiet)
		tw.locked(tw.check)
	}
	tw.hours = time.Since(began).Hours()
	tw.stop()
	return tw.verdict()
}

// startAt starts a process whose predecessor left a clock between lo and hi, which
// it stored with what the system clock said; zero: there was none.
func (tw *timersWorld) startAt(lo, hi time.Time) error {
	if err := tw.start(); err != nil {
		return err
	}
	boot := time.Now()
	low, high := tw.system(), tw.system()
	if !lo.IsZero() {
		low, high = hi.Add(1<<62), lo
		for i, o := range tw.offsets {
			if i+1 < len(tw.offsets) && tw.nowLo().Add(tw.offsets[i+1].from.Sub(boot)).Before(lo) {
				continue // another one when the time was stored
			}
			passed := boot.Sub(tw.boot) + time.Duration(tw.offset.Load()) - o.offset
			if at := latest(lo, tw.lo.Add(passed)); at.Before(low) {
				low = at
			}
			high = latest(high, hi, tw.hi.Add(passed))
		}
		if !lo.After(tw.left) { // no commit is known: what is stored may be from the process before
			low = lo
		}
	}
	tw.boot, tw.lo, tw.hi = boot, low, high
	tw.offsets = []offsetFrom{{boot, time.Duration(tw.offset.Load())}}
	tw.noted, tw.left, tw.down = lo, lo, false
	tw.locked(func() {
		for _, s := range tw.subjects {
			s.restarted()
		}
		tw.observer.connect()
	})
	return nil
}

func latest(times ...time.Time) (t time.Time) {
	for _, u := range times {
		if u.After(t) {
			t = u
		}
	}
	return t
}

// jump moves the clock of the system.
func (tw *timersWorld) jump() {
	const year = 365 * 24 * time.Hour
	most := []time.Duration{time.Minute, 2 * time.Hour, year}[tw.r.IntN(3)]
	offset := time.Duration(tw.r.Int64N(int64(2*most))) - most
	tw.offset.Store(int64(offset))
	if !tw.down {
		tw.offsets = append(tw.offsets, offsetFrom{time.Now(), offset})
	}
	tw.sums["jumps of the clock"]++
	tw.trace("the system clock is at %v", offset)
}

// restart ends the process in one of three ways and starts another, later.
func (tw *timersWorld) restart() error {
	lo, hi := tw.noted, tw.nowHi().Add(lateSlack)
	again := tw.disk.restart
	how := tw.r.IntN(3)
	tw.locked(func() {
		tw.trace("the broker ends, in way %d", how)
		for _, s := range tw.subjects {
			s.brokerEnds(how == 0)
		}
	})
	tw.sums["restarts"]++
	if how == 0 {
		lo, hi = tw.nowLo(), tw.nowHi()
		tw.stop()
		again = func() error { return nil }
	} else {
		tw.disk.kill()
		tw.powerCut()
		for _, l := range tw.links {
			l.conn.powerCut(false)
		}
		tw.bury()
		if how == 2 {
			again = tw.disk.powerOn
		}
	}
	tw.links = nil
	tw.down = true
	if tw.r.IntN(2) == 0 {
		tw.jump()
	}
	time.Sleep([]time.Duration{time.Second, 10 * time.Minute, 5 * time.Hour}[tw.r.IntN(3)])
	if err := again(); err != nil {
		return err
	}
	return tw.startAt(lo, hi)
}

// act does one random thing.
func (tw *timersWorld) act() (err error) {
	s := tw.subjects[tw.r.IntN(len(tw.subjects))]
	n := tw.r.IntN(100)
	if n < 6 {
		return tw.restart()
	}
	tw.locked(func() {
		switch {
		case n < 12:
			tw.jump()
		case n < 40:
			for range 1 + tw.r.IntN(3) {
				tw.observer.publish(s)
			}
		case n < 46:
			tw.observer.retain()
		case n < 52:
			tw.observer.probe()
		case s.link == nil || n < 58: // the latter is a takeover, if it is connected
			s.connect()
		case n < 70:
			s.silent = s.keepAlive > 0 // it says nothing more, until the broker closes
		case n < 85:
			s.drop()
		default:
			s.disconnect()
		}
	})
	return nil
}

// sleep lets time pass, in which the Clients send their pings.
func (tw *timersWorld) sleep(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		next := end
		tw.locked(func() {
			for _, s := range tw.subjects {
				if s.link == nil || s.silent || s.keepAlive == 0 {
					continue
				}
				due := s.sentAt.Add(s.keepAlive)
				if !due.After(time.Now()) {
					s.send(codec.AppendPingreq(nil), nil)
					due = s.sentAt.Add(s.keepAlive)
				}
				if due.Before(next) {
					next = due
				}
			}
		})
		time.Sleep(time.Until(next))
	}
}

// check looks at everything that a deadline says.
func (tw *timersWorld) check() {
	for _, s := range tw.subjects {
		s.check()
	}
	for _, will := range tw.observer.wills {
		will.check(tw)
	}
	tw.observer.checkProbe()
}
