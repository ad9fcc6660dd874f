package commit

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/broker/lock"
	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/metrics"
	"github.com/x0a1b/promptmq/session"
)

// A Store is what a Committer needs of one; see broker.Store.
type Store interface {
	Apply(*session.Batch) error
	Room() int64
	Tidy() (more bool, err error)
	Removing() bool
	Remove() (more bool, err error)
	Gone() error
}

const (
	// lazyCommitAfter bounds how long a write that nobody waits for stays in memory.
	lazyCommitAfter = 50 * time.Millisecond
	commitTries     = 6
	commitRetryWait = 100 * time.Millisecond // doubles with each try

	// The store tidies up, step by step, when nothing was committed for tidyAfter.
	tidyAfter = 50 * time.Millisecond
	tidyPause = 5 * time.Millisecond

	// Between two steps of a removal there is a pause, for commits: removeShare times as
	// long as the step, and no less than removePause.
	removePause = 5 * time.Millisecond
	removeShare = 2
	removeRetry = 10 * time.Second // after a step that failed
)

// A Committer gathers writes into groups and commits one group at a time.
//
// Whoever changes what is stored is in its gate (Enter, Leave) while it changes memory
// and joins the open group. So a group holds a change wholly or not at all, and the order
// on disk is that in memory.
type Committer struct {
	// Static after New.
	store    Store
	clock    *Clock
	log      *slog.Logger
	m        *metrics.Broker
	wake     chan struct{}
	ending   chan struct{} // closed when shutdown begins: a full disk is no longer waited for
	stop     chan struct{}
	stopped  chan struct{}
	failed   chan error
	others   chan *otherWrite
	watchdog *time.Timer // see watch

	gate     lock.RWMutex[lock.Gate]
	open     atomic.Pointer[group] // replaced with gate held exclusively
	awaiting *group                // the group in that state, or nil; guarded by gate

	committed  atomic.Uint64 // number of the last committed group
	timeDue    atomic.Bool   // the time is to be stored even if there is nothing else
	entriesMax atomic.Int64  // see Overfull
	space      space
	endOnce    sync.Once

	// For Ready and Unstored; times are Unix nanoseconds by clock.
	applying atomic.Int64             // when the store was asked to write; 0: it has answered
	busy     atomic.Int64             // when commitOpen began, or went on after a wait; 0: it has ended
	asked    atomic.Int64             // when storeGone asked; 0: it has its answer
	writing  atomic.Pointer[Unstored] // what the commit under way writes; nil: there is none
	busyWith atomic.Pointer[refusal]  // why the store takes nothing for now; nil: it does

	// Owned by Run.
	ackWait ackWait
	tellers tellers

	mu      lock.Mutex[lock.Leaf] // guards the following
	running *group                // sealed, and not committed yet; nil: there is none
}

// New returns a Committer that writes to s, once Run is called.
func New(s Store, clock *Clock, log *slog.Logger, m *metrics.Broker) *Committer {
	c := &Committer{
		store: s, clock: clock, log: log, m: m, tellers: tellers{log: log, m: m},
		wake: make(chan struct{}, 1), ending: make(chan struct{}), stop: make(chan struct{}), stopped: make(chan struct{}),
		failed: make(chan error, 1), others: make(chan *otherWrite),
	}
	c.watchdog = time.AfterFunc(stalledAfter, c.reportStall)
	c.watchdog.Stop()
	c.open.Store(newGroup(1))
	c.entriesMax.Store(openEntriesMax)
	c.space.reported = s.Room()
	c.space.room.Store(c.space.reported)
	return c
}

// Enter begins a change of what is stored: no group is sealed until Leave. It may wait for
// a moment, never for the disk. Nobody enters twice.
func (c *Committer) Enter() { c.gate.RLock() }

// Leave ends what Enter began.
func (c *Committer) Leave() { c.gate.RUnlock() }

// Alone calls f while nobody else is in the gate.
func (c *Committer) Alone(f func()) {
	c.gate.Lock()
	defer c.gate.Unlock()
	f()
}

// Wake has the open group committed as soon as the Committer is free.
func (c *Committer) Wake() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// NoteTime has the time stored.
func (c *Committer) NoteTime() {
	c.timeDue.Store(true)
	c.Wake()
}

// Later has the open group committed within lazyCommitAfter, or a little later. The caller
// is in the gate.
func (c *Committer) Later() {
	g := c.open.Load()
	if !g.timed.Load() && g.timed.CompareAndSwap(false, true) {
		time.AfterFunc(lazyCommitAfter, c.Wake)
	}
}

// Run commits groups until Shutdown, or until a commit has failed for good.
func (c *Committer) Run() {
	defer close(c.stopped)
	c.tellers.start()
	defer c.tellers.stop()
	// Nothing is tidied before the first group: the store may still be loading, on the
	// connection that tidying uses.
	idle := time.NewTimer(tidyAfter)
	idle.Stop()
	defer idle.Stop()
	removal := time.NewTimer(removePause)
	removal.Stop()
	defer removal.Stop()
	removing := false
	for {
		select {
		case <-c.wake:
		case <-idle.C:
			if c.tidy() {
				idle.Reset(tidyPause)
			}
			continue
		case <-removal.C:
			pause := c.remove()
			if removing = pause > 0; removing {
				removal.Reset(pause)
			}
			idle.Reset(tidyAfter)
			continue
		case w := <-c.others:
			if err := c.writeOther(w); err != nil {
				c.fail(err)
				return
			}
			continue
		case <-c.stop:
			return
		}
		if err := c.commitOpen(); err != nil {
			c.fail(err)
			return
		}
		idle.Reset(tidyAfter)
		if !removing && c.store.Removing() {
			removing = true
			removal.Reset(removePause)
		}
	}
}

// commitOpen commits what is open. An error is final.
func (c *Committer) commitOpen() (err error) {
	c.watch()
	defer c.unwatch()
	defer func() {
		if p := recover(); p != nil {
			c.m.Panics.Inc()
			err = fmt.Errorf("panic while committing: %v\n%s", p, debug.Stack())
		}
	}()
	g, wait := c.seal()
	if control.Broken(control.PanicInCommit) && len(g.batch.Retained) > 0 {
		panic("broken on purpose")
	}
	if wait > 0 {
		c.awaitAcks(g, wait)
	}
	if control.Broken(control.CommitLate) {
		time.Sleep(time.Second) // the broker is killed before, on a slow machine too
	}
	if err := c.commit(g); err != nil {
		return err
	}
	c.settle(g)
	c.release(g)
	return nil
}

// fail reports that the broker cannot go on; the first error counts.
func (c *Committer) fail(err error) {
	select {
	case c.failed <- err:
	default:
	}
}

// tidy lets the store do one step and reports whether to go on.
func (c *Committer) tidy() bool {
	c.applying.Store(c.clock.Now().UnixNano())
	more, err := c.store.Tidy()
	c.applying.Store(0)
	if err != nil {
		c.log.Warn("tidying the store failed", trouble.StoreCleanUp, "error", err)
		return false
	}
	return more
}

// remove lets the store do one step of a removal, and returns the pause before the next;
// 0: there is none.
func (c *Committer) remove() time.Duration {
	began := time.Now()
	c.applying.Store(c.clock.Now().UnixNano())
	more, err := c.store.Remove()
	c.applying.Store(0)
	switch {
	case err != nil:
		c.log.Warn("removing what has ended from the store failed and is tried again", trouble.StoreCleanUp, "after", removeRetry.String(), "error", err)
		return removeRetry
	case !more:
		return 0
	}
	return max(removePause, removeShare*time.Since(began))
}

// commit writes g in one transaction, without what was acknowledged meanwhile. If nothing
// is left, the disk is not touched.
func (c *Committer) commit(g *group) error {
	entries, elided := g.elide()
	c.m.CommitElided.Add(elided)
	if timeDue := c.timeDue.Swap(false); g.isEmpty() && !timeDue {
		return nil
	}
	g.become(stateWriting)
	began := time.Now()
	g.batch.Time, g.batch.System = c.clock.Both()
	c.writing.Store(&Unstored{Messages: entries, Sessions: len(g.batch.Sessions), Retained: len(g.batch.Retained)})
	if err := c.apply(g.batch, began); err != nil {
		return err
	}
	c.writing.Store(nil)
	for _, w := range g.batch.Sessions {
		recycle(w)
	}
	c.m.Commits.Inc()
	c.m.StorageOperations.Add(entries + len(g.batch.Sessions) + len(g.batch.Retained))
	c.m.CommitMessages.Update(float64(entries))
	took := time.Since(began)
	c.ackWait.committed(took)
	c.m.CommitSeconds.Update(took.Seconds())
	return nil
}

// apply has the store write batch. How long it tries depends on the kind of error: until
// it succeeds or shutdown begins, where that comes by itself; once, where it never
// does; else commitTries times.
func (c *Committer) apply(batch *session.Batch, began time.Time) error {
	wait := commitRetryWait
	for try := 1; ; try++ {
		c.applying.Store(c.clock.Now().UnixNano())
		err := c.store.Apply(batch)
		c.applying.Store(0)
		if err == nil {
			c.busyWith.Store(nil)
			return nil
		}
		c.m.CommitFailures.Inc()
		switch kindOf(err) {
		case passes:
			if control.Broken(control.BusyTaken) {
				return nil
			}
			if c.waitFor(began, err) {
				try--
				continue
			}
		case notOurs:
			return err
		}
		c.log.Error("commit failed", trouble.CommitFailed, "try", try, "of", commitTries, "error", err)
		if try == commitTries {
			return err
		}
		select {
		case <-time.After(wait):
		case <-c.stop:
		}
		wait *= 2
	}
}

// Waiting is for how long the store has not answered, or has taken nothing because it is busy;
// 0: neither.
func (c *Committer) Waiting() time.Duration {
	if r := c.busyWith.Load(); r != nil {
		return c.clock.Now().Sub(r.since)
	}
	return c.since(&c.applying)
}

// release makes g committed, and tells who waits for it.
func (c *Committer) release(g *group) {
	c.mu.Lock()
	c.committed.Store(g.number)
	c.running = nil
	c.mu.Unlock()
	c.tellers.tellOf(g.finish())
}

// Number is the number of the open group. The caller is in the gate.
func (c *Committer) Number() uint64 { return c.open.Load().number }

// SetRetained puts the change of a retained message into the open group. The caller is in
// the gate.
func (c *Committer) SetRetained(topic string, w session.RetainedWrite) {
	c.open.Load().setRetained(topic, w)
}
