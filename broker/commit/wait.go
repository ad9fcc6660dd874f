package commit

import (
	"errors"

	"github.com/x0a1b/promptmq/broker/lock"
)

// ErrShuttingDown is the error of a wait for a commit that does not come.
var ErrShuttingDown = errors.New("the broker is shutting down")

// A Waiter is told of a commit, with no lock held. Several goroutines may tell it at once,
// each of another commit: what is on disk by then is what Committer.Committed says. It
// must not block. (An alias, so that others can name it without this package.)
type Waiter = interface{ Committed() }

// Committed is the number of the last group that was committed.
func (c *Committer) Committed() uint64 { return c.committed.Load() }

// find returns the group with this number, or nil if it is committed, and the one that is
// sealed and not committed yet, if there is one.
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

// hurry makes a group be committed soon: of another one, if it is running, no
// acknowledgements are awaited any more.
func (c *Committer) hurry(running *group) {
	if running != nil {
		running.awaitNoMore()
	}
}

// Await has w told when the group with this number is committed, and makes that come
// soon. It reports false if it has happened already; then w need not be told. Any lock
// but the Committer's own may be held.
func (c *Committer) Await(number uint64, w Waiter) bool {
	g, running := c.find(number)
	if g == nil {
		return false
	}
	g.mu.Lock()
	g.waiters = append(g.waiters, w)
	g.mu.Unlock()
	// The group may have been committed since find; then its waiters may have
	// been taken before ours was added.
	if number <= c.committed.Load() {
		return false
	}
	if g.must.Load() {
		c.hurry(running)
	}
	c.Wake()
	return true
}

// Wait blocks until the group with this number is committed, which it makes come soon,
// or the Committer has given up: ErrShuttingDown. No lock may be held.
func (c *Committer) Wait(number uint64) error { return c.waitUnless(nil, number) }

func (c *Committer) waitUnless(stop <-chan struct{}, number uint64) error {
	if g, running := c.find(number); g != nil {
		c.hurry(running)
		c.Wake()
	}
	return c.outwait(stop, number)
}

// Outwait is Wait without making the commit come any sooner.
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

// FlushUnless is Flush for who also gives up when stop is closed.
func (c *Committer) FlushUnless(stop <-chan struct{}) error {
	return c.waitUnless(stop, c.open.Load().number)
}

// openEntriesMax is how many queue entries the open group may have, about 100 MiB,
// before who adds to it must wait. What a publisher sends while the disk does not
// answer is bounded by itself, but a message may be for thousands of Sessions.
const openEntriesMax = 1 << 20

// OpenEntries is how many queue entries the open group has, without those whose memory
// was freed.
func (c *Committer) OpenEntries() int64 { return c.open.Load().entries.Load() }

// LimitOpenEntries says how many queue entries the open group may have.
func (c *Committer) LimitOpenEntries(n int64) { c.entriesMax.Store(n) }

// Overfull returns nil if the open group has no more queue entries than it may, and else
// what is closed when another group is open. Who has added to it waits for that, with no
// lock held.
func (c *Committer) Overfull() <-chan struct{} {
	g := c.open.Load()
	if g.entries.Load() <= c.entriesMax.Load() {
		return nil
	}
	c.Wake()
	return g.sealed
}
