package broker

import (
	"time"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/session"
)

// cleanup removes expired and old messages from every queue, at the start and
// then in intervals, until the broker stops. Sessions and retained messages need
// none: timers end them when their time is over, on disk too.
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
			b.sweepClient(cl)
		}
		b.m.CleanupRuns.Inc()
		if b.clock.NoteJump() {
			b.commits.NoteTime() // else a crash would take the jump for time that has passed
		}
		timer.Reset(b.o.CleanupInterval)
	}
}

// sweepClient goes through the queue of one Session. Each step takes the locks
// for a batch, and the next one waits until what it removed is committed.
func (b *Broker) sweepClient(cl *Client) {
	defer b.recoverPanic("cleaning up a queue")
	var id session.ID
	var from uint64
	group, ok := b.sweepStep(cl, 0, func(s *session.Session, now time.Time, fx *session.Effects) {
		id = s.ID
		s.SweepWindow(now, b.o.MaxMessageAge, fx)
		from = s.SweepFrom()
	})
	for b.commits.Wait(group) == nil && ok && !b.stopping.Load() {
		entries, err := b.store.Page(id, from, b.o.CleanupBatch, windowBytes)
		if err != nil {
			b.noteUnread("reading a queue for its cleanup failed", cl.id, err)
			return
		}
		if len(entries) == 0 {
			return
		}
		group, ok = b.sweepStep(cl, id, func(s *session.Session, now time.Time, fx *session.Effects) {
			s.SweepPage(from, entries, now, b.o.MaxMessageAge, fx)
		})
		from = entries[len(entries)-1].Seq + 1
	}
}

// sweepStep lets fn remove from the queue of the Session with this ID; 0: of any.
// It returns the group to wait for, 0 if nothing was removed, and whether there
// is more to look at on disk.
func (b *Broker) sweepStep(cl *Client, id session.ID, fn func(*session.Session, time.Time, *session.Effects)) (group uint64, more bool) {
	var l pending
	defer l.flush(b.m)
	b.commits.Enter()
	defer b.commits.Leave()
	cl.mu.Lock()
	defer cl.mu.Unlock()
	s := cl.sess
	if s == nil || (id != 0 && s.ID != id) {
		return 0, false
	}
	now := b.clock.Now()
	l.fx.Reset()
	control.Panic(control.PanicInCleanup)
	fn(s, now, &l.fx)
	removed := len(l.fx.Discarded) > 0
	cl.applyLocked(now, &l)
	cl.startFeedLocked()
	if removed {
		group = cl.lastGroup
	}
	return group, s.Durable() && s.QueueLen() > 0
}
