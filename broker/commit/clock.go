package commit

import (
	"log/slog"
	"time"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/broker/trouble"
)

// clockJump is the smallest change of the system clock that counts as a jump.
const clockJump = time.Minute

// A Clock tells the time by which everything in the broker expires. It runs at the pace
// of the monotonic clock, so setting the system clock moves no deadline, and it never
// goes back: what has expired stays expired. The first process starts it at the time of
// the system clock. Each later one goes on where the last one was, plus what has passed
// since by the system clock. Its times have no monotonic reading, so those that come
// from disk compare with others.
type Clock struct {
	// Static after NewClock.
	system  func() time.Time
	log     *slog.Logger
	started time.Time // when the process started, with a monotonic reading

	base time.Time // when the process started, by this clock; static after GoOnFrom

	// Owned by who calls NoteJump.
	apart time.Duration // how far the system clock was ahead when that was last logged
}

// NewClock returns a Clock that starts where system stands; nil: time.Now. Jumps of that
// are logged to log.
func NewClock(system func() time.Time, log *slog.Logger) *Clock {
	if system == nil {
		system = time.Now
	}
	c := &Clock{system: control.SystemClock(system), log: log, started: time.Now()}
	c.base = c.system().Round(0)
	return c
}

// GoOnFrom makes the clock go on from last, the time of the last process when the system
// clock stood at system. Both may be zero: not known. Nothing may use the clock before.
func (c *Clock) GoOnFrom(last, system time.Time) {
	now := c.Now()
	if control.Broken(control.ClockForgotten) || last.IsZero() {
		return
	}
	if control.Broken(control.JumpCounted) {
		system = time.Time{}
	}
	start := last
	switch {
	case !system.IsZero():
		c.apart = system.Sub(last) // the last process has logged it
		start = last.Add(max(0, c.system().Sub(system)))
	case now.After(last):
		start = now
	}
	c.base = c.base.Add(start.Sub(now))
	c.NoteJump()
}

// Both returns the time, and what the system clock says.
func (c *Clock) Both() (now, system time.Time) { return c.Now(), c.system().Round(0) }

// Now returns the time. It is safe for any goroutine.
func (c *Clock) Now() time.Time {
	if control.Broken(control.WallClock) {
		return c.system().Round(0)
	}
	return c.base.Add(time.Since(c.started))
}

// Deadline returns the moment t for timers and deadlines of the runtime, which follow the
// monotonic clock. The zero time stays zero.
func (c *Clock) Deadline(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return time.Now().Add(t.Sub(c.Now()))
}

// NoteJump logs, once, that the system clock has moved away from this one, or back, and
// reports whether it has. One goroutine may call it.
func (c *Clock) NoteJump() bool {
	apart := c.system().Sub(c.Now())
	if (apart - c.apart).Abs() < clockJump {
		return false
	}
	c.apart = apart
	c.log.Warn("the system clock has jumped; deadlines are kept as they are, at the next start too", trouble.ClockJumped, "ahead", apart.Round(time.Second).String())
	return true
}
