package broker

import (
	"sync/atomic"
	"time"
)

const (
	// A sealed group waits for acknowledgements as long as so many commits take,
	// and one more for each patienceGrowth entries, as large groups cost more to
	// write; within these bounds.
	patienceCommitsMin = 2
	patienceCommitsMax = 4
	patienceGrowth     = 64
	patienceMin        = time.Millisecond
	patienceMax        = 25 * time.Millisecond
	// impatienceMax is how many groups go by before it is tried again to wait for
	// Clients that did not acknowledge in time.
	impatienceMax = 64
)

// A patience decides how long a sealed group waits before it is committed. What
// its receivers acknowledge meanwhile is not written, and if that is all of it
// the disk is not touched, so that a publisher has its own acknowledgement
// sooner than with a commit. It belongs to the committer's goroutine.
type patience struct {
	commit  time.Duration // how long a commit takes, smoothed
	skip    int           // groups still to go by without waiting
	backoff int           // skip after the next vain wait
}

// committed notes how long a commit took.
func (p *patience) committed(took time.Duration) {
	if p.commit == 0 {
		p.commit = took
	}
	p.commit += (took - p.commit) / 8
}

// wait is how long to wait for the acknowledgement of so many entries.
func (p *patience) wait(entries int64) time.Duration {
	if p.skip > 0 {
		p.skip--
		return 0
	}
	commits := min(patienceCommitsMin+entries/patienceGrowth, patienceCommitsMax)
	return min(max(p.commit*time.Duration(commits), patienceMin), patienceMax)
}

// waited notes how many entries were left of those waited for.
func (p *patience) waited(entries, left int64) {
	if left <= entries/2 {
		p.backoff = 0
		return
	}
	p.backoff = min(2*p.backoff+1, impatienceMax)
	p.skip = p.backoff
}

// seal replaces the open group by an empty one and returns it, with the time for
// which acknowledgements may still strike out entries of it; 0: it is shut, and
// nothing of it changes any more.
func (c *committer) seal() (*group, time.Duration) {
	c.gate.Lock()
	defer c.gate.Unlock()
	g := c.open
	c.mu.Lock()
	c.running = g
	c.open = newGroup(g.number + 1)
	c.held.Store(0)
	c.mu.Unlock()
	awaited := g.awaited.Load()
	if awaited == 0 || g.firm.Load() {
		return g, 0
	}
	wait := c.patience.wait(awaited)
	if wait > 0 {
		c.strikable = g
	}
	return g, wait
}

// awaitAcks waits until every entry of g is acknowledged, or somebody needs a
// commit, or the time is over; then it shuts g.
func (c *committer) awaitAcks(g *group, wait time.Duration) {
	awaited := g.awaited.Load()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-g.acknowledged:
	case <-c.hurry:
	case <-c.ending:
	case <-timer.C:
		c.patience.waited(awaited, g.awaited.Load())
	}
	c.gate.Lock()
	c.strikable = nil
	c.gate.Unlock()
}

// hurryUp ends the wait for acknowledgements: there is something to commit that
// no acknowledgement can make needless.
func (c *committer) hurryUp() {
	select {
	case c.hurry <- struct{}{}:
	default:
	}
}

// noteStruck counts an entry of g as not to be written. r is its receipt, or nil.
func (g *group) noteStruck(r any, acknowledged bool, l *flushList) {
	if g.awaited.Add(-1) == 0 {
		select {
		case g.acknowledged <- struct{}{}:
		default:
		}
	}
	if r, ok := r.(*receipt); ok && acknowledged {
		r.count(l)
	}
}

// A receipt stands for a QoS 1 message of which every durable copy went to a
// Client that may acknowledge it before the commit. When all have, the message
// has nothing to leave on disk, and the publisher's PUBACK goes at once.
type receipt struct {
	left atomic.Int32 // copies not acknowledged, and one while the message is routed
	out  *outbox      // the publisher's
}

func newReceipt(o *outbox) *receipt {
	r := &receipt{out: o}
	r.left.Store(1)
	return r
}

// count takes one from what is left.
func (r *receipt) count(l *flushList) {
	if r.left.Add(-1) == 0 {
		r.out.note(l)
	}
}

// complete reports whether nothing is left. r may be nil, and is then not.
func (r *receipt) complete() bool { return r != nil && r.left.Load() == 0 }
