// Package rate counts against limits of so many units a second. It has no clock and no
// lock: the time is an argument.
package rate

import "time"

// A Limit is a number of units a second. As many may come at once. 0: no limit.
type Limit int64

// burst is for how long what was not used is kept, in nanoseconds.
const burst = int64(time.Second)

// A Meter counts units against a Limit. Its zero value has counted nothing.
type Meter struct {
	paid int64 // until when, in nanoseconds, what was counted takes at the Limit
}

// Count counts n units at a time in nanoseconds, whether they are allowed or not. It returns
// for how long nothing more should be counted.
func (m *Meter) Count(l Limit, n int, now int64) time.Duration {
	if l <= 0 {
		return 0
	}
	m.paid = max(m.paid, now-burst) + cost(l, n)
	return time.Duration(max(0, m.paid-now))
}

// Allow counts one unit if that is within the limit, and reports whether it is.
func (m *Meter) Allow(l Limit, now int64) bool {
	if l <= 0 {
		return true
	}
	paid := max(m.paid, now-burst) + cost(l, 1)
	if paid > now {
		return false
	}
	m.paid = paid
	return true
}

// idle reports whether the Meter is as if it had counted nothing.
func (m *Meter) idle(now int64) bool { return m.paid <= now-burst }

// cost is how long n units take.
func cost(l Limit, n int) int64 {
	if n < 1<<30 {
		return int64(n) * int64(time.Second) / int64(l)
	}
	return int64(float64(n) / float64(l) * float64(time.Second))
}
