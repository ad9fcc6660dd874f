package broker

import (
	"time"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// A retained is the retained message of one Topic Name.
type retained struct {
	message *session.Message
	version uint64
	expiry  uint32 // see timed
}

// place makes a retained message timed.
func (r *retained) place() *uint32 { return &r.expiry }

// setRetainedLocked replaces the retained message of its Topic Name. No version
// was as high before.
func (r *router) setRetainedLocked(m *session.Message, version uint64) {
	now := &retained{message: m, version: version}
	old, replaced := r.retained.Set(m.Topic, now)
	if replaced {
		r.removeExpiryLocked(old)
	}
	if at := dueAt(m.ExpiresAt); at != 0 {
		r.timers.set(now, at)
	}
	r.history.add(now)
	r.retainedBytes += int64(m.Bytes())
	if replaced {
		r.history.remove(old.version)
		r.retainedBytes -= int64(old.message.Bytes())
	}
}

// deleteRetainedLocked removes the retained message of a Topic Name.
func (r *router) deleteRetainedLocked(topic string) (existed bool) {
	old, existed := r.retained.Delete(topic)
	if existed {
		r.removeExpiryLocked(old)
		r.history.remove(old.version)
		r.retainedBytes -= int64(old.message.Bytes())
	}
	return existed
}

// removeExpiryLocked takes back when a retained message was to end.
func (r *router) removeExpiryLocked(old *retained) {
	if !old.message.ExpiresAt.IsZero() {
		r.timers.remove(old)
	}
}

// retainLocked stores a message as the retained message of its Topic Name, or
// removes that if the Payload is empty. [MQTT-3.3.1-5] [MQTT-3.3.1-6]
// [MQTT-3.3.1-7] The caller holds router.mu for writing and the gate for reading.
func (b *Broker) retainLocked(m *session.Message) {
	r := b.router
	control.Panic(control.PanicInRetain)
	r.version++
	w := session.RetainedWrite{Version: r.version}
	if len(m.Payload) == 0 {
		if control.Broken(control.RetainedNotRemoved) {
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
	b.commits.SetRetained(m.Topic, w)
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

// expireRetained removes a retained message whose Message Expiry Interval has passed,
// unless it was replaced meanwhile.
func (b *Broker) expireRetained(old *retained) {
	b.commits.Enter()
	defer b.commits.Leave()
	r := b.router
	r.mu.Lock()
	defer r.mu.Unlock()
	topic := old.message.Topic
	if cur, ok := r.retained.Get([]byte(topic)); !ok || cur != old {
		return
	}
	control.Panic(control.PanicInRetainedExpiry)
	r.version++
	r.deleteRetainedLocked(topic)
	b.commits.SetRetained(topic, session.RetainedWrite{Version: r.version})
	b.commits.Later()
}

// deliverRetainedLocked sends a message as the result of a new subscription:
// with RETAIN 1, at the lower of both QoS. [MQTT-3.3.1-9] [MQTT-3.8.4-8]
func (cl *Client) deliverRetainedLocked(m *session.Message, sub *session.Subscription, now time.Time, l *pending) {
	p := &l.packet
	*p = codec.Publish{
		QoS: m.QoS, Retain: true, Topic: viewOf(m.Topic), Payload: m.Payload, Forward: codec.ForwardBytes(m.Forward),
	}
	p.MessageExpirySeconds, p.HasMessageExpiry = m.RemainingExpirySeconds(now)
	pub := publication{
		p: p, origin: origin{kind: fromStore}, why: causeRetained, now: now, expiresAt: m.ExpiresAt, m: m,
		routed: cl.unsubscribedAt, // sub is not among those that were removed
	}
	t := newTarget(cl, binding{sub: sub, sess: cl.sess.ID})
	t.rap = true
	d := delivery{why: pub.why, pub: &pub, to: &t}
	cl.decideLocked(&d, l)
	if control.Broken(control.RetainedTwice) {
		cl.decideLocked(&d, l)
	}
}
