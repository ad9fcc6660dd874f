package broker

import (
	"container/heap"
	"sync"
	"time"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// An expiry is something that happens at a time unless it has become void by
// then: the end of a Session, a delayed Will, the end of a retained message.
type expiry struct {
	at time.Time
	// client and sess, with will for its Will and else for its end.
	client *Client
	sess   session.ID
	will   bool
	// topic and version of a retained message.
	topic   string
	version uint64
}

// An expirer carries out expiries with one goroutine and one heap.
type expirer struct {
	b    *Broker
	wake chan struct{}
	stop chan struct{}
	done chan struct{}

	mu   sync.Mutex
	heap expiries
}

func newExpirer(b *Broker) *expirer {
	return &expirer{b: b, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
}

// add schedules e. It may be called with a Client's lock held.
func (x *expirer) add(e expiry) {
	x.mu.Lock()
	heap.Push(&x.heap, e)
	first := x.heap[0].at.Equal(e.at)
	x.mu.Unlock()
	if first {
		select {
		case x.wake <- struct{}{}:
		default:
		}
	}
}

func (x *expirer) run() {
	defer close(x.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(x.fireDue())
		select {
		case <-timer.C:
		case <-x.wake:
		case <-x.stop:
			return
		}
	}
}

// shutdown ends run. What is due later is due at the next start.
func (x *expirer) shutdown() {
	close(x.stop)
	<-x.done
}

// fireDue carries out what is due and returns how long until the next is.
func (x *expirer) fireDue() time.Duration {
	for {
		now := x.b.clock.now()
		x.mu.Lock()
		if len(x.heap) == 0 {
			x.mu.Unlock()
			return time.Hour
		}
		if wait := x.heap[0].at.Sub(now); wait > 0 {
			x.mu.Unlock()
			return wait
		}
		e := heap.Pop(&x.heap).(expiry)
		x.mu.Unlock()
		x.fire(e, now)
	}
}

func (x *expirer) fire(e expiry, now time.Time) {
	defer x.b.recoverPanic("carrying out an expiry")
	switch {
	case e.client == nil:
		x.b.expireRetained(e)
	case e.will:
		x.b.delayedWill(e, now)
	default:
		x.b.expireSession(e, now)
	}
}

// expireSession ends a Session whose Session Expiry Interval has passed.
// [MQTT-4.1.0-2]
func (b *Broker) expireSession(e expiry, now time.Time) {
	var l flushList
	b.commits.gate.RLock()
	cl := e.client
	cl.mu.Lock()
	var after aftermath
	// Another expiry stands for it if it was resumed since. [MQTT-4.1.0-1]
	if s, at := cl.sess, cl.expiresAtLocked(); s != nil && s.ID == e.sess && cl.conn == nil && !at.IsZero() && !at.After(e.at) {
		after.will = s.Will
		after.ended, after.group = cl.endLocked()
	}
	cl.mu.Unlock()
	b.finishDetach(cl, after, now, &l)
	b.commits.gate.RUnlock()
	l.flush(b.m)
}

// delayedWill publishes a Will whose Will Delay Interval has passed without a
// new connection. [MQTT-3.1.3-9]
func (b *Broker) delayedWill(e expiry, now time.Time) {
	var l flushList
	b.commits.gate.RLock()
	cl := e.client
	cl.mu.Lock()
	var will *session.Will
	if s := cl.sess; s != nil && s.ID == e.sess && cl.conn == nil && s.Will != nil && s.Will.DueAt.Equal(e.at) {
		will = s.Will
		cl.setWillLocked(nil) // [MQTT-3.1.2-10]
	}
	cl.mu.Unlock()
	if will != nil {
		b.publishWill(will, now, &l)
	}
	b.commits.gate.RUnlock()
	l.flush(b.m)
}

// publishWill routes a Will Message. It joins the group in which the Will is
// removed. The caller holds the gate. [MQTT-3.1.2-8] [MQTT-3.1.2-14] [MQTT-3.1.2-15]
func (b *Broker) publishWill(w *session.Will, now time.Time, l *flushList) {
	m := *w.Message
	p := codec.Publish{
		Topic: codec.View(m.Topic), Payload: m.Payload, QoS: m.QoS, Retain: m.Retain, Forward: codec.ForwardBytes(m.Forward),
		HasMessageExpiry: w.HasMessageExpiry, MessageExpirySeconds: w.MessageExpirySeconds,
	}
	if w.HasMessageExpiry {
		m.ExpiresAt = now.Add(time.Duration(w.MessageExpirySeconds) * time.Second)
	}
	var s routing
	if _, reason := b.publishLocked(&publication{p: &p, now: now, expiresAt: m.ExpiresAt, m: &m}, &s, l); reason != codec.Success {
		b.m.RefusedMessages(reason.String()).Inc()
		b.log.Warn("a Will Message was refused", "topic", m.Topic, "reason", reason.String())
	}
}

// expiries is a heap by time.
type expiries []expiry

func (h expiries) Len() int           { return len(h) }
func (h expiries) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h expiries) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *expiries) Push(x any)        { *h = append(*h, x.(expiry)) }
func (h *expiries) Pop() any {
	old := *h
	n := len(old) - 1
	e := old[n]
	old[n] = expiry{}
	*h = old[:n]
	return e
}
