package broker

import (
	"sync/atomic"
	"time"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
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

	// About what a row takes on disk beside its contents; and how many bytes of
	// contents leave the last of its pages partly empty, and how much of it.
	rowCost      = 128
	pageCost     = 8192
	pageCostFrom = 2048
)

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

// admit reports whether about n bytes may join the open group, and reserves
// them. The caller holds the gate, and changes nothing if it may not. What
// removes or replaces asks for nothing and is always admitted.
func (c *committer) admit(n int64, packet codec.PacketType) bool {
	if n <= 0 || c.takeRoom(n) {
		return true
	}
	c.noteRefused(n, packet.String())
	return false
}

// takeRoom reserves about n bytes if there is room for them.
func (c *committer) takeRoom(n int64) bool {
	if c.space.diskFull.Load() {
		return false
	}
	if c.space.room.Add(-n) >= 0 {
		c.open.reserved.Add(n)
		return true
	}
	c.space.room.Add(n)
	return false
}

// noteRefused counts and logs that there was no room for about n bytes of what.
func (c *committer) noteRefused(n int64, what string) {
	c.space.wanted.Store(n)
	c.m.StoreRefused(what).Inc()
	c.logFull("the store is at its limit: what would be stored is refused, what removes goes on", "room", c.space.room.Load())
}

// reserve takes the room for what must be stored, be there room or not. The
// caller holds the gate.
func (c *committer) reserve(n int64) {
	if n <= 0 { // what it replaces is larger: where nothing limits the store, more room than that is none
		return
	}
	c.space.room.Add(-n)
	c.open.reserved.Add(n)
}

// settle notes the room that the commit of g left.
func (c *committer) settle(g *group) {
	s := &c.space
	now := c.store.Room()
	room := s.room.Add(now - s.reported + g.reserved.Load())
	s.reported = now
	s.diskFull.Store(false)
	if wanted := s.wanted.Load(); wanted > 0 && room >= wanted && s.wanted.CompareAndSwap(wanted, 0) {
		c.log.Info("the store has room again", "room", room)
	}
}

// full reports whether the store refuses.
func (c *committer) full() bool { return c.space.diskFull.Load() || c.space.wanted.Load() > 0 }

// waitForSpace waits before the next try on a disk that is full since began. It
// reports false if the committer has no time for that: it is being shut down.
func (c *committer) waitForSpace(began time.Time, err error) bool {
	if time.Since(began) >= fullAfter {
		c.space.diskFull.Store(true)
	}
	c.logFull("the disk is full: acknowledgements wait, and soon what would be stored is refused", "error", err)
	select {
	case <-time.After(noSpaceRetry):
		c.busy.Store(c.clock.now().UnixNano())
		return true
	case <-c.ending:
		return false
	}
}

func (c *committer) logFull(msg string, attrs ...any) {
	last, now := c.space.loggedAt.Load(), c.clock.now().UnixNano()
	if now-last >= int64(spaceLogEvery) && c.space.loggedAt.CompareAndSwap(last, now) {
		go c.log.Warn(msg, attrs...) // the caller may hold locks
	}
}

// messageCost is about what a stored message takes.
func messageCost(m *codec.Publish) int64 {
	n := int64(rowCost + len(m.Topic) + len(m.Payload) + m.Forward.Len())
	if n >= pageCostFrom {
		n += pageCost
	}
	return n
}

// storeCost is about what a message takes in the queues it will enter: once,
// and an entry for each.
func storeCost(pub *publication, s *routing) int64 {
	if pub.p.QoS == 0 {
		return 0
	}
	entries := int64(0)
	for i := range s.targets {
		if t := &s.targets[i]; !t.dropped && t.qos > 0 && t.client.durable.Load() {
			entries++
		}
	}
	if entries == 0 {
		return 0
	}
	return messageCost(pub.p) + entries*rowCost
}

// retainCostLocked is about how much more the retained messages take with this
// one. The caller holds router.mu.
func (b *Broker) retainCostLocked(p *codec.Publish) int64 {
	if len(p.Payload) == 0 {
		return 0
	}
	n := messageCost(p)
	if old, ok := b.router.retained.Get(p.Topic); ok && !b.commits.space.diskFull.Load() {
		n -= int64(old.message.Bytes() + rowCost)
	}
	return n
}

// sessionCost is about what a new Session takes, with its Will.
func sessionCost(p *codec.Connect) int64 {
	n := int64(2*rowCost + len(p.ClientID) + len(p.UserName))
	if p.HasWill {
		n += rowCost + int64(len(p.Will.Topic)+len(p.Will.Payload)+p.Will.Forward.Len())
	}
	return n
}

func subscriptionCost(sub *session.Subscription) int64 { return int64(rowCost + len(sub.Filter)) }
