package broker

import (
	"time"

	"github.com/x0a1b/promptmq/broker/control"
)

// expire does what is due of thing, if anything still is. All that ends because time
// has passed, whether or not anybody looks at it, ends from here; a queued message
// that has expired is found by the cleanup, or when it would be sent.
func (b *Broker) expire(thing timed, now time.Time) {
	defer b.recoverPanic("carrying out an expiry")
	switch thing := thing.(type) {
	case *stored:
		b.expireSession(thing, now)
	case *retainedMessage:
		b.expireRetained(thing)
	case *principal:
		b.endIdentity(thing, now)
	}
}

// place makes a Session timed: see scheduleLocked.
func (s *stored) place() *uint32 { return &s.timer }

// scheduleLocked sets the time of the Session: that of its Will or its end, while no
// connection is attached. The caller holds client.mu.
func (cl *Client) scheduleLocked() {
	s := cl.storedLocked()
	if cl.conn != nil {
		cl.b.timers.remove(s)
		return
	}
	next := s.expiresAt
	if w := cl.sess.Will(); w != nil {
		next = earlier(next, dueAt(w.DueAt))
	}
	cl.b.timers.set(s, next)
}

// expireSession ends the Session if its Session Expiry Interval has passed
// [MQTT-4.1.0-2], and publishes its Will if the Will Delay Interval has passed
// [MQTT-3.1.3-9], unless it was resumed meanwhile [MQTT-4.1.0-1].
func (b *Broker) expireSession(s *stored, now time.Time) {
	var pend pending
	defer pend.flush(b.m)
	b.commits.Enter()
	defer b.leave(&pend)
	cl := s.client
	b.detaching(cl, now, &pend, func() detachment { return cl.takeDueLocked(s, now, &pend) })
}

// takeDueLocked takes what is due of the Session that s belongs to, and sets the time
// of the rest. The caller holds client.mu and the gate.
func (cl *Client) takeDueLocked(s *stored, now time.Time, pend *pending) (after detachment) {
	if cl.stored != s || cl.conn != nil {
		return after
	}
	control.Panic(control.PanicInExpiry)
	if s.kept != nil {
		after.by.user = s.kept.UserName
		after.will = cl.takeKeptLocked(now, pend)
		return after
	}
	if s.expiresAt.over(now) {
		cl.b.sessionsExpired.Add(1)
		return cl.endLocked(now, pend)
	}
	pend.fx.Reset()
	cl.b.changesWill(cl.sess, func() (ended bool) {
		after.will, after.by.user = cl.sess.TakeDueWill(now, &pend.fx), cl.sess.UserName
		return false
	})
	cl.applyLocked(now, pend)
	cl.scheduleLocked()
	return after
}
