package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/metrics"
	"github.com/x0a1b/promptmq/session"
)

// Store keeps what acknowledgements promise. Apply makes a batch durable before
// it returns, all of it or nothing, and keeps nothing of it in memory; after an error the same batch may be
// applied again, and that is sure to succeed some time if the error is
// session.ErrNoSpace, and never if it is session.ErrStoreGone. Gone returns that
// error as soon as it is so. LastTime is about the latest Batch.Time of all processes, at most
// a second earlier, and the Batch.System of then; zero: none. Room is about how many bytes more may be stored; math.MaxInt64:
// there is no limit. Tidy does a little of what can wait until there is nothing
// else to do, and reports whether there is more. Remove does, in a transaction of its own, some of
// what Apply was told to remove and has put off; Removing reports whether there is any. Apply, Tidy,
// Removing and Remove are called by one goroutine, Page, Room and Gone by any.
type Store interface {
	Load(eachSession func(*session.Loaded) error, eachRetained func(topic string, version uint64, m *session.Message) error) error
	NextID() session.ID
	LastTime() (last, system time.Time)
	Apply(*session.Batch) error
	Page(id session.ID, from uint64, entriesMax, bytesMax int) ([]session.Entry, error)
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
	// tidyAfter is how long nothing is to be committed before the store tidies up,
	// tidyPause the pause between two steps of it.
	tidyAfter = 50 * time.Millisecond
	tidyPause = 5 * time.Millisecond
	// removePause is the shortest pause between two steps of a removal, and
	// removeShare how many times as long as a step the pause is, so that commits
	// go between; removeRetry is the pause after a step that failed.
	removePause = 5 * time.Millisecond
	removeShare = 2
	removeRetry = 10 * time.Second
)

// A committer gathers writes into groups and commits one group at a time.
//
// Whoever changes what is stored holds gate for reading while it changes memory
// and joins the open group, so that a group holds a change wholly or not at all
// and order on disk equals order in memory. gate is the outermost lock.
type committer struct {
	store Store
	clock *clock
	log   *slog.Logger
	m     *metrics.Broker

	gate sync.RWMutex
	open *group // replaced only with gate held for writing
	// strikable is the sealed group that still waits for acknowledgements, or nil;
	// set with gate held for writing.
	strikable *group

	committed atomic.Uint64            // number of the last committed group
	applying  atomic.Int64             // when the store was last asked to write, in Unix ns by clock; 0: it has answered
	busy      atomic.Int64             // when commitOpen last began, or went on after a wait, in the same way; 0: it has ended
	writing   atomic.Pointer[unstored] // what the commit under way writes; nil: there is none
	watchdog  *time.Timer              // see watch
	wake      chan struct{}
	timeDue   atomic.Bool   // the time is to be stored even if there is nothing else
	ending    chan struct{} // closed when shutdown begins: a full disk is no longer waited for
	endOnce   sync.Once
	stop      chan struct{}
	stopped   chan struct{}
	failed    chan error
	space     space
	hurry     chan struct{} // ends the wait for acknowledgements
	patience  patience      // of run

	held    atomic.Int64 // entries in the open group, without those whose memory was freed
	heldMax int64

	mu      sync.Mutex
	running *group // sealed, its commit not finished; guarded by mu, as what follows
	crowd   map[*outbox]struct{}
}

// A group is what one transaction will write, and who waits for it.
type group struct {
	number   uint64
	reserved atomic.Int64 // see space
	// awaited counts the entries that were sent and may be acknowledged before
	// they are written; firm says that there is something else to write, which
	// somebody may wait for.
	awaited      atomic.Int64
	firm         atomic.Bool
	acknowledged chan struct{} // has something when awaited has come to 0

	mu      sync.Mutex
	batch   *session.Batch
	waiters []*outbox
	done    chan struct{} // closed after the commit; made by the first that asks
	lazy    bool          // a timer will commit it
}

func newGroup(number uint64) *group {
	return &group{number: number, batch: session.NewBatch(), acknowledged: make(chan struct{}, 1)}
}

func newCommitter(s Store, clock *clock, log *slog.Logger, m *metrics.Broker) *committer {
	c := &committer{
		store: s, clock: clock, log: log, m: m,
		wake: make(chan struct{}, 1), ending: make(chan struct{}), stop: make(chan struct{}), stopped: make(chan struct{}),
		failed: make(chan error, 1), hurry: make(chan struct{}, 1),
	}
	c.watchdog = time.AfterFunc(stalledAfter, c.bark)
	c.watchdog.Stop()
	c.open, c.heldMax = newGroup(1), openEntriesMax
	c.space.reported = s.Room()
	c.space.room.Store(c.space.reported)
	return c
}

// urge makes the committer commit the open group now.
func (c *committer) urge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// noteTime makes the committer store what time it is.
func (c *committer) noteTime() {
	c.timeDue.Store(true)
	c.urge()
}

// later makes sure that the open group is committed soon. The caller holds gate.
func (c *committer) later() {
	g := c.open
	g.mu.Lock()
	first := !g.lazy
	g.lazy = true
	g.mu.Unlock()
	if first {
		time.AfterFunc(lazyCommitAfter, c.urge)
	}
}

// find returns the group with this number, or nil if it is committed.
func (c *committer) find(number uint64) *group {
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

// await registers o to be flushed when the group with this number is committed.
// It reports false if that has happened already. The caller may hold o.mu.
func (c *committer) await(number uint64, o *outbox) bool {
	g := c.find(number)
	if g == nil {
		return false
	}
	g.mu.Lock()
	g.waiters = append(g.waiters, o)
	g.mu.Unlock()
	// The group may have been committed since find; then its waiters may have
	// been taken before ours was added.
	if number <= c.committed.Load() {
		return false
	}
	if g.firm.Load() {
		c.hurryUp()
	}
	c.urge()
	return true
}

// wait blocks until the group with this number is committed, or the committer
// has given up. No lock may be held.
func (c *committer) wait(number uint64) error { return c.waitUnless(nil, number) }

// waitUnless is wait for who also gives up when stop is closed.
func (c *committer) waitUnless(stop <-chan struct{}, number uint64) error {
	if c.find(number) != nil {
		c.hurryUp()
		c.urge()
	}
	return c.outwait(stop, number)
}

// outwait is waitUnless without making the commit come any sooner.
func (c *committer) outwait(stop <-chan struct{}, number uint64) error {
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
		return errShuttingDown
	case <-stop:
		return errShuttingDown
	}
}

// flush commits what is open now and waits for it.
func (c *committer) flush() error { return c.flushUnless(nil) }

// flushUnless is flush for who also gives up when stop is closed.
func (c *committer) flushUnless(stop <-chan struct{}) error {
	c.gate.RLock()
	number := c.open.number
	c.gate.RUnlock()
	return c.waitUnless(stop, number)
}

// run commits groups until stop is closed or a commit stays failed.
func (c *committer) run() {
	defer close(c.stopped)
	// Not before the first group: the store is still being loaded, on the
	// connection that tidying uses, by who holds the gate.
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
func (c *committer) commitOpen() (err error) {
	c.watch()
	defer c.unwatch()
	defer func() {
		if p := recover(); p != nil {
			c.m.Panics.Inc()
			err = fmt.Errorf("panic while committing: %v\n%s", p, debug.Stack())
		}
	}()
	select {
	case <-c.hurry: // was meant for an earlier group
	default:
	}
	g, wait := c.seal()
	c.disperse()
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

// fail says that the broker cannot go on; the first error counts.
func (c *committer) fail(err error) {
	select {
	case c.failed <- err:
	default:
	}
}

// tidy lets the store do one step and reports whether to go on.
func (c *committer) tidy() bool {
	c.applying.Store(c.clock.now().UnixNano())
	more, err := c.store.Tidy()
	c.applying.Store(0)
	if err != nil {
		c.log.Warn("tidying the store failed", "error", err)
		return false
	}
	return more
}

// remove lets the store do one step of a removal, and returns after what pause the
// next is to follow; 0: there is none.
func (c *committer) remove() time.Duration {
	began := time.Now()
	c.applying.Store(c.clock.now().UnixNano())
	more, err := c.store.Remove()
	c.applying.Store(0)
	switch {
	case err != nil:
		c.log.Warn("removing what has ended from the store failed and is tried again", "after", removeRetry.String(), "error", err)
		return removeRetry
	case !more:
		return 0
	}
	return max(removePause, removeShare*time.Since(began))
}

// commit writes g in one transaction. What was delivered and acknowledged while
// it waited is not written; if nothing is left, the disk is not touched.
func (c *committer) commit(g *group) error {
	entries, elided := 0, 0
	for id, w := range g.batch.Sessions {
		live := 0
		for i := range w.Entries {
			if w.Entries[i].Message != nil {
				live++
			}
		}
		entries += live
		elided += len(w.Entries) - live + w.Elided
		if live == 0 && !w.Ended && w.Record == nil && !w.HasWill && len(w.Subscriptions) == 0 && len(w.Owed) == 0 && w.State == nil && len(w.Discarded) == 0 {
			delete(g.batch.Sessions, id)
			recycle(w)
		}
	}
	c.m.CommitElided.Add(elided)
	if len(g.batch.Sessions) == 0 && len(g.batch.Retained) == 0 && !c.timeDue.Swap(false) {
		return nil
	}
	start := time.Now()
	wait := commitRetryWait
	g.batch.Time, g.batch.System = c.clock.both()
	c.writing.Store(countUnstored(g.batch))
	for try := 1; ; try++ {
		c.applying.Store(c.clock.now().UnixNano())
		err := c.store.Apply(g.batch)
		c.applying.Store(0)
		if err == nil {
			break
		}
		c.m.CommitFailures.Inc()
		if errors.Is(err, session.ErrNoSpace) && c.waitForSpace(start, err) {
			try--
			continue
		}
		if errors.Is(err, session.ErrStoreGone) {
			return err
		}
		c.log.Error("commit failed", "try", try, "of", commitTries, "error", err)
		if try == commitTries {
			return err
		}
		select {
		case <-time.After(wait):
		case <-c.stop:
		}
		wait *= 2
	}
	c.writing.Store(nil)
	for _, w := range g.batch.Sessions {
		recycle(w)
	}
	c.m.Commits.Inc()
	c.m.StorageOperations.Add(entries + len(g.batch.Sessions) + len(g.batch.Retained))
	c.m.CommitMessages.Update(float64(entries))
	took := time.Since(start)
	c.patience.committed(took)
	c.m.CommitSeconds.Update(took.Seconds())
	return nil
}

// recycle takes the memory of entries that are done with: their group is shut, so
// that no acknowledgement looks for them any more, and committed.
func recycle(w *session.Writes) {
	groupEntries.put(w.Entries)
	w.Entries = nil
}

// waiting is how long the store has not answered to a commit; 0: it has.
func (c *committer) waiting() time.Duration { return c.since(&c.applying) }

// release lets go what waited for g.
func (c *committer) release(g *group) {
	c.mu.Lock()
	c.committed.Store(g.number)
	c.running = nil
	c.mu.Unlock()
	g.mu.Lock()
	waiters, done := g.waiters, g.done
	g.waiters = nil
	g.mu.Unlock()
	if done != nil {
		close(done)
	}
	for _, o := range waiters {
		o.flush()
	}
}

// add puts the writes of one Session into the group.
func (g *group) add(id session.ID, w *session.Writes) {
	g.mu.Lock()
	g.batch.Sessions[id] = w
	g.mu.Unlock()
}

// strike takes the writes of a Session out of the group.
func (g *group) strike(id session.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.batch.Sessions, id)
}

// setRetained puts the change of a retained message into the group.
func (g *group) setRetained(topic string, w session.RetainedWrite) {
	g.mu.Lock()
	g.batch.Retained[topic] = w
	g.mu.Unlock()
	g.firm.Store(true)
}
