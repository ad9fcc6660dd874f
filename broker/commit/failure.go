package commit

import (
	"errors"
	"fmt"
	"time"

	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/session"
)

// A kind of error of the store says what becomes of the group that it did not take. None of
// them is ever acknowledged.
type kind uint8

const (
	fails   kind = iota // it is tried a few times, and then the broker stops
	passes              // it is tried until it is taken
	notOurs             // no try helps: the broker stops at once
)

func kindOf(err error) kind {
	switch {
	case errors.Is(err, session.ErrStoreGone):
		return notOurs
	case errors.Is(err, session.ErrNoSpace), errors.Is(err, session.ErrStoreBusy):
		return passes
	}
	return fails
}

// passesRetry is between two tries of what passes.
const passesRetry = 250 * time.Millisecond

// A refusal is why the store takes nothing for now, and since when.
type refusal struct {
	since time.Time // by Committer.clock
	err   error
}

// waitFor waits, before the next try, for what passes to have passed. It reports false if
// shutdown has begun, which does not wait for it. began is when the store was first asked.
func (c *Committer) waitFor(began time.Time, err error) bool {
	if errors.Is(err, session.ErrNoSpace) {
		c.busyWith.Store(nil)
		c.noteDiskFull(began, err)
	} else {
		c.noteBusy(began, err)
	}
	select {
	case <-time.After(passesRetry):
		c.busy.Store(c.clock.Now().UnixNano())
		return true
	case <-c.ending:
		return false
	}
}

// noteBusy notes, and logs, that the store takes nothing since began.
func (c *Committer) noteBusy(began time.Time, err error) {
	c.busyWith.Store(&refusal{c.clock.Now().Add(-time.Since(began)), err})
	c.logFull("the store takes nothing for now: acknowledgements wait", trouble.StoreBusy, "error", err)
}

// busyFor says for how long the store has taken nothing, and why; nil: it does, or has only
// just been asked.
func (c *Committer) busyFor() error {
	r := c.busyWith.Load()
	if r == nil {
		return nil
	}
	waiting := c.clock.Now().Sub(r.since)
	if waiting <= stalledAfter {
		return nil
	}
	return fmt.Errorf("the store has taken nothing for %v: %w", waiting.Truncate(time.Second), r.err)
}
