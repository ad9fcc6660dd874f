package broker

import (
	"container/list"
	"time"

	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/broker/lock"
	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/metrics"
	"github.com/x0a1b/promptmq/session"
)

// Of the messages that are dropped the last few are kept for an operator to see, without their
// payloads: dropsKept of all Clients, and dropsOfClient of each of the dropClients that have
// drops and had none for longest. In a second dropsEach of each Client are noted and dropsOfAll
// of all; the others are only counted, so that a flood of drops costs no more than that.
const (
	dropsKept     = 200
	dropsOfClient = 8
	dropClients   = 4096
	dropsEach     = 4
	dropsOfAll    = 1000
)

// A dropCount counts the messages for one Session that were dropped.
type dropCount struct {
	total  uint64
	second moment // when the one began in which noted were noted
	noted  uint8
}

// droppedLocked is how many messages for the Session were dropped. The caller holds client.mu.
func (cl *Client) droppedLocked() uint64 {
	if cl.stored == nil || cl.stored.drops == nil {
		return 0
	}
	return cl.stored.drops.total
}

// countDropsLocked counts n messages that were dropped, and reports whether one of them is to
// be noted.
func (cl *Client) countDropsLocked(n int, now time.Time) (note bool) {
	s := cl.storedLocked()
	if s.drops == nil {
		s.drops = new(dropCount)
	}
	d := s.drops
	d.total += uint64(n)
	if at := momentOf(now); at < d.second || at-d.second >= moment(time.Second) {
		d.second, d.noted = at, 0
	}
	if d.noted >= dropsEach {
		return false
	}
	d.noted++
	return true
}

// noteDropLocked notes the outcome of a delivery, which is that the copy was dropped. The caller
// holds client.mu, and there is a Session.
func (cl *Client) noteDropLocked(d *delivery, o outcome) {
	if d.send == nil {
		p := d.pub.p
		if cl.countDropsLocked(1, d.pub.now) {
			cl.b.drops.note(cl, p.Topic, min(p.QoS, d.to.qos), len(p.Payload), o, d.pub.now, cl.b.m)
		}
		return
	}
	m, now := d.send.Message, cl.b.clock.Now()
	if cl.countDropsLocked(1, now) {
		cl.b.drops.note(cl, viewOf(m.Topic), d.send.QoS, len(m.Payload), o, now, cl.b.m)
	}
}

// queueOutcomes are the outcomes for each cause why a message left a queue.
var queueOutcomes = [...]outcome{session.Expired: expired, session.TooLarge: tooLarge, session.TooOld: tooOld, session.MadeRoom: queueFullOldest}

// noteQueueDropsLocked notes that n messages left the queue, the last of which is given.
func (cl *Client) noteQueueDropsLocked(n int, last *session.LastDropped, now time.Time) {
	if m := last.Message; cl.countDropsLocked(n, now) && m != nil {
		cl.b.drops.note(cl, viewOf(m.Topic), last.QoS, len(m.Payload), queueOutcomes[last.Why], now, cl.b.m)
	}
}

// A dropLog has the last drops. Its zero value is ready.
type dropLog struct {
	mu       lock.Mutex[lock.Leaf] // guards the following
	last     dropRing
	byClient map[*Client]*clientDrops
	order    list.List // of *clientDrops, as they were made
	second   moment    // when the one began in which noted were noted
	noted    int
}

// clientDrops are the last drops of one Client.
type clientDrops struct {
	client *Client
	place  *list.Element
	dropRing
}

// A dropRing keeps the last drops.
type dropRing struct {
	drops []inspect.Drop
	next  int // where the oldest is, when it is full
}

func (r *dropRing) add(d inspect.Drop, most int) {
	if len(r.drops) < most {
		r.drops = append(r.drops, d)
		return
	}
	r.drops[r.next] = d
	r.next = (r.next + 1) % most
}

// newestFirst returns a copy.
func (r *dropRing) newestFirst() []inspect.Drop {
	all := make([]inspect.Drop, 0, len(r.drops))
	for i := range r.drops {
		all = append(all, r.drops[(r.next+len(r.drops)-1-i)%len(r.drops)])
	}
	return all
}

// note keeps a drop, unless too many were kept in this second: then m counts it. Client.mu may
// be held.
func (l *dropLog) note(cl *Client, topic codec.View, qos codec.QoS, payloadBytes int, o outcome, now time.Time, m *metrics.Broker) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := momentOf(now); at < l.second || at-l.second >= moment(time.Second) {
		l.second, l.noted = at, 0
	}
	if l.noted >= dropsOfAll {
		m.DropsNotKept.Inc()
		return
	}
	l.noted++
	d := inspect.Drop{
		At: now.UTC(), Client: cl.id, Topic: notice.Shown(topic), QoS: int(qos), Bytes: payloadBytes, Reason: metrics.DropReason(o - dropped).String(),
	}
	l.last.add(d, dropsKept)
	of := l.byClient[cl]
	if of == nil {
		of = l.makeLocked(cl)
	}
	of.add(d, dropsOfClient)
}

// makeLocked makes room for the drops of a Client, if need be in place of those of the Client
// whose were made first.
func (l *dropLog) makeLocked(cl *Client) *clientDrops {
	if l.byClient == nil {
		l.byClient = make(map[*Client]*clientDrops)
	}
	if len(l.byClient) >= dropClients {
		l.forgetLocked(l.order.Front().Value.(*clientDrops))
	}
	of := &clientDrops{client: cl}
	of.place = l.order.PushBack(of)
	l.byClient[cl] = of
	return of
}

func (l *dropLog) forgetLocked(of *clientDrops) {
	l.order.Remove(of.place)
	delete(l.byClient, of.client)
}

// forget forgets the drops of a Client, whose Session has ended. Client.mu may be held.
func (l *dropLog) forget(cl *Client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if of := l.byClient[cl]; of != nil {
		l.forgetLocked(of)
	}
}

// of returns the last drops of a Client, the newest first. Client.mu may be held.
func (l *dropLog) of(cl *Client) []inspect.Drop {
	l.mu.Lock()
	defer l.mu.Unlock()
	if of := l.byClient[cl]; of != nil {
		return of.newestFirst()
	}
	return []inspect.Drop{}
}

// Drops returns the last 200 messages for Sessions that were dropped, the newest first. Of many in
// one second only some are among them. Topic Names are shortened, and control characters in
// them replaced.
func (b *Broker) Drops() []inspect.Drop {
	b.drops.mu.Lock()
	defer b.drops.mu.Unlock()
	return b.drops.last.newestFirst()
}
