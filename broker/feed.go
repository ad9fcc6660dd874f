package broker

import (
	"time"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

const (
	// feedStep is how many retained messages are delivered under one lock.
	feedStep = 32
	// feedQueueMax is how many messages may be queued for a Client before it
	// must acknowledge some to get further retained messages.
	feedQueueMax = 128
)

// owedLocked is what is owed to the Client; nil: nothing.
func (cl *Client) owedLocked() *backlog {
	if cl.stored == nil {
		return nil
	}
	return cl.stored.owed
}

// debtLocked is what is owed to the subscription with this filter; nil: nothing.
func (cl *Client) debtLocked(filter string) *debt {
	if o := cl.owedLocked(); o != nil {
		return o.debts[filter]
	}
	return nil
}

// oweLocked makes a subscription owed all that is retained now; nil: that is nothing.
// The caller holds router.mu for writing, retained.mu, client.mu and the gate.
func (cl *Client) oweLocked(sub *session.Subscription, now time.Time, pend *pending) *debt {
	set := &cl.b.retained.set
	if !set.mayMatch(sub.Filter) {
		cl.disownLocked(cl.debtLocked(sub.Filter), now, pend)
		return nil
	}
	d := cl.backlogLocked().add(sub, set.version)
	cl.storeOwedLocked(d, now, pend)
	return d
}

// backlogLocked returns what is owed to the Client, made if there is none.
func (cl *Client) backlogLocked() *backlog {
	s := cl.storedLocked()
	if s.owed == nil {
		s.owed = newBacklog()
	}
	return s.owed
}

// keepOwedLocked passes what a replaced subscription is still owed to the new one.
// [MQTT-3.8.4-3]
func (cl *Client) keepOwedLocked(sub *session.Subscription) {
	if d := cl.debtLocked(sub.Filter); d != nil {
		d.sub = sub
	}
}

// storeOwedLocked has the Session store what is owed to a subscription, in the commit
// group of what was just queued for it. The caller holds client.mu and the gate.
func (cl *Client) storeOwedLocked(d *debt, now time.Time, pend *pending) {
	if control.Broken(control.OwedNotStored) || (cl.sess.Owes(d.sub.Filter) && control.Broken(control.OwedProgressLost)) {
		return
	}
	pend.fx.Reset()
	cl.sess.Owe(d.sub.Filter, d.Owed, &pend.fx)
	cl.applyLocked(now, pend)
}

// restoreOwedLocked brings back what was stored. What is retained from now on gets
// versions above those in it, so that it is not taken for owed. The caller holds
// retained.mu for writing and client.mu.
func (cl *Client) restoreOwedLocked(owed map[string]session.Owed) {
	for filter, stored := range owed {
		sub := cl.sess.Subscription(filter)
		if sub == nil {
			continue // not recovered from a damaged store
		}
		cl.b.retained.set.skipTo(stored.UpTo)
		cl.backlogLocked().add(sub, stored.UpTo).After = stored.After
	}
}

// disownLocked forgets a debt; nil: there is none. The caller holds client.mu and the
// gate.
func (cl *Client) disownLocked(d *debt, now time.Time, pend *pending) {
	if d == nil {
		return
	}
	pend.fx.Reset()
	cl.sess.Disown(d.sub.Filter, &pend.fx)
	cl.applyLocked(now, pend)
	o := cl.stored.owed
	if o.remove(d); len(o.debts) == 0 {
		cl.stored.owed = nil
	}
}

// takesRetainedLocked reports whether the Client is connected and has room for retained
// messages.
func (cl *Client) takesRetainedLocked() bool {
	return cl.conn != nil && cl.sess.Attached() && cl.sess.QueueLen() < feedQueueMax && !cl.sess.Full()
}

// feedLocked delivers some of what is owed and reports whether to go on: not if nothing
// is left, or the Client must first read or acknowledge. A message that was replaced
// since it was found is left out: the Client gets what replaced it. The caller holds
// retained.mu, client.mu and the gate.
func (cl *Client) feedLocked(now time.Time, pend *pending) (more bool) {
	budget := newBudget()
	for fed := 0; fed < feedStep; {
		o := cl.owedLocked()
		if o == nil {
			return false
		}
		if !cl.takesRetainedLocked() {
			return false
		}
		d, r := o.next(&cl.b.retained.set, &budget)
		switch {
		case d == nil:
			return true
		case r == nil:
			cl.disownLocked(d, now, pend)
		default:
			cl.deliverOwedLocked(d, r, now, pend)
			cl.storeOwedLocked(d, now, pend)
			fed++
		}
	}
	return cl.owedLocked() != nil
}

// feedFoundLocked delivers what was found in the step that made the subscriptions: the
// caller has held client.mu since, so nothing newer can have overtaken it, and need not
// hold retained.mu. What the Client cannot take is searched for again later.
func (cl *Client) feedFoundLocked(made []*debt, now time.Time, pend *pending) {
	for _, d := range made {
		if !d.searched || d.waiting == nil { // the same filter came again later in the packet
			continue
		}
		found := d.found
		d.searched, d.found = false, nil
		for len(found) > 0 && cl.takesRetainedLocked() {
			cl.deliverOwedLocked(d, found[0], now, pend)
			found = found[1:]
		}
		if len(found) > 0 {
			cl.storeOwedLocked(d, now, pend)
		} else {
			cl.disownLocked(d, now, pend)
		}
	}
}

// deliverOwedLocked delivers the next message that is owed to a subscription, with
// RETAIN 1. [MQTT-3.3.1-9]
func (cl *Client) deliverOwedLocked(d *debt, r *retainedMessage, now time.Time, pend *pending) {
	d.After = r.version
	m, p := r.message, &pend.packet
	*p = codec.Publish{
		QoS: m.QoS, Retain: true, Topic: viewOf(m.Topic), Payload: m.Payload, Forward: codec.ForwardBytes(m.Forward),
	}
	p.MessageExpirySeconds, p.HasMessageExpiry = m.RemainingExpirySeconds(now)
	pub := publication{
		p: p, origin: origin{kind: fromStore}, why: causeRetained, now: now, expiresAt: m.ExpiresAt, m: m,
		routed: cl.unsubscribedAt, // d.sub is not among those that were removed
	}
	t := newTarget(cl, binding{sub: d.sub, sess: cl.sess.ID})
	t.rap = true
	copied := delivery{why: pub.why, pub: &pub, to: &t}
	cl.decideLocked(&copied, pend)
	if control.Broken(control.RetainedTwice) {
		cl.decideLocked(&copied, pend)
	}
}

// startFeedLocked starts a goroutine that delivers what is owed, if anything is and the
// Client can take it.
func (cl *Client) startFeedLocked() {
	if cl.owedLocked() != nil && !cl.feeding && cl.conn != nil && cl.sess.QueueLen() < feedQueueMax/2 && !cl.sess.Full() {
		cl.feeding = true
		go cl.feed(cl.conn)
	}
}

// feed delivers what is owed at the pace at which c takes it.
func (cl *Client) feed(c *conn) {
	ended := false
	defer func() {
		if !ended { // it panicked: another connection may try again
			c.mark(failed)
			c.out.Abort()
			cl.mu.Lock()
			defer cl.mu.Unlock()
			cl.endFeedLocked(c)
		}
	}()
	defer cl.b.recoverPanic("delivering retained messages")
	var pend pending
	for more := true; more; {
		if room := c.out.Room(); room != nil {
			<-room
		}
		more = cl.feedSome(c, &pend)
		pend.flush(cl.b.m)
	}
	ended = true
}

// feedSome delivers a few messages and reports whether to go on.
func (cl *Client) feedSome(c *conn, pend *pending) (more bool) {
	b := cl.b
	b.commits.Enter()
	defer b.leave(pend)
	b.retained.mu.RLock()
	defer b.retained.mu.RUnlock()
	cl.mu.Lock()
	defer cl.mu.Unlock()
	control.Panic(control.PanicInFeed)
	more = cl.conn == c && cl.feedLocked(b.clock.Now(), pend)
	if !more {
		cl.endFeedLocked(c)
	}
	return more
}

// endFeedLocked notes that nothing is delivered to c any more.
func (cl *Client) endFeedLocked(c *conn) {
	cl.feeding = false
	if cl.conn != c { // taken over meanwhile
		cl.startFeedLocked()
	}
}
