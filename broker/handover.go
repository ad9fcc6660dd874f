package broker

import (
	"time"

	"github.com/x0a1b/promptmq/broker/commit"
	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// handOverStep is how many messages are handed over before a commit may come between, if
// they need not be in one.
const handOverStep = 256

// handOver delivers messages of Shared Subscriptions, which from had, to other
// members. stored says that they are on disk in from's queue: then they move in one
// commit. The caller holds the gate and no other lock.
func (b *Broker) handOver(orphans []session.Entry, from *Client, stored bool, now time.Time, pend *pending) {
	for i := range orphans {
		if !stored && i%handOverStep == handOverStep-1 {
			b.leave(pend)
			b.commits.Enter()
		}
		b.handOverOne(&orphans[i], from, nil, now, pend)
	}
}

// handOverOne delivers a message of a Shared Subscription, which from had, to another
// member; not to those that are refused.
func (b *Broker) handOverOne(e *session.Entry, from *Client, refused []*Client, now time.Time, pend *pending) {
	control.Panic(control.PanicInHandOver)
	t, routed := b.pickOther(e, from, refused)
	p := codec.Publish{
		Topic: codec.View(e.Message.Topic), Payload: e.Message.Payload, QoS: e.Message.QoS, Retain: e.Message.Retain,
		Forward: codec.ForwardBytes(e.Message.Forward),
	}
	p.MessageExpirySeconds, p.HasMessageExpiry = e.Message.RemainingExpirySeconds(now)
	pub := publication{p: &p, now: now, expiresAt: e.Message.ExpiresAt, m: e.Message, routed: routed, refused: refused}
	pub.origin, pub.why = origin{kind: fromSession, client: from}, causeHandedOver
	if pub.deliver(&t, pend) == passedOn {
		b.deliverToAnother(t, &pub, pend)
	}
}

// pickOther chooses the member that gets e in place of from; from itself, if that is
// still a member, there is no other, and it is not refused. routed is as in publication.
func (b *Broker) pickOther(e *session.Entry, from *Client, refused []*Client) (t target, routed uint64) {
	b.router.mu.RLock()
	defer b.router.mu.RUnlock()
	t, _ = b.router.pickLocked(e.Share, e.QoS, from, refused)
	return t, b.router.changes.Load()
}

// An orphan is a message of a Shared Subscription that its Session was about to send, to a
// Client that may not have it.
type orphan struct {
	entry session.Entry
	from  *Client
}

// leave lets go of the gate, when those of the messages that were denied have gone to
// others that are of Shared Subscriptions: in the commit that takes them from their Session.
// No other lock may be held.
func (b *Broker) leave(pend *pending) {
	if len(pend.orphans) > 0 {
		b.handOverDenied(pend)
	}
	b.commits.Leave()
}

// handOverDenied tries each member once for each message, even if the Policy changes
// meanwhile, so that what one gets may be denied again when its Session sends it.
func (b *Broker) handOverDenied(pend *pending) {
	defer func() { pend.orphans = nil }()
	for i := 0; i < len(pend.orphans); i++ {
		o := pend.orphans[i]
		var refused []*Client
		for _, other := range pend.orphans[:i+1] {
			if other.entry.Message == o.entry.Message {
				refused = append(refused, other.from)
			}
		}
		b.handOverOne(&o.entry, o.from, refused, b.clock.Now(), pend)
	}
}

// takeForOthers takes, from the queue of a Client that has just lost its connection, what
// connected members of its Shared Subscriptions can get instead.
func (cl *Client) takeForOthers(now time.Time, pend *pending) []session.Entry {
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
	pend.fx.Reset()
	taken := cl.sess.TakeShared(ready, true, &pend.fx)
	cl.applyLocked(now, pend)
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
		if m := &sh.members[i]; m.client != cl && m.client.hints.connected() {
			return true
		}
	}
	return false
}

// endSpilled hands over the messages of Shared Subscriptions that an ended Session has
// on disk only, and then removes the Session from the store. It runs in its own
// goroutine; what it has not done when the broker stops is done at the next start.
func (b *Broker) endSpilled(s *session.Session, cl *Client, group uint64) {
	defer b.background.Done()
	defer b.recoverPanic("ending a session")
	defer b.registry.remove(cl) // at a start it was made for this alone
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
			n.fromQueue[sessionEnded] += max(0, left)
			n.count(b.m)
			return
		}
		if b.commits.Wait(group) != nil { // before more is read: one transaction has one page to write
			return // the next start goes on
		}
	}
}

// handOverSpilled hands over what was read of an ended Session's queue up to from, and
// removes it from there in the same group: after a crash nobody gets it again. At the
// end of the queue it removes the Session.
func (b *Broker) handOverSpilled(s *session.Session, part *commit.Part, cl *Client, orphans []session.Entry, from uint64, end bool) (group uint64) {
	var pend pending
	defer pend.flush(b.m)
	b.commits.Enter()
	defer b.leave(&pend)
	b.handOver(orphans, cl, true, b.clock.Now(), &pend)
	pend.fx.Reset()
	s.HandedOn(from, end, &pend.fx)
	b.commits.Merge(part, s, &pend.fx, nil)
	return part.Group()
}
