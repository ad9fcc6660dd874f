package broker

import (
	"time"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/session"
)

// A detachment is what remains to be done after a connection has left its
// Session, without that Client's lock.
type detachment struct {
	will  *session.Will // to be published now
	ended *session.Session
	// spilled says that ended has messages of Shared Subscriptions on disk only:
	// endSpilled hands them on, and removes it from there.
	spilled   bool
	group     uint64 // the last that has something of ended; 0: none has
	handsOver bool   // the Session goes on, and was a member of Shared Subscriptions
}

// awaited is the group with which a Session that has ended is gone on disk; 0: it
// was not there.
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

// detach ends what binds c to its Client, and returns the commit group to wait
// for before the connection is closed; 0: none. lazily says that it is not worth a
// commit of its own: what comes and goes within one is never written.
func (b *Broker) detach(c *conn) (group uint64, lazily bool) {
	b.commits.Enter()
	defer b.commits.Leave()
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

// ending calls leave, which ends a connection or a Session of the Client with its
// lock held, and does what that leaves to be done. Whatever happens meanwhile, no
// CONNECT has the Session before it is done and the Will Message is published. The
// caller holds the gate and no other lock.
func (b *Broker) detaching(cl *Client, now time.Time, l *pending, leave func() detachment) {
	defer b.detachingDone(cl)
	after := func() detachment {
		cl.mu.Lock()
		defer cl.mu.Unlock()
		cl.changing += oneEnding
		return leave()
	}()
	b.finishDetach(cl, after, now, l)
}

// ended is called when nothing is left to be done of one end.
func (b *Broker) detachingDone(cl *Client) {
	unused := func() bool {
		cl.mu.Lock()
		defer cl.mu.Unlock()
		cl.changing -= oneEnding
		if s := cl.currentChangeoverLocked(); s != nil && cl.changing < oneEnding && s.allEnded != nil { // who waits for a connection looks whether it was that
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

// detachLocked ends what binds the connection to the Session: its Will becomes
// due or void, and the Session ends or waits for its Session Expiry Interval.
// The caller holds client.mu and the gate, and calls finishDetach afterwards.
func (cl *Client) detachLocked(clean bool, now time.Time, l *pending) detachment {
	b, s := cl.b, cl.sess
	control.Panic(control.PanicInDetach)
	next := cl.currentChangeoverLocked()
	admitted := next != nil && next.admitted
	if !admitted {
		b.connectedClients.Add(-1)
	}
	cl.conn = nil
	cl.connected.Store(false)
	stopping := b.stopping.Load()
	l.fx.Reset()
	closed := s.Close(clean, stopping, now, &l.fx)
	cl.applyLocked(now, l)
	if closed.Ended {
		return cl.endedLocked(closed)
	}
	cl.storedLocked().expiresAt = dueAt(closed.ExpiresAt)
	cl.scheduleLocked()
	return detachment{will: closed.Will, handsOver: !stopping && !admitted && s.HasShared()}
}

// endLocked ends the Session; its subscriptions are still in the router. [MQTT-4.1.0-2]
// The caller holds client.mu and the gate, and calls finishDetach afterwards.
func (cl *Client) endLocked(now time.Time, l *pending) detachment {
	l.fx.Reset()
	closed := cl.sess.End(now, &l.fx)
	cl.applyLocked(now, l)
	return cl.endedLocked(closed)
}

// endedLocked forgets the Session, which has just ended.
func (cl *Client) endedLocked(closed session.Closed) detachment {
	after := detachment{will: closed.Will, ended: cl.sess, spilled: closed.Spilled}
	if cl.stored != nil {
		after.group = cl.stored.part.Group()
		cl.b.timers.remove(cl.stored)
	}
	cl.sess, cl.stored = nil, nil
	cl.full.Store(session.NoLimit)
	cl.b.shortages.Delete(cl)
	cl.durable.Store(false)
	cl.b.sessions.Add(-1)
	return after
}

// noteEndLocked notes what the next CONNACK must wait for when a connection has left.
func (cl *Client) noteEndLocked(after *detachment) {
	if g := after.awaited(); g > 0 {
		cl.changeoverLocked().group = g
	}
}

// finishDetach does what a detachment asks for. The caller holds the gate, so
// that all of it joins the same commit group, and no other lock.
func (b *Broker) finishDetach(cl *Client, after detachment, now time.Time, l *pending) {
	if s := after.ended; s != nil {
		b.unsubscribeAll(cl, s)
	}
	if after.will != nil && !control.Broken(control.WillLost) {
		control.BeLate(control.WillLate)
		b.publishWill(after.will, now, l)
	}
	s := after.ended
	if s == nil {
		if after.handsOver {
			b.handOver(cl.takeForOthers(now, l), cl, true, now, l)
		}
		return
	}
	if s.HasShared() {
		var fx session.Effects // End has written what becomes of the queue
		b.handOver(s.TakeShared(nil, true, &fx), cl, s.Durable(), now, l)
	}
	if after.spilled {
		b.background.Add(1)
		go b.endSpilled(s, cl, after.group)
		return
	}
	l.outcomes.fromQueue[sessionEnded] += s.Unsent()
}
