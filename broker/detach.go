package broker

import (
	"time"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/session"
)

// A detachment is what is still to be done after a connection has left its Session,
// when the Client's lock is free again: see finishDetach.
type detachment struct {
	will  *session.Will    // to be published now; nil: none
	by    author           // of will
	ended *session.Session // nil: the Session goes on
	// spilled says that ended has messages of Shared Subscriptions on disk only:
	// endSpilled hands them on, and removes it from there.
	spilled   bool
	group     uint64 // the last that has something of ended; 0: none has
	handsOver bool   // the Session goes on, and was a member of Shared Subscriptions
}

// awaited is the group with which the Session that has ended is gone from disk; 0: it
// was not there, or goes on.
func (a *detachment) awaited() uint64 {
	if a.ended == nil || !a.ended.Durable() {
		return 0
	}
	return a.group
}

// disconnected detaches c from its Client, and waits until what DISCONNECT asked
// for is on disk, so that the close tells the Client that it is.
func (b *Broker) disconnected(c *conn) {
	group, lazily := b.detach(c)
	c.pending.flush(c.b.m)
	switch {
	case group > 0 && lazily:
		_ = b.commits.Outwait(group)
	case group > 0:
		_ = b.commits.Wait(group) // if it fails the broker is stopping: the connection is closed anyway
	}
}

// detach takes c from its Client, and returns the commit group to wait for before
// the connection is closed; 0: none. lazily says that this should not make the commit
// come sooner: a Will that is set and removed within one group is never written.
func (b *Broker) detach(c *conn) (group uint64, lazily bool) {
	b.commits.Enter()
	defer b.leave(&c.pending)
	cl := c.client
	now := b.clock.Now()
	b.detaching(cl, now, &c.pending, func() detachment {
		if cl.conn != c {
			return detachment{}
		}
		after := cl.detachLocked(c.willVoid, now, &c.pending)
		switch {
		case !c.disconnected:
		case after.ended != nil:
			group, lazily = after.group, !after.ended.Durable()
		default:
			group = cl.lastGroup
		}
		if c.marked(takenOver) {
			s := cl.changeoverLocked()
			s.from, s.cutShort = c.net().RemoteAddr(), c.marked(cutShort)
		}
		cl.noteEndLocked(&after)
		return after
	})
	return group, lazily
}

// detaching calls leave, which ends a connection or a Session of the Client and is
// called with Client.mu held, and finishes the detachment. No CONNECT has the Session
// before that is done and the Will is published, even if it panics. The caller holds
// the gate and no other lock.
func (b *Broker) detaching(cl *Client, now time.Time, pend *pending, leave func() detachment) {
	defer b.detachingDone(cl)
	after := func() detachment {
		cl.mu.Lock()
		defer cl.mu.Unlock()
		cl.changing += oneEnding
		return leave()
	}()
	b.finishDetach(cl, after, now, pend)
}

// detachingDone ends one detaching, and lets the CONNECT go on that waits for the last.
func (b *Broker) detachingDone(cl *Client) {
	unused := func() bool {
		cl.mu.Lock()
		defer cl.mu.Unlock()
		cl.changing -= oneEnding
		if s := cl.currentChangeoverLocked(); s != nil && cl.changing < oneEnding && s.allEnded != nil { // who waits looks again what is in the way
			close(s.allEnded)
			s.allEnded = nil
		}
		cl.dropChangeoverLocked()
		return cl.unusedLocked()
	}()
	if unused {
		b.registry.remove(cl)
	}
}

// detachLocked takes its connection from the Client: the Will becomes due or void, and
// the Session ends or begins to wait for its Session Expiry Interval. The caller holds
// Client.mu and the gate, and calls finishDetach afterwards.
func (cl *Client) detachLocked(clean bool, now time.Time, pend *pending) detachment {
	b, s := cl.b, cl.sess
	control.Panic(control.PanicInDetach)
	by := cl.leavingAuthorLocked(now)
	next := cl.currentChangeoverLocked()
	admitted := next != nil && next.admitted
	if !admitted {
		b.connectedClients.Add(-1)
	}
	cl.conn = nil
	cl.leaveWhoLocked()
	cl.hints.setConnected(false)
	stopping := b.stopping.Load()
	pend.fx.Reset()
	var closed session.Closed
	b.changesWill(s, func() (ended bool) {
		closed = s.Close(clean, stopping, now, &pend.fx)
		return closed.Ended
	})
	cl.applyLocked(now, pend)
	if closed.Ended {
		after := cl.endedLocked(closed)
		after.by = by
		return after
	}
	left := cl.storedLocked()
	left.expiresAt, left.leftAt = dueAt(closed.ExpiresAt), momentOf(now)
	cl.scheduleLocked()
	return detachment{will: closed.Will, by: by, handsOver: !stopping && !admitted && s.HasShared()}
}

// endLocked ends the Session; its subscriptions are still in the router. [MQTT-4.1.0-2]
// The caller holds Client.mu and the gate, and calls finishDetach afterwards.
func (cl *Client) endLocked(now time.Time, pend *pending) detachment {
	pend.fx.Reset()
	var closed session.Closed
	cl.b.changesWill(cl.sess, func() (ended bool) {
		closed = cl.sess.End(now, &pend.fx)
		return true
	})
	cl.applyLocked(now, pend)
	return cl.endedLocked(closed)
}

// endedLocked forgets the Session, which has just ended.
func (cl *Client) endedLocked(closed session.Closed) detachment {
	after := detachment{will: closed.Will, by: author{user: cl.sess.UserName}, ended: cl.sess, spilled: closed.Spilled}
	cl.b.countNames(cl.sess, -1)
	if cl.stored != nil {
		after.group = cl.stored.part.Group()
		cl.b.timers.remove(cl.stored)
		if cl.stored.drops != nil {
			cl.b.drops.forget(cl)
		}
	}
	cl.sess, cl.stored = nil, nil
	cl.who.Store(nil)
	cl.hints.setFull(session.NoLimit)
	cl.b.shortages.Delete(cl)
	cl.hints.setDurable(false)
	cl.b.sessions.Add(-1)
	return after
}

// noteEndLocked notes for the next CONNECT which group its CONNACK must wait for.
func (cl *Client) noteEndLocked(after *detachment) {
	if g := after.awaited(); g > 0 {
		cl.changeoverLocked().group = g
	}
}

// finishDetach does what a detachment asks for. The caller holds no lock but the gate,
// since detachLocked or endLocked: all of it is one commit.
func (b *Broker) finishDetach(cl *Client, after detachment, now time.Time, pend *pending) {
	if s := after.ended; s != nil {
		b.unsubscribeAll(cl, s)
	}
	if after.will != nil && !control.Broken(control.WillLost) {
		control.BeLate(control.WillLate)
		b.publishWill(after.will, cl.id, &after.by, now, pend)
	}
	s := after.ended
	if s == nil {
		if after.handsOver {
			b.handOver(cl.takeForOthers(now, pend), cl, true, now, pend)
		}
		return
	}
	if s.HasShared() {
		var fx session.Effects // End has written what becomes of the queue
		b.handOver(s.TakeShared(nil, true, &fx), cl, s.Durable(), now, pend)
	}
	if after.spilled {
		b.background.Add(1)
		go b.endSpilled(s, cl, after.group)
		return
	}
	pend.outcomes.fromQueue[sessionEnded] += s.Unsent()
}
