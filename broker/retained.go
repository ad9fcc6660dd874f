package broker

import (
	"log/slog"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/broker/lock"
	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// retained is the retained messages of a Broker. Who changes them holds mu, puts the change
// into the open group, and sets what expires. A message that is retained is routed under router.mu in the
// same step, so that who subscribes, with router.mu for writing, has all of it before or after.
type retained struct {
	mu  lock.RWMutex[lock.Retained] // guards the following
	set retainedSet
}

// figures are how many messages there are, and their bytes.
func (r *retained) figures() (messages int, bytes int64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.set.len(), r.set.bytes
}

// memory is about how many bytes they take.
func (r *retained) memory() int64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.set.memory()
}

// version is that of the last change.
func (r *retained) version() uint64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.set.version
}

// get returns the retained message of a Topic Name; nil: none.
func (r *retained) get(topic codec.View) *retainedMessage {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.set.get(topic)
}

// place makes a retained message timed.
func (r *retainedMessage) place() *uint32 { return &r.timer }

// retainLocked makes m, of a user or of nobody, the retained message of its Topic Name, or
// removes that if the Payload is empty. [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-7] The caller holds
// retained.mu for writing and the gate.
func (b *Broker) retainLocked(m *session.Message, user string) {
	control.Panic(control.PanicInRetain)
	if len(m.Payload) == 0 {
		if !control.Broken(control.RetainedNotRemoved) {
			b.removeRetainedLocked(m.Topic)
		}
		return
	}
	r, old := b.retained.set.set(m, user)
	if old != nil {
		b.clearTimer(old)
	}
	if at := dueAt(m.ExpiresAt); at != 0 {
		b.timers.set(r, at)
	}
	b.m.Retained.Inc()
	b.commits.SetRetained(m.Topic, session.RetainedWrite{Version: r.version, UserName: user, Message: m})
}

// removeRetainedLocked removes the retained message of a Topic Name, if there is one.
// The caller holds retained.mu for writing and the gate.
func (b *Broker) removeRetainedLocked(topic string) {
	old := b.retained.set.remove(topic)
	if old == nil {
		return
	}
	b.clearTimer(old)
	b.commits.SetRetained(topic, session.RetainedWrite{Version: b.retained.set.version})
}

// expireRetained removes a retained message whose Message Expiry Interval has passed,
// unless it was replaced meanwhile. It is the only place where one expires: timers
// call it, at the start too.
func (b *Broker) expireRetained(r *retainedMessage) {
	b.commits.Enter()
	defer b.commits.Leave()
	b.retained.mu.Lock()
	defer b.retained.mu.Unlock()
	topic := r.message.Topic
	if b.retained.set.get(viewOf(topic)) != r {
		return
	}
	control.Panic(control.PanicInRetainedExpiry)
	b.removeRetainedLocked(topic)
	b.commits.Later()
}

// clearTimer lets nothing come of the time at which r was to expire.
func (b *Broker) clearTimer(r *retainedMessage) {
	if !r.message.ExpiresAt.IsZero() {
		b.timers.remove(r)
	}
}

// restoreRetained brings back the stored retained messages. It is called once, before
// anybody is served.
func (b *Broker) restoreRetained(all []*retainedMessage, shares retainedShares) {
	b.retained.mu.Lock()
	defer b.retained.mu.Unlock()
	b.retained.set.restore(all, shares)
	for _, r := range all {
		if at := dueAt(r.message.ExpiresAt); at != 0 {
			b.timers.set(r, at)
		}
	}
}

// clearsLocked reports whether p removes a retained message.
func (b *Broker) clearsLocked(p *codec.Publish) bool {
	return p.Retain && len(p.Payload) == 0 && b.retained.set.get(p.Topic) != nil
}

// mayRetainLocked reports whether the limits have room for m, the message of pub. If one of
// its user has not, the log says which.
func (b *Broker) mayRetainLocked(pub *publication, m *session.Message, pend *pending) bool {
	p := pub.p
	bytes := int64(len(p.Topic) + len(p.Payload) + p.Forward.Len())
	if len(p.Payload) == 0 {
		return true
	}
	set, o := &b.retained.set, b.options()
	more := bytes + retainedBytesEach
	if old := set.get(p.Topic); old != nil {
		more = bytes - int64(old.message.Bytes())
	}
	if more > 0 && !b.mayHoard(set.memory()+more) || !set.fits(p.Topic, bytes, o.MaxRetainedMessages, o.MaxRetainedBytes) {
		return false
	}
	user := pub.user()
	key, limit := set.fitsUser(user, m, &o.Limits)
	if key == "" {
		return true
	}
	pend.say(b.notices.Line(slog.LevelWarn, "retained messages of a user", user, "a message was not retained: its user has as much retained as one user may", trouble.RetainedOfUser,
		"user", notice.Shown(user), "topic", notice.Shown(m.Topic), "limit", limit, "key", key))
	return false
}
