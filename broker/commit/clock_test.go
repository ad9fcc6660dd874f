package commit

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A wall is a system clock that can be set, in virtual time.
type wall struct {
	ahead time.Duration // of the time that passes
	log   lockedBuffer
}

func (w *wall) now() time.Time { return time.Now().Add(w.ahead) }

// start returns the Clock of a new process, which goes on from what the last one stored.
func (w *wall) start(last, system time.Time) *Clock {
	c := NewClock(w.now, slog.New(slog.NewTextHandler(&w.log, nil)))
	c.GoOnFrom(last, system)
	return c
}

// jumps is how many were logged.
func (w *wall) jumps() int { return strings.Count(w.log.String(), "has jumped") }

// TestClockKeepsItsPace: what is done to the system clock moves neither the time nor a
// deadline, and is logged once.
func TestClockKeepsItsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w wall
		c := w.start(time.Time{}, time.Time{})
		began := time.Now()
		if !c.Now().Equal(began) {
			t.Errorf("it starts at %v, the system clock stands at %v", c.Now(), began)
		}
		for i, step := range []struct {
			jump   time.Duration
			logged bool
		}{
			{0, false},
			{time.Hour, true},
			{0, false}, // is known
			{-3 * time.Hour, true},
			{clockJump / 2, false},
			{clockJump / 2, true},           // both together
			{2*time.Hour - clockJump, true}, // it is right again
		} {
			time.Sleep(time.Minute)
			w.ahead += step.jump
			if got, want := c.Now(), began.Add(time.Duration(i+1)*time.Minute); !got.Equal(want) {
				t.Errorf("step %d: it is %v, expected %v", i, got, want)
			}
			if got := c.NoteJump(); got != step.logged {
				t.Errorf("step %d: a jump is logged: %v", i, got)
			}
			if in := time.Until(c.Deadline(c.Now().Add(time.Second))); in != time.Second {
				t.Errorf("step %d: a deadline in a second is in %v", i, in)
			}
			now, system := c.Both()
			if !now.Equal(c.Now()) || !system.Equal(w.now()) {
				t.Errorf("step %d: it tells %v and %v", i, now, system)
			}
			if now != now.Round(0) || system != system.Round(0) {
				t.Errorf("step %d: the times have a monotonic reading", i)
			}
		}
		if n := w.jumps(); n != 4 {
			t.Errorf("%d jumps are logged, expected 4:\n%s", n, &w.log)
		}
		if !c.Deadline(time.Time{}).IsZero() {
			t.Error("no deadline became one")
		}
	})
}

// TestClockGoesOn: a new process begins where the last one was, and as much later as the
// system clock says; it never begins earlier, whatever that says.
func TestClockGoesOn(t *testing.T) {
	const day = 24 * time.Hour
	for _, test := range []struct {
		name         string
		last, system time.Duration // of the last process, from when the new one begins; 0: not known
		want         time.Duration // the time of the new process, from there too
		jumps        int
	}{
		{"nothing is known", 0, 0, 0, 0},
		{"an hour ago", -time.Hour, -time.Hour, 0, 0},
		{"the system clock was set forward a day meanwhile", -time.Hour, -day - time.Hour, day, 0},
		{"the system clock was a day behind and is so", day - time.Hour, -time.Hour, day, 0},
		{"the system clock was set back a day meanwhile", -time.Hour, day - time.Hour, -time.Hour, 1},
		{"of an old version, an hour ago", -time.Hour, 0, 0, 0},
		{"of an old version, a day ahead", day, 0, day, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var w wall
				at := func(d time.Duration) time.Time {
					if d == 0 {
						return time.Time{}
					}
					return time.Now().Add(d).Round(0)
				}
				began, last := time.Now(), at(test.last)
				c := w.start(last, at(test.system))
				if got := c.Now().Sub(began); got != test.want {
					t.Errorf("it begins %v after the system clock, expected %v", got, test.want)
				}
				if c.Now().Before(last) {
					t.Errorf("it begins at %v, before %v", c.Now(), last)
				}
				time.Sleep(time.Minute)
				if got := c.Now().Sub(began); got != test.want+time.Minute {
					t.Errorf("it went on to %v in a minute", got)
				}
				if n := w.jumps(); n != test.jumps {
					t.Errorf("%d jumps are logged, expected %d:\n%s", n, test.jumps, &w.log)
				}
			})
		})
	}
}

// TestClockOverRestarts: a deadline comes after the time that has passed, in several
// processes with jumps in each, and no time comes twice.
func TestClockOverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w wall
		var last, system time.Time
		c := w.start(last, system)
		deadline := c.Now().Add(time.Hour)
		for i, jump := range []time.Duration{48 * time.Hour, -96 * time.Hour, time.Hour, -time.Second, 0} {
			c = w.start(last, system)
			if c.Now().Before(last) {
				t.Errorf("process %d begins at %v, the last was at %v", i, c.Now(), last)
			}
			w.ahead += jump
			time.Sleep(6 * time.Minute)
			last, system = c.Both()
			time.Sleep(6 * time.Minute) // none runs
		}
		c = w.start(last, system)
		if got := c.Now(); !got.Equal(deadline) {
			t.Errorf("after an hour it is %v, expected %v", got, deadline)
		}
	})
}
