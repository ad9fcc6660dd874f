package login

import (
	"sync"
	"time"
)

// A breaker stops asking what does not answer: it opens after so many failures in a row, and
// lets one question through at a time when it has been open for pause. It is closed again by
// the first that is answered.
type breaker struct {
	failuresMax int
	pause       time.Duration

	mu       sync.Mutex // guards the following
	failures int        // in a row
	opened   time.Time  // when it opened last; zero: it is closed
	probing  bool       // a question was let through while it is open
}

// enter reports whether a question may be asked at that time, and whether it is the one that
// was let through an open breaker. If it may, leave must follow.
func (b *breaker) enter(now time.Time) (may, probe bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.opened.IsZero() {
		return true, false
	}
	if b.probing || now.Sub(b.opened) < b.pause {
		return false, false
	}
	b.probing = true
	return true, true
}

// An outcome is what became of a question.
type outcome uint8

const (
	answered outcome = iota
	failed
	givenUp // by who asked: it says nothing about who was asked
)

// leave notes what became of a question, and reports whether that opened the breaker.
func (b *breaker) leave(now time.Time, probe bool, o outcome) (opened bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if probe {
		b.probing = false
	}
	switch o {
	case answered:
		b.failures, b.opened = 0, time.Time{}
	case failed:
		b.failures++
		if probe || b.opened.IsZero() && b.failures >= b.failuresMax {
			opened = b.opened.IsZero()
			b.opened = now
		}
	case givenUp:
	}
	return opened
}

func (b *breaker) isOpen() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.opened.IsZero()
}
