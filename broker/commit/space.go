package commit

import (
	"sync/atomic"
	"time"
)

const (
	// noSpaceRetry is how long the committer waits on a full disk before it tries
	// again.
	noSpaceRetry = 250 * time.Millisecond
	// fullAfter is how long a disk must have been full for new work to be refused:
	// a refusal is final, so trouble that passes only delays.
	fullAfter = time.Second
	// spaceLogEvery bounds how often a store at its limit is logged.
	spaceLogEvery = 10 * time.Second
)

// RowCost is about how many bytes a row takes on disk beside its contents.
const RowCost = 128

// A space is what the store has room for. Its room is what the store reported
// after the last commit, less what was admitted since: so what is admitted can
// be committed, and nothing has to be taken back.
type space struct {
	room     atomic.Int64
	reported int64 // by the store; owned by the committer
	// diskFull: the disk took nothing of the commit under way.
	diskFull atomic.Bool
	// wanted is how many bytes the last refused packet asked for; 0: none was
	// refused since there was room for it.
	wanted   atomic.Int64
	loggedAt atomic.Int64 // Unix nanoseconds
}

// Admit reports whether about n bytes may join the open group, and reserves
// them; what is refused is counted and logged as what. The caller holds the gate, and
// changes nothing if it may not. What removes or replaces asks for nothing (n is 0 or
// less) and is always admitted.
func (c *Committer) Admit(n int64, what string) bool {
	if n <= 0 || c.takeRoom(n) {
		return true
	}
	c.noteRefused(n, what)
	return false
}

// takeRoom reserves about n bytes if there is room for them.
func (c *Committer) takeRoom(n int64) bool {
	if c.space.diskFull.Load() {
		return false
	}
	if c.space.room.Add(-n) >= 0 {
		c.open.Load().reserved.Add(n)
		return true
	}
	c.space.room.Add(n)
	return false
}

// noteRefused counts and logs that there was no room for about n bytes of what.
func (c *Committer) noteRefused(n int64, what string) {
	c.space.wanted.Store(n)
	c.m.StoreRefused(what).Inc()
	c.logFull("the store is at its limit: what would be stored is refused, what removes goes on", "room", c.space.room.Load())
}

// Reserve takes the room for what must be stored, be there room or not. The
// caller holds the gate.
func (c *Committer) Reserve(n int64) {
	if n <= 0 { // what it replaces is larger: where nothing limits the store, more room than that is none
		return
	}
	c.space.room.Add(-n)
	c.open.Load().reserved.Add(n)
}

// settle notes the room that the commit of g left.
func (c *Committer) settle(g *group) {
	s := &c.space
	now := c.store.Room()
	room := s.room.Add(now - s.reported + g.reserved.Load())
	s.reported = now
	s.diskFull.Store(false)
	if wanted := s.wanted.Load(); wanted > 0 && room >= wanted && s.wanted.CompareAndSwap(wanted, 0) {
		c.log.Info("the store has room again", "room", room)
	}
}

// Full reports whether the store refuses.
func (c *Committer) Full() bool { return c.space.diskFull.Load() || c.space.wanted.Load() > 0 }

// DiskFull reports whether the disk took nothing of the commit under way, for long enough
// to refuse what would be stored.
func (c *Committer) DiskFull() bool { return c.space.diskFull.Load() }

// waitForSpace waits before the next try on a disk that is full since began. It
// reports false if the committer has no time for that: it is being shut down.
func (c *Committer) waitForSpace(began time.Time, err error) bool {
	if time.Since(began) >= fullAfter {
		c.space.diskFull.Store(true)
	}
	c.logFull("the disk is full: acknowledgements wait, and soon what would be stored is refused", "error", err)
	select {
	case <-time.After(noSpaceRetry):
		c.busy.Store(c.clock.Now().UnixNano())
		return true
	case <-c.ending:
		return false
	}
}

func (c *Committer) logFull(msg string, attrs ...any) {
	last, now := c.space.loggedAt.Load(), c.clock.Now().UnixNano()
	if now-last >= int64(spaceLogEvery) && c.space.loggedAt.CompareAndSwap(last, now) {
		go c.log.Warn(msg, attrs...) // the caller may hold locks
	}
}
