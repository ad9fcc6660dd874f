package broker_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/codec"
)

// What a world of TestACLOracle does: each way of a message to its receivers, with another
// Policy before each decision.

func (w *aclWorld) run() {
	w.begin()
	steps := []func(){w.live, w.live, w.queued, w.resumed, w.handedOver, w.passedOn, w.subscribes, w.wills, w.wills}
	for range 25 {
		pick(w.rng, steps)()
		w.drainAll()
	}
}

// live: to some of the topics more than once, by a route that is remembered.
func (w *aclWorld) live() {
	m := w.message(0)
	for range 2 {
		w.decree()
		for range 1 + w.rng.IntN(3) {
			w.seq++
			m.payload, m.retain = fmt.Sprint("m", w.seq), w.rng.IntN(5) == 0
			w.came("live", w.publish(pick(w.rng, w.publishers), m))
		}
	}
}

func (w *aclWorld) drop(c *aclClient) {
	c.p.drop()
	c.p = nil
	w.settle()
}

// restart is a crash, at times, after which all come back but who.
func (w *aclWorld) restart(but ...*aclClient) {
	if w.rng.IntN(3) == 0 {
		w.crash(but...)
	}
}

func (w *aclWorld) crash(but ...*aclClient) {
	w.settle()
	w.f.kill()
	w.f.restart()
	w.enforce()
	for _, c := range w.everybody() {
		if c.p = nil; !slices.Contains(but, c) {
			w.must(w.connect(c, resumed))
		}
	}
}

// queued: a message waits for a receiver, which may have it or not, when it was routed and
// when it is sent.
func (w *aclWorld) queued() {
	c := pick(w.rng, w.receivers)
	w.drop(c)
	w.decree()
	if w.rng.IntN(3) == 0 {
		w.setGone(c.user)
	}
	var waiting []sending
	for range 1 + w.rng.IntN(4) {
		m := w.publish(pick(w.rng, w.publishers), w.message(1))
		if m.passed && w.now(c).allowed(w.rules, access.Receive, m.topic, m.qos, false) {
			waiting = append(waiting, m)
		}
		w.cases["queued"]++
	}
	w.drainAll()
	w.setGone("-")
	w.restart(c)
	w.decree()
	w.must(w.connect(c, resumed))
	w.drain(c)
	w.compare("queued", c, w.mayGet(c, waiting))
}

// mayGet are those of the messages that c may have now.
func (w *aclWorld) mayGet(c *aclClient, messages []sending) (payloads []string) {
	for _, m := range messages {
		if w.now(c).allowed(w.rules, access.Receive, m.topic, m.qos, false) {
			payloads = append(payloads, m.payload)
		}
	}
	return payloads
}

// resumed: a receiver does not acknowledge, and comes back.
func (w *aclWorld) resumed() {
	c := pick(w.rng, w.receivers)
	w.permit()
	c.hold = true
	var sent []sending
	for range 1 + w.rng.IntN(4) {
		m := w.message(1)
		m.retain = false
		sent = append(sent, w.publish(w.watcher, m))
		w.cases["resumed"]++
	}
	w.drainAll()
	w.drop(c)
	w.restart(c)
	w.decree()
	w.must(w.connect(c, resumed))
	c.hold, c.got = false, nil
	w.drain(c)
	w.compare("resumed", c, w.mayGet(c, sent))
}

// handedOver: the member that has a message goes away without an acknowledgement.
func (w *aclWorld) handedOver() {
	w.permit()
	for _, c := range w.members {
		c.hold = true
	}
	m := w.message(1)
	m.qos, m.retain = 1, false
	if m.topic[0] == '$' {
		m.topic = "a"
	}
	m = w.publish(w.watcher, m)
	w.drainAll()
	at := slices.IndexFunc(w.members, func(c *aclClient) bool { return len(c.got) > 0 })
	if at < 0 {
		w.wrong("handed over", w.watcher, "nobody got %v", m)
	}
	had := w.members[at]
	for _, c := range w.members {
		c.hold, c.got = false, nil
	}
	w.decree()
	w.drop(had)
	w.drainAll()
	others, kept := false, w.now(had).allowed(w.rules, access.Receive, m.topic, 1, false)
	for _, c := range w.members {
		others = others || c != had && w.now(c).allowed(w.rules, access.Receive, m.topic, 1, false)
	}
	got := map[*aclClient][]string{}
	for _, c := range w.members {
		got[c] = c.got
	}
	w.must(w.connect(had, resumed))
	w.drain(had)
	for _, c := range w.members {
		if c != had {
			c.got = got[c]
		}
	}
	w.one("handed over", m, func(c *aclClient) bool {
		return w.now(c).allowed(w.rules, access.Receive, m.topic, 1, false) && (c != had || !others && kept)
	})
}

// passedOn: a message waits for a member that may not have it any more when it comes back.
func (w *aclWorld) passedOn() {
	for _, c := range w.members {
		w.drop(c)
	}
	w.decree()
	m := w.message(1)
	m.retain = false
	m = w.publish(w.watcher, m)
	taken := slices.ContainsFunc(w.members, func(c *aclClient) bool { return w.now(c).allowed(w.rules, access.Receive, m.topic, m.qos, false) })
	w.drainAll()
	w.restart(w.members...)
	w.decree()
	for _, c := range w.members {
		w.must(w.connect(c, resumed))
		w.settle()
	}
	w.drainAll()
	w.one("passed on", m, func(c *aclClient) bool {
		return taken && w.now(c).allowed(w.rules, access.Receive, m.topic, m.qos, false)
	})
}

// subscribes: up to 16 filters at a time, and what is retained for them.
func (w *aclWorld) subscribes() {
	w.permit()
	for range 3 {
		m := w.message(0)
		m.retain = true
		w.publish(w.watcher, m)
	}
	w.drainAll()
	w.decree()
	c := w.newClient(pick(w.rng, aclUsers), "subscriber")
	w.must(w.connect(c, nil))
	subs := make([]codec.Subscription, 1+w.rng.IntN(16))
	var want, retained []string
	used := map[string]bool{}
	for i := range subs {
		filter, qos := "", codec.QoS(w.rng.IntN(3))
		for filter == "" || used[filter] {
			filter = w.filter([]string{"+", "a", "b", "anna", "$s", "c1", "50%u"})
		}
		used[filter] = true
		subs[i] = codec.Subscription{Filter: codec.View(filter), QoS: qos}
		if w.rng.IntN(5) == 0 {
			subs[i].Filter = codec.View("$share/s/" + filter)
		}
		reason := codec.ReasonCode(qos)
		if !c.allowed(w.rules, access.Subscribe, filter, qos, false) {
			reason = codec.NotAuthorized
		} else if string(subs[i].Filter) == filter {
			retained = append(retained, w.retainedFor(c, filter, qos)...)
		}
		want = append(want, fmt.Sprint(reason))
		w.cases["subscribe"]++
	}
	var got []string
	for _, r := range c.p.subscribed(subs...) {
		got = append(got, fmt.Sprint(r))
	}
	if !slices.Equal(got, want) {
		w.wrong("subscribe", c, "%s: %q, expected %q", fmt.Sprint(subs), got, want)
	}
	w.drain(c)
	w.compare("retained", c, retained)
	c.p.leave(nil)
}

// retainedFor is what c is to get of the retained messages by a new subscription.
func (w *aclWorld) retainedFor(c *aclClient, filter string, qos codec.QoS) (payloads []string) {
	for topic, m := range w.retained {
		if !oracleMatches(filter, topic) {
			continue
		}
		w.cases["retained"]++
		if c.allowed(w.rules, access.Receive, topic, min(qos, m.qos), false) {
			payloads = append(payloads, m.payload)
		}
	}
	return payloads
}

// wills: a Will is decided with CONNECT, and again when it is due: at once, later, or after a
// crash.
func (w *aclWorld) wills() {
	w.decree()
	w.seq++
	c := w.newClient(pick(w.rng, aclUsers), fmt.Sprint("w", w.seq))
	if w.rng.IntN(4) == 0 {
		w.token(c)
	}
	m, lasts, crash := w.message(0), w.rng.IntN(2) == 0, w.rng.IntN(4) == 0
	delay := uint32(w.rng.IntN(2) * 5)
	if crash && lasts { // it is due before anybody is back
		m.qos = max(m.qos, 1)
	}
	want := codec.Success
	if !c.allowed(w.rules, access.Publish, m.topic, m.qos, m.retain) {
		want = codec.NotAuthorized
	}
	got := w.connect(c, func(o *codec.Connect) {
		if lasts {
			lasting(o)
		}
		o.HasWill, o.Will = true, codec.Will{
			Topic: codec.View(m.topic), Payload: codec.View(m.payload), QoS: m.qos, Retain: m.retain, DelaySeconds: delay,
		}
	})
	if w.cases["will at connect"]++; got != want {
		w.wrong("will at connect", c, "%v: %v, expected %v", m, got, want)
	}
	if got != codec.Success {
		return
	}
	w.decree()
	if w.rng.IntN(4) == 0 {
		w.setGone(c.user)
	}
	who := c.aclIdentity
	if crash || lasts && delay > 0 {
		who = w.absent(c)
	}
	who.gone = w.absent(c).gone
	m.passed = who.allowed(w.rules, access.Publish, m.topic, m.qos, m.retain)
	if crash {
		time.Sleep(time.Minute) // so that it is on disk
		w.crash(c)
	} else {
		w.drop(c)
	}
	time.Sleep(time.Minute)
	if m.passed && m.retain {
		w.retained[m.topic] = m
	}
	w.came("will at end", m)
	w.setGone("-")
}
