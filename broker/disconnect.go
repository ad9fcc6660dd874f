package broker

import (
	"time"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/metrics"
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
		cl.sess.ExpirySeconds = min(p.SessionExpirySeconds, c.b.o.MaxSessionExpirySeconds)
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
	group uint64 // the last that has something of ended
	left  bool   // the Session goes on, and was a member of Shared Subscriptions
}

// disconnected detaches c from its Client, and waits until what DISCONNECT asked
// for is on disk, so that the close tells the Client that it is.
func (b *Broker) disconnected(c *conn) {
	group, lazily := b.detach(c)
	c.touched.flush(c.b.m)
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
	b.ending(cl, now, &c.touched, func() aftermath {
		if cl.conn != c {
			return aftermath{}
		}
		after := cl.detachLocked(c.clean, now, &c.touched)
		switch {
		case !c.left:
		case after.ended != nil:
			group, lazily = after.group, !after.ended.Durable()
		default:
			group = cl.lastGroup
		}
		if c.marked(takenOver) {
			s := cl.successionLocked()
			s.replaced, s.cutShort = c.net.RemoteAddr(), c.marked(cutShort)
		}
		cl.noteEndLocked(&after)
		return after
	})
	return group, lazily
}

// detachLocked ends what binds the connection to the Session: its Will becomes
// due or void, and the Session ends or waits for its Session Expiry Interval.
// The caller holds client.mu and the gate, and calls finishDetach afterwards.
func (cl *Client) detachLocked(clean bool, now time.Time, l *flushList) aftermath {
	b, s := cl.b, cl.sess
	control.Panic(control.PanicInDetach)
	var after aftermath
	next := cl.leftLocked()
	heir := next != nil && next.heir
	if !heir {
		b.connectedClients.Add(-1)
	}
	cl.conn = nil
	cl.connected.Store(false)
	s.Detach()
	if clean {
		cl.setWillLocked(nil) // [MQTT-3.1.2-10]
	}
	stopping := b.stopping.Load()
	if s.ExpirySeconds == 0 {
		after.will = s.Will // [MQTT-3.1.2-8]
		after.ended, after.group = cl.endLocked()
		return after
	}
	if w := s.Will; w != nil {
		due := now.Add(time.Duration(w.DelaySeconds) * time.Second)
		if w.DelaySeconds == 0 && !stopping {
			after.will = w
			cl.setWillLocked(nil)
		} else {
			waiting := *w
			waiting.DueAt = due
			cl.setWillLocked(&waiting)
		}
	}
	r := s.Record(false, now)
	cl.storedLocked().expiresAt = dueAt(r.ExpiresAt)
	cl.scheduleLocked()
	w := cl.writesLocked()
	w.Record = r
	cl.putStateLocked(w)
	b.commits.Later()
	after.left = !stopping && !heir && hasShared(s)
	return after
}

// leavesOrphans says whether a durable Session that ends may have messages of
// Shared Subscriptions on disk only, for others to get.
func leavesOrphans(s *session.Session) bool { return s.Spilled() && hasShared(s) }

func hasShared(s *session.Session) bool {
	for filter := range s.Subscriptions {
		if name, _ := splitShare(filter); name != "" {
			return true
		}
	}
	return false
}

// setWillLocked replaces the Session's Will, in memory and on disk.
func (cl *Client) setWillLocked(w *session.Will) {
	if cl.sess.Will == nil && w == nil {
		return
	}
	cl.sess.Will = w
	if cl.sess.Durable() {
		writes := cl.writesLocked()
		writes.HasWill, writes.Will = true, w
		cl.b.commits.Later()
	}
}

// endLocked ends the Session and returns it; its subscriptions are still in the
// router. [MQTT-4.1.0-2] If messages of Shared Subscriptions are on disk only,
// endSpilled removes it from there when it has handed them on; until then what
// is stored says that its time is over, so that the next start ends it. group is
// the last that has something of it; 0: none.
func (cl *Client) endLocked() (s *session.Session, group uint64) {
	s = cl.sess
	if !s.Durable() {
		group = cl.dropWillLocked()
	} else {
		w := cl.writesLocked()
		if leavesOrphans(s) {
			now := cl.b.clock.Now()
			w.Record = s.Record(false, now)
			w.Record.ExpirySeconds, w.Record.ExpiresAt = 0, now
			w.HasWill, w.Will = true, nil
			w.Floor, _ = s.PageFrom() // what is in memory is handed on in the same group
			w.State = s.AppendLeft(w.State[:0], w.Floor)
		} else {
			w.Ended = true
		}
		cl.b.commits.Later()
		group = cl.lastGroup
	}
	if cl.stored != nil {
		cl.b.expirer.remove(cl.stored)
	}
	cl.sess, cl.stored = nil, nil
	cl.full.Store(session.NoLimit)
	cl.b.shortages.Delete(cl)
	cl.durable.Store(false)
	cl.b.sessions.Add(-1)
	return s, group
}

// finishDetach does what an aftermath asks for. The caller holds the gate, so
// that all of it joins the same commit group, and no other lock.
func (b *Broker) finishDetach(cl *Client, after aftermath, now time.Time, l *flushList) {
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
	if hasShared(s) {
		var fx session.Effects
		b.handOver(s.TakeShared(nil, true, &fx), cl, s.Durable(), now, l)
		if s.Durable() && leavesOrphans(s) {
			b.background.Add(1)
			go b.endSpilled(s, cl, after.group)
			return
		}
	}
	b.m.Dropped[metrics.DropSessionEnded].Add(s.Unsent())
}

// unsubscribeAll takes the subscriptions of a Session that has ended out of the
// router. If they are many that goes on without the gate, which the caller holds:
// nothing is delivered by them any more, and those of a newer Session stay.
func (b *Broker) unsubscribeAll(cl *Client, s *session.Session) {
	if len(s.Subscriptions) <= filtersAtOnce {
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
	for filter := range s.Subscriptions {
		b.router.unsubscribeLocked(cl, s.ID, filter)
		if n++; n%filtersAtOnce == 0 { // others may route meanwhile
			b.router.mu.Unlock()
			b.router.mu.Lock()
		}
	}
}

// takeForOthers takes what connected members of Shared Subscriptions may get
// instead of a Client that has just lost its connection.
func (cl *Client) takeForOthers(now time.Time, l *flushList) []session.Entry {
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
	for filter := range cl.sess.Subscriptions {
		if name, _ := splitShare(filter); name != "" {
			shares = append(shares, filter)
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
		group := b.handOverSpilled(s, cl, orphans, from, len(entries) == 0)
		if left -= len(orphans); len(entries) == 0 {
			b.m.Dropped[metrics.DropSessionEnded].Add(max(0, left))
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
func (b *Broker) handOverSpilled(s *session.Session, cl *Client, orphans []session.Entry, from uint64, end bool) (group uint64) {
	var l flushList
	defer l.flush(b.m)
	b.commits.Enter()
	defer b.commits.Leave()
	b.handOver(orphans, cl, true, b.clock.Now(), &l)
	b.commits.Put(s.ID, &session.Writes{Ended: end, State: s.AppendLeft(nil, from), Floor: from})
	b.commits.Later()
	return b.commits.Number()
}

// handOverStep is how many messages are handed on without letting others into the
// gate, where they need not be in one commit.
const handOverStep = 256

// handOver delivers messages of Shared Subscriptions to other members than from.
// stored says that from is Durable: then they move in one commit. The caller holds
// the gate.
func (b *Broker) handOver(orphans []session.Entry, from *Client, stored bool, now time.Time, l *flushList) {
	for i := range orphans {
		if !stored && i%handOverStep == handOverStep-1 {
			b.commits.Leave()
			b.commits.Enter()
		}
		control.Panic(control.PanicInHandOver)
		e := &orphans[i]
		t, routed, ok := b.pickOther(e, from)
		if !ok {
			b.m.Dropped[metrics.DropNoMember].Inc()
			continue
		}
		p := codec.Publish{
			Topic: codec.View(e.Message.Topic), Payload: e.Message.Payload, QoS: e.Message.QoS, Retain: e.Message.Retain,
			Forward: codec.ForwardBytes(e.Message.Forward),
		}
		p.MessageExpirySeconds, p.HasMessageExpiry = e.Message.RemainingExpirySeconds(now)
		pub := publication{p: &p, now: now, expiresAt: e.Message.ExpiresAt, m: e.Message, routed: routed, not: from}
		if _, late := b.deliver(&t, &pub, l); late != inTime {
			b.deliverLate(&t, late, &pub, l)
		}
	}
}

// pickOther chooses who gets e in place of from, or from itself if that is still a
// member and there is no other.
func (b *Broker) pickOther(e *session.Entry, from *Client) (t target, routed uint64, ok bool) {
	b.router.mu.RLock()
	defer b.router.mu.RUnlock()
	t, ok = b.router.pickLocked(e.Share, e.QoS, from)
	return t, b.router.changes.Load(), ok
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
