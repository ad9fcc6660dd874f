package commit

import "errors"

// ErrShuttingDown is the error of a wait for a commit that does not come.
var ErrShuttingDown = errors.New("the broker is shutting down")

// A Waiter is told of a commit, holding no lock. (An alias, so that others can name it
// without this package.)
type Waiter = interface{ Committed() }

// Committed is the number of the last group that was committed.
func (c *Committer) Committed() uint64 { return c.committed.Load() }

// find returns the group with this number, or nil if it is committed.
func (c *Committer) find(number uint64) *group {
	c.mu.Lock()
	defer c.mu.Unlock()
	if number <= c.committed.Load() {
		return nil
	}
	if c.running != nil && c.running.number == number {
		return c.running
	}
	return c.open
}

// Await has w told when the group with this number is committed, and makes that come
// soon. It reports false if it has happened already; then w is not told. It takes no
// lock of the broker's.
func (c *Committer) Await(number uint64, w Waiter) bool {
	g := c.find(number)
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
	if g.firm.Load() {
		c.hurryUp()
	}
	c.Wake()
	return true
}

// Wait blocks until the group with this number is committed, which it makes come soon,
// or the Committer has given up: ErrShuttingDown. No lock may be held.
func (c *Committer) Wait(number uint64) error { return c.waitUnless(nil, number) }

func (c *Committer) waitUnless(stop <-chan struct{}, number uint64) error {
	if c.find(number) != nil {
		c.hurryUp()
		c.Wake()
	}
	return c.outwait(stop, number)
}

// Outwait is Wait without making the commit come any sooner.
func (c *Committer) Outwait(number uint64) error { return c.outwait(nil, number) }

func (c *Committer) outwait(stop <-chan struct{}, number uint64) error {
	g := c.find(number)
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
	c.Enter()
	number := c.open.number
	c.Leave()
	return c.waitUnless(stop, number)
}

// openEntriesMax is how many queue entries the open group may have, about 100 MiB,
// before who adds to it must wait. What a publisher sends while the disk does not
// answer is bounded by itself, but a message may be for thousands of Sessions.
const openEntriesMax = 1 << 20

// OpenEntries is how many queue entries the open group has, without those whose memory
// was freed.
func (c *Committer) OpenEntries() int64 { return c.held.Load() }

// LimitOpenEntries says how many queue entries the open group may have.
func (c *Committer) LimitOpenEntries(n int64) { c.heldMax.Store(n) }

// Crowded returns nil if the open group has no more entries than it may, and else wakes
// the Committer and returns what is closed when another group is open. Who adds to the
// group waits for that, holding no lock.
func (c *Committer) Crowded() <-chan struct{} {
	if c.held.Load() <= c.heldMax.Load() {
		return nil
	}
	c.Enter()
	defer c.Leave()
	if c.held.Load() <= c.heldMax.Load() { // another group is open
		return nil
	}
	g := c.open
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sealed == nil {
		g.sealed = make(chan struct{})
	}
	c.Wake()
	return g.sealed
}

// wakeCrowd wakes who waits for another group than g to be open.
func (g *group) wakeCrowd() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sealed != nil {
		close(g.sealed)
		g.sealed = nil
	}
}
