package broker

import (
	"time"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/session"
)

// cleanup removes messages that have expired or are older than MaxMessageAge from every
// queue, at the start and then every CleanupInterval, until the broker stops. Sessions
// and retained messages need no cleanup: each has its time in timers (see expire).
func (b *Broker) cleanup() {
	defer b.background.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-b.cleanupStop:
			return
		}
		for _, cl := range b.registry.all() {
			if b.stopping.Load() {
				return
			}
			b.sweepQueue(cl)
		}
		b.m.CleanupRuns.Inc()
		if b.clock.NoteJump() {
			b.commits.NoteTime() // else the start after a crash would take the jump for time that has passed
		}
		timer.Reset(b.options().CleanupInterval)
	}
}

// sweepQueue goes through the queue of one Session, the part in memory first. Each step
// looks at one batch with the locks held; the next waits until what it removed is
// committed.
func (b *Broker) sweepQueue(cl *Client) {
	defer b.recoverPanic("cleaning up a queue")
	var id session.ID
	var from uint64
	group, ok := b.sweepStep(cl, 0, func(s *session.Session, now time.Time, fx *session.Effects) {
		id = s.ID
		s.SweepWindow(now, b.options().MaxMessageAge, fx)
		from = s.SweepFrom()
	})
	for b.commits.Wait(group) == nil && ok && !b.stopping.Load() {
		entries, err := b.store.Page(id, from, b.options().CleanupBatch, windowBytes)
		if err != nil {
			b.noteUnread("reading a queue for its cleanup failed", cl.id, err)
			return
		}
		if len(entries) == 0 {
			return
		}
		group, ok = b.sweepStep(cl, id, func(s *session.Session, now time.Time, fx *session.Effects) {
			s.SweepPage(from, entries, now, b.options().MaxMessageAge, fx)
		})
		from = entries[len(entries)-1].Seq + 1
	}
}

// sweepStep has fn remove messages from the queue of the Client's Session, if that has
// this ID; 0: any. It returns the group to wait for, 0 if nothing was removed, and
// whether the queue may have more on disk.
func (b *Broker) sweepStep(cl *Client, id session.ID, fn func(*session.Session, time.Time, *session.Effects)) (group uint64, more bool) {
	var pend pending
	defer pend.flush(b.m)
	b.commits.Enter()
	defer b.leave(&pend)
	cl.mu.Lock()
	defer cl.mu.Unlock()
	s := cl.sess
	if s == nil || (id != 0 && s.ID != id) {
		return 0, false
	}
	now := b.clock.Now()
	pend.fx.Reset()
	control.Panic(control.PanicInCleanup)
	queued := s.QueueLen()
	fn(s, now, &pend.fx)
	removed := len(pend.fx.Discarded) > 0
	cl.applyLocked(now, &pend)
	if s.QueueLen() < queued { // no acknowledgement need follow that would go on with it
		cl.startFeedLocked()
	}
	if removed {
		group = cl.lastGroup
	}
	return group, s.Durable() && s.QueueLen() > 0
}
