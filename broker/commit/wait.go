package commit

import (
	"context"
	"errors"

	"github.com/x0a1b/promptmq/broker/lock"
)

// ErrShuttingDown is the error of a wait for a commit that does not come.
var ErrShuttingDown = errors.New("the broker is shutting down")

// A Waiter is told of a commit, with no lock held, and must not block. Several goroutines
// may tell it at once, of different commits: Committer.Committed says what is on disk by
// then. It is an alias, so that others can name it without this package.
type Waiter = interface{ Committed() }

// Committed is the number of the last group that was committed.
func (c *Committer) Committed() uint64 { return c.committed.Load() }

// find returns the group with this number, nil if it is committed, and the one that is
// sealed and not committed yet, nil if there is none.
func (c *Committer) find(number uint64) (g, running *group) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case number <= c.committed.Load():
		return nil, c.running
	case c.running != nil && c.running.number == number:
		return c.running, c.running
	}
	return c.open.Load(), c.running
}

// hurry ends the ack wait of the sealed group, if there is one.
func (c *Committer) hurry(running *group) {
	if running != nil {
		running.awaitNoMore()
	}
}

// Await has w told when the group with this number is committed, and has that done soon.
// It reports false if it is committed already; w may be told all the same. Any lock may be
// held.
func (c *Committer) Await(number uint64, w Waiter) bool {
	g, running := c.find(number)
	if g == nil {
		return false
	}
	g.mu.Lock()
	g.waiters = append(g.waiters, w)
	g.mu.Unlock()
	// If the group was committed since find, w may have come too late to be told.
	if number <= c.committed.Load() {
		return false
	}
	if g.must.Load() {
		c.hurry(running)
	}
	c.Wake()
	return true
}

// Wait has the group with this number committed soon, and waits for that. Its error is
// ErrShuttingDown: the Committer has ended before. No lock may be held.
func (c *Committer) Wait(number uint64) error { return c.waitUnless(nil, number) }

// WaitContext is Wait, with the error of ctx if that ends before. The commit is done all the
// same.
func (c *Committer) WaitContext(ctx context.Context, number uint64) error {
	err := c.waitUnless(ctx.Done(), number)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (c *Committer) waitUnless(stop <-chan struct{}, number uint64) error {
	if g, running := c.find(number); g != nil {
		c.hurry(running)
		c.Wake()
	}
	return c.outwait(stop, number)
}

// Outwait is Wait without having the commit done any sooner.
func (c *Committer) Outwait(number uint64) error { return c.outwait(nil, number) }

func (c *Committer) outwait(stop <-chan struct{}, number uint64) error {
	lock.NoneHeld()
	g, _ := c.find(number)
	if g == nil {
		return nil
	}
	g.mu.Lock()
	if g.done == nil {
		g.done = make(chan struct{})
	}
	done := g.done
	g.mu.Unlock()
	if number <= c.committed.Load() {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-c.stopped:
		if number <= c.committed.Load() {
			return nil
		}
		return ErrShuttingDown
	case <-stop:
		return ErrShuttingDown
	}
}

// Flush commits what is open now and waits for it.
func (c *Committer) Flush() error { return c.FlushUnless(nil) }

// FlushUnless is Flush, with ErrShuttingDown also when stop is closed.
func (c *Committer) FlushUnless(stop <-chan struct{}) error {
	return c.waitUnless(stop, c.open.Load().number)
}

// openEntriesMax is how many queue entries, of about 100 bytes, the open group may have
// before who adds to it must wait. What each publisher may send while the disk does not
// answer is bounded too, but a message may be for thousands of Sessions.
const openEntriesMax = 1 << 20

// openBytesMax is how many bytes of messages it may have, as Admit and Reserve count them.
const openBytesMax = 64 << 20

// OpenEntries is how many queue entries of the open group are in memory.
func (c *Committer) OpenEntries() int64 { return c.open.Load().entries.Load() }

// LimitOpenEntries sets how many queue entries the open group may have; see Overfull.
func (c *Committer) LimitOpenEntries(n int64) { c.entriesMax.Store(n) }

// Overfull returns nil unless the open group has more queue entries or bytes than it may. Else who
// has added to it waits, with no lock held, for what it returns: that is closed when
// another group is open.
func (c *Committer) Overfull() <-chan struct{} {
	g := c.open.Load()
	if g.entries.Load() <= c.entriesMax.Load() && g.reserved.Load() <= openBytesMax {
		return nil
	}
	c.Wake()
	return g.sealed
}
