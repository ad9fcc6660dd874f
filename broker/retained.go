package broker

import (
	"time"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// A retained is the retained message of one Topic Name.
type retained struct {
	message *session.Message
	version uint64
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
		old, existed := r.retained.Delete(m.Topic)
		if !existed {
			return
		}
		r.retainedBytes -= int64(old.message.Bytes())
	} else {
		old, replaced := r.retained.Set(m.Topic, &retained{message: m, version: r.version})
		if replaced {
			r.retainedBytes -= int64(old.message.Bytes())
		}
		r.retainedBytes += int64(m.Bytes())
		b.m.Retained.Inc()
		if !m.ExpiresAt.IsZero() {
			b.expirer.add(expiry{at: m.ExpiresAt, topic: m.Topic, version: r.version})
		}
		w.Message = m
	}
	b.commits.open.setRetained(m.Topic, w)
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

// expireRetained removes a retained message whose Message Expiry Interval has passed.
func (b *Broker) expireRetained(e expiry) {
	b.commits.gate.RLock()
	defer b.commits.gate.RUnlock()
	r := b.router
	r.mu.Lock()
	defer r.mu.Unlock()
	cur, ok := r.retained.Get([]byte(e.topic))
	if !ok || cur.version != e.version {
		return
	}
	r.version++
	r.retained.Delete(e.topic)
	r.retainedBytes -= int64(cur.message.Bytes())
	b.commits.open.setRetained(e.topic, session.RetainedWrite{Version: r.version})
	b.commits.later()
}

// collectRetainedLocked appends what a new subscription is owed. The caller
// holds router.mu.
func (b *Broker) collectRetainedLocked(dst []retainedDelivery, filter string, sub *session.Subscription) []retainedDelivery {
	b.router.retained.Walk(filter, func(r *retained) bool {
		dst = append(dst, retainedDelivery{r, sub})
		if broken("retained-twice") {
			dst = append(dst, retainedDelivery{r, sub})
		}
		return true
	})
	return dst
}

const (
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
	for range feedStep {
		if len(cl.backlog) == 0 {
			cl.backlog = nil
			return false
		}
		if cl.conn == nil || !cl.sess.Attached() || cl.sess.QueueLen() >= feedQueueMax {
			return false
		}
		d := cl.backlog[0]
		cl.backlog = cl.backlog[1:]
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
		cl.fx.Reset()
		cl.sess.Deliver(session.Entry{Message: m, QoS: qos, Retain: true, SubscriptionIDs: ids}, now, &cl.fx)
		cl.applyLocked(now, l)
		return
	}
	p := codec.Publish{
		Topic: codec.View(m.Topic), Payload: m.Payload, Retain: true,
		SubscriptionIDs: ids, Forward: codec.ForwardBytes(m.Forward),
	}
	p.MessageExpirySeconds, p.HasMessageExpiry = m.RemainingExpirySeconds(now)
	cl.sendQoS0Locked(&p, false, l)
}

// startFeedLocked makes a goroutine deliver the backlog if there is one and the
// Client can take it.
func (cl *Client) startFeedLocked() {
	if len(cl.backlog) > 0 && !cl.feeding && cl.conn != nil && cl.sess.QueueLen() < feedQueueMax/2 {
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
		more = cl.conn == c && cl.feedLocked(true, time.Now(), &l)
		if !more {
			cl.feeding = false
			if cl.conn != c && cl.conn != nil { // taken over meanwhile
				cl.startFeedLocked()
			}
		}
		cl.mu.Unlock()
		cl.b.router.mu.RUnlock()
		cl.b.commits.gate.RUnlock()
		l.flush()
	}
}
