package broker

import (
	"time"

	"github.com/x0a1b/promptmq/broker/commit"
	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// handleDisconnect ends the connection at the Client's wish. Section 3.14.
func (c *conn) handleDisconnect(f codec.Frame) error {
	p := &c.packets.disconnect
	if err := p.Decode(f, c.version); err != nil {
		return err
	}
	cl := c.client
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.conn != c {
		return errTakenOver
	}
	if p.HasSessionExpiry {
		if c.params.endsWithConnection && p.SessionExpirySeconds != 0 { // section 3.14.2.2.2
			return refuse(codec.ProtocolError, "a Session that was to end with the connection cannot be prolonged")
		}
		cl.sess.SetExpiry(min(p.SessionExpirySeconds, c.b.o.MaxSessionExpirySeconds))
	}
	c.left = true
	c.clean = p.Reason == codec.NormalDisconnection && !control.Broken(control.WillAfterDisconnect) // [MQTT-3.14.4-3]
	return errDisconnect
}

// handleAuth refuses AUTH: no Authentication Method was accepted in CONNECT, so
// the Client must not send it. [MQTT-4.12.0-7]
func (c *conn) handleAuth(codec.Frame) error {
	return refuse(codec.ProtocolError, "AUTH without an Authentication Method in CONNECT")
}

// An aftermath is what remains to be done after a connection has left its
// Session, without that Client's lock.
type aftermath struct {
	will  *session.Will // to be published now
	ended *session.Session
	// spilled says that ended has messages of Shared Subscriptions on disk only:
	// endSpilled hands them on, and removes it from there.
	spilled bool
	group   uint64 // the last that has something of ended; 0: none has
	left    bool   // the Session goes on, and was a member of Shared Subscriptions
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
	b.ending(cl, now, &c.pending, func() aftermath {
		if cl.conn != c {
			return aftermath{}
		}
		after := cl.detachLocked(c.clean, now, &c.pending)
		switch {
		case !c.left:
		case after.ended != nil:
			group, lazily = after.group, !after.ended.Durable()
		default:
			group = cl.lastGroup
		}
		if c.marked(takenOver) {
			s := cl.successionLocked()
			s.replaced, s.cutShort = c.net().RemoteAddr(), c.marked(cutShort)
		}
		cl.noteEndLocked(&after)
		return after
	})
	return group, lazily
}

// detachLocked ends what binds the connection to the Session: its Will becomes
// due or void, and the Session ends or waits for its Session Expiry Interval.
// The caller holds client.mu and the gate, and calls finishDetach afterwards.
func (cl *Client) detachLocked(clean bool, now time.Time, l *pending) aftermath {
	b, s := cl.b, cl.sess
	control.Panic(control.PanicInDetach)
	next := cl.leftLocked()
	heir := next != nil && next.heir
	if !heir {
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
	return aftermath{will: closed.Will, left: !stopping && !heir && s.HasShared()}
}

// endLocked ends the Session; its subscriptions are still in the router. [MQTT-4.1.0-2]
// The caller holds client.mu and the gate, and calls finishDetach afterwards.
func (cl *Client) endLocked(now time.Time, l *pending) aftermath {
	l.fx.Reset()
	closed := cl.sess.End(now, &l.fx)
	cl.applyLocked(now, l)
	return cl.endedLocked(closed)
}

// endedLocked forgets the Session, which has just ended.
func (cl *Client) endedLocked(closed session.Closed) aftermath {
	after := aftermath{will: closed.Will, ended: cl.sess, spilled: closed.Spilled}
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

// finishDetach does what an aftermath asks for. The caller holds the gate, so
// that all of it joins the same commit group, and no other lock.
func (b *Broker) finishDetach(cl *Client, after aftermath, now time.Time, l *pending) {
	if s := after.ended; s != nil {
		b.unsubscribeAll(cl, s)
	}
	if after.will != nil && !control.Broken(control.WillLost) {
		control.BeLate(control.WillLate)
		b.publishWill(after.will, now, l)
	}
	s := after.ended
	if s == nil {
		if after.left {
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
	l.outcomes.dropQueued(sessionEnded, s.Unsent())
}

// unsubscribeAll takes the subscriptions of a Session that has ended out of the
// router. If they are many that goes on without the gate, which the caller holds:
// nothing is delivered by them any more, and those of a newer Session stay.
func (b *Broker) unsubscribeAll(cl *Client, s *session.Session) {
	if s.SubscriptionCount() <= filtersAtOnce {
		b.unsubscribeEach(cl, s)
		return
	}
	b.background.Add(1)
	go func() {
		defer b.background.Done()
		defer b.recoverPanic("removing the subscriptions of a session")
		b.unsubscribeEach(cl, s)
	}()
}

// unsubscribeEach does it, a few at a time.
func (b *Broker) unsubscribeEach(cl *Client, s *session.Session) {
	b.router.mu.Lock()
	defer b.router.mu.Unlock()
	n := 0
	for sub := range s.Subscriptions() {
		b.router.unsubscribeLocked(cl, s.ID, sub.Filter)
		if n++; n%filtersAtOnce == 0 { // others may route meanwhile
			b.router.mu.Unlock()
			b.router.mu.Lock()
		}
	}
}

// takeForOthers takes what connected members of Shared Subscriptions may get
// instead of a Client that has just lost its connection.
func (cl *Client) takeForOthers(now time.Time, l *pending) []session.Entry {
	ready := make(map[string]bool)
	for _, filter := range cl.sharedFilters() {
		if cl.b.otherMemberReady(filter, cl) {
			ready[filter] = true
		}
	}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.sess == nil || cl.conn != nil {
		return nil
	}
	l.fx.Reset()
	taken := cl.sess.TakeShared(ready, true, &l.fx)
	cl.applyLocked(now, l)
	return taken
}

// sharedFilters returns the filters of the Client's Shared Subscriptions.
func (cl *Client) sharedFilters() (shares []string) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.sess == nil {
		return nil
	}
	for sub := range cl.sess.Subscriptions() {
		if sub.Shared() {
			shares = append(shares, sub.Filter)
		}
	}
	return shares
}

// endSpilled hands on the messages that an ended Session had on disk by Shared
// Subscriptions, and then removes the Session from the store.
func (b *Broker) endSpilled(s *session.Session, cl *Client, group uint64) {
	defer b.background.Done()
	defer b.recoverPanic("ending a session")
	defer b.registry.remove(cl) // a start made it for this alone
	if b.commits.Wait(group) != nil {
		return // the next start ends it
	}
	var part commit.Part
	from, _ := s.PageFrom()
	left := s.Unsent()
	for {
		entries, err := b.store.Page(s.ID, from, windowMessages, windowBytes)
		if err != nil {
			b.noteUnread("reading the queue of an ended session failed", s.ClientID, err)
			return
		}
		orphans := s.Orphans(entries)
		if n := len(entries); n > 0 {
			from = entries[n-1].Seq + 1
		}
		group := b.handOverSpilled(s, &part, cl, orphans, from, len(entries) == 0)
		if left -= len(orphans); len(entries) == 0 {
			var n outcomes
			n.dropQueued(sessionEnded, max(0, left))
			n.count(b.m)
			return
		}
		if b.commits.Wait(group) != nil { // nor is more read than one transaction can write
			return // the next start goes on
		}
	}
}

// handOverSpilled hands on what was read of an ended Session's queue up to from,
// and in the same group takes it from there, so that a crash makes nobody get it
// again; at the end of the queue it removes the Session.
func (b *Broker) handOverSpilled(s *session.Session, part *commit.Part, cl *Client, orphans []session.Entry, from uint64, end bool) (group uint64) {
	var l pending
	defer l.flush(b.m)
	b.commits.Enter()
	defer b.commits.Leave()
	b.handOver(orphans, cl, true, b.clock.Now(), &l)
	l.fx.Reset()
	s.HandedOn(from, end, &l.fx)
	b.commits.Merge(part, s, &l.fx, nil)
	return part.Group()
}

// handOverStep is how many messages are handed on without letting others into the
// gate, where they need not be in one commit.
const handOverStep = 256

// handOver delivers messages of Shared Subscriptions to other members than from.
// stored says that from is Durable: then they move in one commit. The caller holds
// the gate.
func (b *Broker) handOver(orphans []session.Entry, from *Client, stored bool, now time.Time, l *pending) {
	for i := range orphans {
		if !stored && i%handOverStep == handOverStep-1 {
			b.commits.Leave()
			b.commits.Enter()
		}
		control.Panic(control.PanicInHandOver)
		e := &orphans[i]
		t, routed := b.pickOther(e, from)
		p := codec.Publish{
			Topic: codec.View(e.Message.Topic), Payload: e.Message.Payload, QoS: e.Message.QoS, Retain: e.Message.Retain,
			Forward: codec.ForwardBytes(e.Message.Forward),
		}
		p.MessageExpirySeconds, p.HasMessageExpiry = e.Message.RemainingExpirySeconds(now)
		pub := publication{p: &p, now: now, expiresAt: e.Message.ExpiresAt, m: e.Message, routed: routed}
		pub.origin, pub.why = origin{kind: fromSession, client: from}, causeHandedOver
		if pub.deliver(&t, l) == passedOn {
			b.deliverToAnother(t, &pub, l)
		}
	}
}

// pickOther chooses who gets e in place of from, or from itself if that is still a
// member and there is no other.
func (b *Broker) pickOther(e *session.Entry, from *Client) (t target, routed uint64) {
	b.router.mu.RLock()
	defer b.router.mu.RUnlock()
	t, ok := b.router.pickLocked(e.Share, e.QoS, from)
	if !ok {
		t.dropped = true
	}
	return t, b.router.changes.Load()
}

// otherMemberReady reports whether a member other than cl is connected.
func (b *Broker) otherMemberReady(filter string, cl *Client) bool {
	b.router.mu.RLock()
	defer b.router.mu.RUnlock()
	sh := b.router.shares[filter]
	if sh == nil {
		return false
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for i := range sh.members {
		if m := &sh.members[i]; m.client != cl && m.client.connected.Load() {
			return true
		}
	}
	return false
}
