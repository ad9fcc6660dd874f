package commit

import "time"

const (
	// A sealed group awaits acknowledgements for as long as ackWaitCommitsMin commits
	// take, and one more for each ackWaitGrowth entries, as large groups cost more to
	// write, within the other bounds.
	ackWaitCommitsMin = 2
	ackWaitCommitsMax = 4
	ackWaitGrowth     = 64
	ackWaitMin        = time.Millisecond
	ackWaitMax        = 25 * time.Millisecond
	// ackWaitSkipMax is the most groups that await nothing after Clients did not
	// acknowledge in time.
	ackWaitSkipMax = 64
)

// An ackWait decides how long a sealed group awaits acknowledgements. What is acknowledged
// meanwhile is not written, and if that is all, the disk is not touched, and publishers have
// their PUBACKs sooner than after a commit.
type ackWait struct {
	commit  time.Duration // how long a commit takes, smoothed
	skip    int           // groups still to go by without waiting
	backoff int           // skip after the next vain wait
}

// committed notes how long a commit took.
func (a *ackWait) committed(took time.Duration) {
	if a.commit == 0 {
		a.commit = took
	}
	a.commit += (took - a.commit) / 8
}

// wait is how long to wait for the acknowledgement of so many entries.
func (a *ackWait) wait(entries int64) time.Duration {
	if a.skip > 0 {
		a.skip--
		return 0
	}
	commits := min(ackWaitCommitsMin+entries/ackWaitGrowth, ackWaitCommitsMax)
	return min(max(a.commit*time.Duration(commits), ackWaitMin), ackWaitMax)
}

// waited notes how many of the entries waited for were not acknowledged in time.
func (a *ackWait) waited(entries, unacknowledged int64) {
	if unacknowledged <= entries/2 {
		a.backoff = 0
		return
	}
	a.backoff = min(2*a.backoff+1, ackWaitSkipMax)
	a.skip = a.backoff
}

// seal replaces the open group by an empty one and returns it, with the time for
// which it awaits acknowledgements; 0: it is shut.
func (c *Committer) seal() (*group, time.Duration) {
	c.gate.Lock()
	defer c.gate.Unlock()
	g := c.open.Load()
	c.mu.Lock()
	c.running = g
	c.open.Store(newGroup(g.number + 1))
	c.mu.Unlock()
	wait := g.seal(&c.ackWait)
	if wait > 0 {
		c.awaiting = g
	}
	return g, wait
}

// awaitAcks waits until every entry of g is acknowledged, or somebody must have a
// commit, or the time is over; then it shuts g.
func (c *Committer) awaitAcks(g *group, wait time.Duration) {
	awaited := g.awaited.Load()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-g.enough:
	case <-c.ending:
	case <-timer.C:
		c.ackWait.waited(awaited, g.awaited.Load())
	}
	c.gate.Lock()
	defer c.gate.Unlock()
	c.awaiting = nil
	g.become(stateShut)
}
