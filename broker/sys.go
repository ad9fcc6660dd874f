package broker

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
	"github.com/x0a1b/promptmq/topics"
)

// A sysTree is the topics of $SYS/broker, by the names and with the meanings that Mosquitto
// gives them. They have QoS 0 and are nowhere but here, neither on disk nor among the retained
// messages. While nobody subscribes to them only the averages go on.
type sysTree struct {
	// turn is held by who computes the values or gives them to Clients, so that no older one
	// follows a newer. It is taken with no other lock held.
	turn     sync.Mutex
	at       time.Time          // when the values were computed; zero: they are not
	values   []*session.Message // as sysValues
	loads    sysLoads
	heapMost uint64
}

// sysOffLook is how often it is looked whether Options.SysInterval is no longer 0.
const sysOffLook = 10 * time.Second

// publishSys publishes what has changed of $SYS, each Options.SysInterval, until the broker
// stops.
func (b *Broker) publishSys() {
	defer b.background.Done()
	timer := time.NewTimer(sysOffLook)
	defer timer.Stop()
	for {
		interval := b.options().SysInterval
		if interval <= 0 {
			timer.Reset(sysOffLook)
		} else {
			timer.Reset(interval)
		}
		select {
		case <-timer.C:
			b.sysTick(b.options().SysInterval > 0)
		case <-b.cleanupStop:
			return
		}
	}
}

func (b *Broker) sysTick(on bool) {
	defer b.recoverPanic("publishing to $SYS")
	var pend pending
	defer pend.flush(b.m)
	t := &b.sys
	t.turn.Lock()
	defer t.turn.Unlock()
	now := b.clock.Now()
	if on {
		t.loads.update(b.sysCounts(), now)
	} else {
		t.loads = sysLoads{}
	}
	if !on || b.router.sysSubs.Load() == 0 {
		t.at, t.values = time.Time{}, nil
		return
	}
	for _, m := range t.refresh(b, now) {
		b.routeSys(m, now, &pend)
	}
}

// refresh computes the values, and returns those that have changed. The caller has the turn.
func (t *sysTree) refresh(b *Broker, now time.Time) (changed []*session.Message) {
	t.at = now
	texts := b.sysValues(t, now)
	if t.values == nil {
		t.values = make([]*session.Message, len(texts))
	}
	for i, v := range texts {
		if old := t.values[i]; old != nil && string(old.Payload) == v.text {
			continue
		}
		t.values[i] = &session.Message{Topic: v.topic, Payload: []byte(v.text), Retain: true}
		changed = append(changed, t.values[i])
	}
	return changed
}

// sysPublication fills in the publication of a value. The caller goes on with its packet.
func sysPublication(p *codec.Publish, m *session.Message, now time.Time) publication {
	*p = codec.Publish{Retain: true, Topic: viewOf(m.Topic), Payload: m.Payload}
	return publication{p: p, origin: origin{kind: fromServer}, now: now, m: m}
}

// routeSys gives a value to the connected Clients that have subscribed to it. One that is away
// misses nothing that it could want later.
func (b *Broker) routeSys(m *session.Message, now time.Time, pend *pending) {
	var p codec.Publish
	var s routing
	pub := sysPublication(&p, m, now)
	b.find(&pub, &s)
	pub.routed = s.routed
	for i := range s.targets {
		t := &s.targets[i]
		if t.client == nil || !t.client.hints.connected() {
			continue
		}
		if pub.deliver(t, pend) == passedOn {
			b.deliverToAnother(*t, &pub, pend)
		}
	}
}

// showSys gives the Client what there is of $SYS for new subscriptions, as if it were
// retained. No lock may be held.
func (c *conn) showSys(subs []*session.Subscription) {
	b := c.b
	interval := b.options().SysInterval
	if len(subs) == 0 || interval <= 0 {
		return
	}
	t := &b.sys
	t.turn.Lock()
	defer t.turn.Unlock()
	if now := b.clock.Now(); t.at.IsZero() || now.Sub(t.at) > interval {
		t.refresh(b, now)
	}
	cl := c.client
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.conn != c || cl.sess == nil {
		return
	}
	for _, sub := range subs {
		if cl.sess.Subscription(sub.Filter) != sub {
			continue
		}
		for _, m := range t.values {
			if topics.MatchString(sub.Filter, m.Topic) {
				cl.showSysLocked(sub, m, c.now, &c.pending)
			}
		}
	}
}

func (cl *Client) showSysLocked(sub *session.Subscription, m *session.Message, now time.Time, pend *pending) {
	pub := sysPublication(&pend.packet, m, now)
	pub.why, pub.routed = causeRetained, cl.unsubscribedAt
	t := newTarget(cl, binding{sub: sub, sess: cl.sess.ID})
	t.rap = true
	cl.decideLocked(&delivery{why: pub.why, pub: &pub, to: &t}, pend)
}

// raise makes most n, if that is more.
func raise(most *atomic.Int64, n int64) {
	for was := most.Load(); n > was && !most.CompareAndSwap(was, n); was = most.Load() {
	}
}

// isSys reports whether a Topic Filter, with $share/ if it is shared, is about $SYS.
func isSys(whole string) bool {
	if !strings.HasPrefix(whole, "$") {
		return false
	}
	_, filter := splitShare(whole)
	return filter == "$SYS" || strings.HasPrefix(filter, "$SYS/")
}

// A sysValue is one topic and its payload.
type sysValue struct{ topic, text string }

// sysValues are all that there are, always in the same order.
func (b *Broker) sysValues(t *sysTree, now time.Time) (all []sysValue) {
	add := func(topic, format string, v any) {
		all = append(all, sysValue{"$SYS/broker/" + topic, fmt.Sprintf(format, v)})
	}
	count := func(topic string, v int64) { add(topic, "%d", v) }
	n, queues := b.sysCounts(), b.census()
	add("version", "promptmq version %s", b.o.Version)
	add("uptime", "%d seconds", int64(now.Sub(b.history.began).Seconds()))

	connected, sessions := b.connectedClients.Load(), b.sessions.Load()
	away := max(0, sessions-connected)
	count("clients/total", connected+away)
	count("clients/connected", connected)
	count("clients/active", connected)
	count("clients/disconnected", away)
	count("clients/inactive", away)
	count("clients/maximum", max(b.connectedMost.Load(), connected))
	count("clients/expired", b.sessionsExpired.Load())

	count("messages/received", n[loadMessagesIn])
	count("messages/sent", n[loadMessagesOut])
	count("messages/inflight", int64(queues.inFlight))
	count("publish/messages/received", n[loadPublishIn])
	count("publish/messages/sent", n[loadPublishOut])
	count("publish/messages/dropped", n[loadPublishDropped])
	count("publish/bytes/received", sumOf(b.m.MessageBytesReceived[:]))
	count("publish/bytes/sent", sumOf(b.m.MessageBytesSent[:]))
	count("bytes/received", n[loadBytesIn])
	count("bytes/sent", n[loadBytesOut])

	subs, shared := b.router.sysFigures()
	messages, retainedBytes := b.retained.figures()
	retained := int64(messages)
	count("subscriptions/count", subs-shared)
	count("shared_subscriptions/count", shared)
	count("retained messages/count", retained)
	count("messages/stored", retained+int64(queues.queued))
	count("store/messages/count", retained+int64(queues.queued))
	count("store/messages/bytes", retainedBytes+queues.queuedBytes)

	heap := uint64(max(0, b.overload.current().InUse))
	t.heapMost = max(t.heapMost, heap)
	count("heap/current", int64(heap))
	count("heap/maximum", int64(t.heapMost))
	for i := range t.loads.averages {
		for j, v := range t.loads.averages[i] {
			add("load/"+loadNames[i]+"/"+loadSpans[j].name, "%.2f", v)
		}
	}
	return all
}

// sysFigures are how many subscriptions there are, and of Shared Subscriptions among them.
func (r *router) sysFigures() (subs, shared int64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return int64(r.subs), int64(r.shared)
}
