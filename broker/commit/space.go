package commit

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/x0a1b/promptmq/broker/trouble"
)

const (
	// fullAfter is how long a disk must have been full before new work is refused: a
	// refusal is final, so trouble that passes should only delay.
	fullAfter     = time.Second
	spaceLogEvery = 10 * time.Second // at most
)

// RowCost is about how many bytes a row takes on disk beyond its contents.
const RowCost = 128

// A space is what the store has room for, in bytes. Its room is what the store reported
// after the last commit, less what was admitted since. So what is admitted can be committed,
// and nothing has to be taken back.
type space struct {
	room     atomic.Int64
	reported int64        // by the store; owned by Run
	diskFull atomic.Bool  // the disk has taken nothing of the commit under way for fullAfter
	wanted   atomic.Int64 // what was refused last asked for; 0: there has been room for it since
	loggedAt atomic.Int64 // Unix nanoseconds
}

// Admit reports whether about n bytes may join the open group, and reserves them. A
// refusal is counted and logged as one of what, and the caller, who is in the gate, changes
// nothing. What only removes or replaces (n <= 0) is always admitted.
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
	c.logFull("the store is at its limit: what would be stored is refused, what removes goes on", trouble.StoreFull, "room", c.space.room.Load())
}

// Reserve takes room for what must be stored, even if there is none. The caller is in the
// gate.
func (c *Committer) Reserve(n int64) {
	if n <= 0 { // what it replaces is larger; room may be math.MaxInt64, to which nothing can be added
		return
	}
	c.space.room.Add(-n)
	c.open.Load().reserved.Add(n)
}

// settle notes the room that there is after the commit of g.
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

// DiskFull reports whether the disk has been full for long enough to refuse what would be
// stored.
func (c *Committer) DiskFull() bool { return c.space.diskFull.Load() }

// noteDiskFull notes, and logs, that the disk is full since began.
func (c *Committer) noteDiskFull(began time.Time, err error) {
	if time.Since(began) >= fullAfter {
		c.space.diskFull.Store(true)
	}
	c.logFull("the disk is full: acknowledgements wait, and soon what would be stored is refused", trouble.DiskFull, "error", err)
}

func (c *Committer) logFull(msg string, code slog.Attr, attrs ...any) {
	last, now := c.space.loggedAt.Load(), c.clock.Now().UnixNano()
	if now-last >= int64(spaceLogEvery) && c.space.loggedAt.CompareAndSwap(last, now) {
		go c.log.Warn(msg, append(attrs, code)...) // the caller may hold locks
	}
}
