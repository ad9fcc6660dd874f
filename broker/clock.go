package broker

import (
	"log/slog"
	"time"
)

// clockJump is from which difference on the system clock is said to have jumped.
const clockJump = time.Minute

// A clock tells the time by which everything in the broker begins and ends. It
// starts where the system clock stands, or where the last process was if that is
// later, and goes on at the pace of the monotonic clock: what the system clock
// does meanwhile moves no deadline, and what was dead once is never alive again.
// Its times carry no monotonic reading, so those that were stored compare with
// those that were not.
type clock struct {
	system func() time.Time
	log    *slog.Logger

	base    time.Time     // the time at which the process started, by this clock
	started time.Time     // the same by the system, with a monotonic reading
	apart   time.Duration // how far the system clock was ahead when that was last logged
}

func newClock(system func() time.Time, log *slog.Logger) *clock {
	if system == nil {
		system = time.Now
	}
	c := &clock{system: system, log: log, started: time.Now()}
	c.base = system().Round(0)
	return c
}

// goOnFrom makes the clock stand no earlier than where the last process was.
// Nothing may use the clock yet.
func (c *clock) goOnFrom(last time.Time) {
	now := c.now()
	if broken("clock-forgotten") || !last.After(now) {
		return
	}
	c.base = c.base.Add(last.Sub(now))
	c.noteJump()
}

// A moment is a time of the clock in 8 bytes, where a time.Time has 24; 0: none.
type moment int64

func momentOf(t time.Time) moment { return moment(t.UnixNano()) }

func (m moment) time() time.Time { return time.Unix(0, int64(m)) }

// now is safe for any goroutine.
func (c *clock) now() time.Time {
	if broken("wall-clock") {
		return c.system().Round(0)
	}
	return c.base.Add(time.Since(c.started))
}

// deadline returns when t is by the system, for the timers of the runtime: they
// follow its monotonic reading.
func (c *clock) deadline(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return time.Now().Add(t.Sub(c.now()))
}

// noteJump logs that the system clock has moved away from this one, or back.
func (c *clock) noteJump() {
	apart := c.system().Sub(c.now())
	if (apart - c.apart).Abs() < clockJump {
		return
	}
	c.apart = apart
	c.log.Warn("the system clock has jumped; deadlines are kept as they are until the next start, and never move back",
		"ahead", apart.Round(time.Second))
}
