package broker

import (
	"time"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
	"github.com/x0a1b/promptmq/topics"
)

// A retained is the retained message of one Topic Name.
type retained struct {
	message *session.Message
	version uint64
	slot    uint32 // its place in router.slots
	expiry  uint32 // see expiring
}

// place makes a retained message expiring.
func (r *retained) place() *uint32 { return &r.expiry }

// setRetainedLocked replaces the retained message of its Topic Name. A topic
// keeps its slot as long as it has a retained message.
func (r *router) setRetainedLocked(m *session.Message, version uint64) {
	now := &retained{message: m, version: version}
	old, replaced := r.retained.Set(m.Topic, now)
	if replaced {
		r.removeExpiryLocked(old)
	}
	if at := dueAt(m.ExpiresAt); at != 0 {
		r.expirer.set(now, at)
	}
	switch n := len(r.freeSlots); {
	case replaced:
		r.retainedBytes -= int64(old.message.Bytes())
		now.slot = old.slot
	case n > 0:
		now.slot, r.freeSlots = r.freeSlots[n-1], r.freeSlots[:n-1]
	default:
		now.slot = uint32(len(r.slots))
		r.slots = append(r.slots, nil)
	}
	r.slots[now.slot] = now
	r.retainedBytes += int64(m.Bytes())
}

// deleteRetainedLocked removes the retained message of a Topic Name.
func (r *router) deleteRetainedLocked(topic string) (existed bool) {
	old, existed := r.retained.Delete(topic)
	if !existed {
		return false
	}
	r.removeExpiryLocked(old)
	r.retainedBytes -= int64(old.message.Bytes())
	r.slots[old.slot] = nil
	r.freeSlots = append(r.freeSlots, old.slot)
	if r.retained.Len() == 0 { // what comes to a slot now is newer than any cursor
		r.slots, r.freeSlots = nil, nil
	}
	return true
}

// removeExpiryLocked takes back when a retained message was to end.
func (r *router) removeExpiryLocked(old *retained) {
	if !old.message.ExpiresAt.IsZero() {
		r.expirer.remove(old)
	}
}

// A retainedDelivery is a retained message that a new subscription has yet to
// be sent.
type retainedDelivery struct {
	r   *retained
	sub *session.Subscription
}

// retainLocked stores a message as the retained message of its Topic Name, or
// removes that if the Payload is empty. [MQTT-3.3.1-5] [MQTT-3.3.1-6]
// [MQTT-3.3.1-7] The caller holds router.mu for writing and the gate for reading.
func (b *Broker) retainLocked(m *session.Message) {
	r := b.router
	r.version++
	w := session.RetainedWrite{Version: r.version}
	if len(m.Payload) == 0 {
		if broken("retained-not-removed") {
			return
		}
		if !r.deleteRetainedLocked(m.Topic) {
			return
		}
	} else {
		r.setRetainedLocked(m, r.version)
		b.m.Retained.Inc()
		w.Message = m
	}
	b.commits.open.setRetained(m.Topic, w)
}

// clearsLocked reports whether the message removes a retained message.
func (b *Broker) clearsLocked(p *codec.Publish) bool {
	if !p.Retain || len(p.Payload) > 0 {
		return false
	}
	_, ok := b.router.retained.Get(p.Topic)
	return ok
}

// mayRetainLocked reports whether the budget has room for a retained message.
func (b *Broker) mayRetainLocked(p *codec.Publish) bool {
	r, topic := b.router, p.Topic
	if len(p.Payload) == 0 {
		return true
	}
	bytes := r.retainedBytes + int64(len(topic)+len(p.Payload)+p.Forward.Len())
	if old, ok := r.retained.Get(topic); ok {
		return bytes-int64(old.message.Bytes()) <= b.o.MaxRetainedBytes
	}
	return r.retained.Len() < b.o.MaxRetainedMessages && bytes <= b.o.MaxRetainedBytes
}

// expire removes a retained message whose Message Expiry Interval has passed,
// unless it was replaced meanwhile.
func (old *retained) expire(b *Broker, _ time.Time) {
	b.commits.gate.RLock()
	defer b.commits.gate.RUnlock()
	r := b.router
	r.mu.Lock()
	defer r.mu.Unlock()
	topic := old.message.Topic
	if cur, ok := r.retained.Get([]byte(topic)); !ok || cur != old {
		return
	}
	r.version++
	r.deleteRetainedLocked(topic)
	b.commits.open.setRetained(topic, session.RetainedWrite{Version: r.version})
	b.commits.later()
}

// oweRetainedLocked notes what a new subscription is owed: the messages, if they are few, or
// that all slots must be looked at. The caller holds router.mu and cl.mu.
func (cl *Client) oweRetainedLocked(filter string, sub *session.Subscription) {
	o := cl.owed
	if o == nil {
		o = new(backlog)
	}
	r, before := cl.b.router, len(o.listed)
	whole := r.retained.Walk(filter, owedVisits, func(r *retained) bool {
		o.listed = append(o.listed, retainedDelivery{r, sub})
		if broken("retained-twice") {
			o.listed = append(o.listed, retainedDelivery{r, sub})
		}
		return len(o.listed)-before <= owedMax
	})
	if !whole {
		clear(o.listed[before:])
		o.listed = o.listed[:before]
		o.cursors = append(o.cursors, retainedCursor{filter: filter, sub: sub, version: r.version})
	}
	cl.setOwedLocked(o)
}

// A backlog is the retained messages that a Client is owed for its
// subscriptions.
type backlog struct {
	listed  []retainedDelivery
	cursors []retainedCursor // for what is not yet listed
}

// setOwedLocked notes what the Client is owed now.
func (cl *Client) setOwedLocked(o *backlog) {
	if cl.owed = o; len(o.listed) == 0 && len(o.cursors) == 0 {
		cl.owed = nil
	}
}

// A retainedCursor goes through all retained messages for a subscription that
// is owed many of them, a few slots at a time: neither time under a lock nor
// memory depend on how many there are.
type retainedCursor struct {
	filter  string // without $share
	sub     *session.Subscription
	next    int    // slot
	version uint64 // of the last change before the subscription: what is newer, it gets anyway
}

// advanceLocked lists more from the first cursor. The caller holds router.mu
// and cl.mu.
func (o *backlog) advanceLocked(r *router) {
	c := &o.cursors[0]
	end := min(c.next+slotStep, len(r.slots))
	for ; c.next < end && len(o.listed) < feedStep; c.next++ {
		if at := r.slots[c.next]; at != nil && at.version <= c.version && topics.MatchString(c.filter, at.message.Topic) {
			o.listed = append(o.listed, retainedDelivery{at, c.sub})
		}
	}
	if c.next >= len(r.slots) {
		*c = retainedCursor{}
		o.cursors = o.cursors[1:]
	}
}

const (
	// owedMax is how many retained messages a subscription may be owed to have
	// them listed at once, owedVisits how long the search for them may take.
	owedMax    = 1024
	owedVisits = 16384
	// slotStep is how many slots a cursor passes under one lock.
	slotStep = 1024
	// feedStep is how many retained messages are delivered under one lock.
	feedStep = 32
	// feedQueueMax is how many messages may be queued for a Client before it
	// must acknowledge some to get further retained messages.
	feedQueueMax = 128
)

// feedLocked delivers from the backlog and reports whether to go on: not if it
// is empty or the Client must first read or acknowledge. The caller holds
// cl.mu, the gate and, if check is set, router.mu: then messages that were
// replaced since they were collected are left out, for the Client was or will
// be sent what replaced them.
func (cl *Client) feedLocked(check bool, now time.Time, l *flushList) bool {
	o := cl.owed
	if o == nil {
		return false
	}
	defer func() { cl.setOwedLocked(o) }()
	for range feedStep {
		if len(o.listed) == 0 && check && len(o.cursors) > 0 {
			o.advanceLocked(cl.b.router)
			if len(o.listed) == 0 {
				return true // on with the next slots, after others had the locks
			}
		}
		if len(o.listed) == 0 {
			o.listed = nil
			return false
		}
		if cl.conn == nil || !cl.sess.Attached() || cl.sess.QueueLen() >= feedQueueMax || cl.sess.Full() {
			return false
		}
		d := o.listed[0]
		o.listed = o.listed[1:]
		m := d.r.message
		if check {
			if cur, ok := cl.b.router.retained.Get([]byte(m.Topic)); !ok || cur != d.r {
				continue
			}
		}
		if m.Expired(now) {
			continue
		}
		cl.deliverRetainedLocked(m, d.sub, now, l)
	}
	return true
}

// deliverRetainedLocked sends a message as the result of a new subscription:
// with RETAIN 1, at the lower of both QoS. [MQTT-3.3.1-9] [MQTT-3.8.4-8]
func (cl *Client) deliverRetainedLocked(m *session.Message, sub *session.Subscription, now time.Time, l *flushList) {
	var ids []uint32
	if sub.ID != 0 {
		ids = []uint32{sub.ID}
	}
	if qos := min(m.QoS, sub.QoS); qos > 0 {
		l.fx.Reset()
		cl.sess.Deliver(session.Entry{Message: m, QoS: qos, Retain: true, SubscriptionIDs: ids}, now, &l.fx)
		cl.applyLocked(now, l)
		return
	}
	p := codec.Publish{
		Topic: viewOf(m.Topic), Payload: m.Payload, Retain: true,
		SubscriptionIDs: ids, Forward: codec.ForwardBytes(m.Forward),
	}
	p.MessageExpirySeconds, p.HasMessageExpiry = m.RemainingExpirySeconds(now)
	cl.sendQoS0Locked(&p, false, l)
}

// owedLocked says whether retained messages are still to be delivered.
func (cl *Client) owedLocked() bool { return cl.owed != nil }

// startFeedLocked makes a goroutine deliver the backlog if there is one and the
// Client can take it.
func (cl *Client) startFeedLocked() {
	if cl.owedLocked() && !cl.feeding && cl.conn != nil && cl.sess.QueueLen() < feedQueueMax/2 && !cl.sess.Full() {
		cl.feeding = true
		go cl.feed(cl.conn)
	}
}

// feed delivers the backlog at the pace at which c takes it.
func (cl *Client) feed(c *conn) {
	defer cl.b.recoverPanic("delivering retained messages")
	var l flushList
	for more := true; more; {
		c.out.awaitRoom()
		cl.b.commits.gate.RLock()
		cl.b.router.mu.RLock()
		cl.mu.Lock()
		more = cl.conn == c && cl.feedLocked(true, cl.b.clock.now(), &l)
		if !more {
			cl.feeding = false
			if cl.conn != c && cl.conn != nil { // taken over meanwhile
				cl.startFeedLocked()
			}
		}
		cl.mu.Unlock()
		cl.b.router.mu.RUnlock()
		cl.b.commits.gate.RUnlock()
		l.flush(cl.b.m)
	}
}
