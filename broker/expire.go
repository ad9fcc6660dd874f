package broker

import (
	"container/heap"
	"log/slog"
	"sync"
	"time"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// An expiring is a thing that something happens to when its time comes: a
// Session without a connection, or a retained message.
type expiring interface {
	// place is where it stands in the expirer's heap, counted from 1; 0: it does
	// not. It belongs to the expirer.
	place() *uint32
	// expire does what is due, if anything still is.
	expire(b *Broker, now time.Time)
}

// A dueTime is when something is due, in Unix milliseconds, not rounded to before
// it; 0: never.
type dueTime int64

func dueAt(t time.Time) dueTime {
	if t.IsZero() {
		return 0
	}
	return dueTime(t.Add(time.Millisecond - 1).UnixMilli())
}

// over reports whether the time has come.
func (d dueTime) over(now time.Time) bool { return d != 0 && now.UnixMilli() >= int64(d) }

// earlier returns the earlier of two times, of which each may be never.
func earlier(a, b dueTime) dueTime {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}

// An expirer carries out what is due with one goroutine and one heap, in which
// each thing stands at most once, and as long as it has a time: the heap grows
// with the things that there are and not with what happens to them.
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

// set makes what is due of thing happen at this time, in place of any that was
// set before; never takes thing out. It may be called with any lock held but its own.
func (x *expirer) set(thing expiring, at dueTime) {
	if x.put(thing, at) {
		select {
		case x.wake <- struct{}{}:
		default:
		}
	}
}

// put is set without waking the goroutine, and reports whether it must be woken.
func (x *expirer) put(thing expiring, at dueTime) (first bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	i := int(*thing.place()) - 1
	switch {
	case at == 0 && i < 0:
		return false
	case at == 0:
		heap.Remove(&x.heap, i)
		return false
	case i < 0:
		heap.Push(&x.heap, expiry{at, thing})
	default:
		x.heap[i].at = at
		heap.Fix(&x.heap, i)
	}
	return *thing.place() == 1
}

// remove takes out what has ended.
func (x *expirer) remove(thing expiring) { x.set(thing, 0) }

// len is how many things have a time.
func (x *expirer) len() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.heap)
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

// expireStep is how many things that are due are carried out for one commit: who
// waits for it must not wait for all that are due at the same time.
const expireStep = 32

// fireDue carries out what is due and returns how long until the next is.
func (x *expirer) fireDue() time.Duration {
	for fired := 1; ; fired++ {
		now := x.b.clock.Now()
		thing, wait := x.next(now)
		if thing == nil {
			return wait
		}
		x.fire(thing, now)
		if fired%expireStep == 0 && x.b.commits.FlushUnless(x.stop) != nil {
			return time.Hour // the broker stops
		}
	}
}

// next takes out the first thing if its time has come, or else returns how long
// to wait for it.
func (x *expirer) next(now time.Time) (expiring, time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.heap) == 0 {
		return nil, time.Hour
	}
	if at := x.heap[0].at; !at.over(now) {
		return nil, min(time.UnixMilli(int64(at)).Sub(now), time.Hour)
	}
	return heap.Pop(&x.heap).(expiry).thing, 0
}

func (x *expirer) fire(thing expiring, now time.Time) {
	defer x.b.recoverPanic("carrying out an expiry")
	thing.expire(x.b, now)
}

// place makes a durable Session expiring.
func (s *stored) place() *uint32 { return &s.expiry }

// scheduleLocked has the expirer come when something is due of the durable
// Session: its Will or its end, while no connection is attached.
func (cl *Client) scheduleLocked() {
	s := cl.storedLocked()
	if cl.conn != nil {
		cl.b.expirer.remove(s)
		return
	}
	next := s.expiresAt
	if w := cl.sess.Will(); w != nil {
		next = earlier(next, dueAt(w.DueAt))
	}
	cl.b.expirer.set(s, next)
}

// expire ends the Session if its Session Expiry Interval has passed [MQTT-4.1.0-2],
// and publishes its Will if the Will Delay Interval has passed [MQTT-3.1.3-9],
// unless it was resumed meanwhile [MQTT-4.1.0-1].
func (s *stored) expire(b *Broker, now time.Time) {
	var l pending
	defer l.flush(b.m)
	b.commits.Enter()
	defer b.commits.Leave()
	cl := s.client
	b.ending(cl, now, &l, func() aftermath { return cl.takeDueLocked(s, now, &l) })
}

// takeDueLocked takes from the Session that s belongs to what is due, and schedules
// what remains. The caller holds client.mu and the gate.
func (cl *Client) takeDueLocked(s *stored, now time.Time, l *pending) (after aftermath) {
	if cl.stored != s || cl.conn != nil {
		return after
	}
	control.Panic(control.PanicInExpiry)
	if s.kept != nil {
		after.will = cl.takeKeptLocked(now, l)
		return after
	}
	if s.expiresAt.over(now) {
		return cl.endLocked(now, l)
	}
	l.fx.Reset()
	after.will = cl.sess.TakeDueWill(now, &l.fx)
	cl.applyLocked(now, l)
	cl.scheduleLocked()
	return after
}

// publishWill routes a Will Message. It joins the group in which the Will is
// removed. The caller holds the gate. [MQTT-3.1.2-8] [MQTT-3.1.2-14] [MQTT-3.1.2-15]
func (b *Broker) publishWill(w *session.Will, now time.Time, l *pending) {
	control.Panic(control.PanicInWill)
	m := *w.Message
	p := codec.Publish{
		Topic: codec.View(m.Topic), Payload: m.Payload, QoS: m.QoS, Retain: m.Retain, Forward: codec.ForwardBytes(m.Forward),
		HasMessageExpiry: w.HasMessageExpiry, MessageExpirySeconds: w.MessageExpirySeconds,
	}
	if w.HasMessageExpiry {
		m.ExpiresAt = now.Add(time.Duration(w.MessageExpirySeconds) * time.Second)
	}
	var s routing
	pub := publication{p: &p, origin: origin{kind: fromWill}, why: causeWill, now: now, expiresAt: m.ExpiresAt, m: &m, yields: true}
	if reason := b.publishLocked(&pub, &s, l); reason == codec.Success {
		return
	}
	// Only as a retained message can it be refused. Nobody can send it again: who is subscribed gets it.
	b.m.RefusedMessages(codec.QuotaExceeded.String()).Inc()
	l.say(b.notices.Line(slog.LevelWarn, "will not retained", m.Topic,
		"a Will Message was published, but not retained: mqtt.max-retained-messages or mqtt.max-retained-bytes is reached", "topic", notice.Shown(m.Topic)))
	p.Retain, m.Retain = false, false
	b.publishLocked(&pub, &s, l)
}

// An expiry is one thing in the heap.
type expiry struct {
	at    dueTime
	thing expiring
}

// expiries is a heap by time in which each thing knows its place.
type expiries []expiry

func (h expiries) Len() int           { return len(h) }
func (h expiries) Less(i, j int) bool { return h[i].at < h[j].at }
func (h expiries) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	*h[i].thing.place(), *h[j].thing.place() = uint32(i+1), uint32(j+1)
}
func (h *expiries) Push(x any) {
	e := x.(expiry)
	*h = append(*h, e)
	*e.thing.place() = uint32(len(*h))
}
func (h *expiries) Pop() any {
	old := *h
	n := len(old) - 1
	e := old[n]
	old[n] = expiry{}
	*e.thing.place() = 0
	if *h = old[:n]; cap(old) >= expiriesKept && n < cap(old)/4 {
		*h = append(make(expiries, 0, cap(old)/2), old[:n]...)
	}
	return e
}

// expiriesKept is from which capacity on the heap gives memory back when most of
// it is empty.
const expiriesKept = 1024
