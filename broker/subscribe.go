package broker

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
	"github.com/x0a1b/promptmq/topics"
)

const (
	// visitsAtOnce bounds the search for retained messages while router.mu is held for
	// writing: how many nodes it visits.
	visitsAtOnce = 256
	// filtersAtOnce is how many Topic Filters of a packet are handled while router.mu is
	// held, which keeps all others from routing.
	filtersAtOnce = 64
	// filtersPerCommit is about how many of them may be in one commit: the
	// acknowledgements of others wait for it.
	filtersPerCommit = 512
)

// handleSubscribe makes subscriptions, a few at a time. SUBACK goes out when all are
// on disk, if the Session is durable. Section 3.8.
func (c *conn) handleSubscribe(f codec.Frame) error {
	p := &c.packets.subscribe
	if err := p.Decode(f, c.version); err != nil {
		return err
	}
	c.pending.sys = nil
	reasons, err := c.checkSubscribe(p)
	if err != nil {
		return err
	}
	if !c.fitsAnswer(p.Count) {
		return refuse(codec.PacketTooLarge, "SUBACK would exceed the Maximum Packet Size of the Client")
	}
	var array [filtersAtOnce]request
	step, at, made := array[:0], -1, 0
	p.Each(func(s codec.Subscription) bool {
		if at++; reasons[at] >= 0x80 {
			return true
		}
		if len(step) == filtersAtOnce {
			var group uint64
			group, err = c.subscribeSome(step, reasons)
			if made += len(step); err == nil && made%filtersPerCommit == 0 {
				err = c.awaitSoFar(group)
			}
			if err != nil {
				return false
			}
			step = step[:0]
		}
		step = append(step, request{at, &session.Subscription{
			Filter: string(s.Filter), QoS: codec.QoS(reasons[at]), NoLocal: s.NoLocal,
			RetainAsPublished: s.RetainAsPublished, RetainHandling: s.RetainHandling, ID: p.SubscriptionID,
		}})
		return true
	})
	if err != nil {
		return err
	}
	if err := c.subscribeLast(step, reasons, p.PacketID); err != nil {
		return err
	}
	if c.b.traces.running() {
		c.traceFilters(p, reasons)
	}
	c.showSys(c.pending.sys)
	c.pending.sys = nil
	c.noteRefusedFilters(p, reasons)
	return nil
}

// A request is a subscription to make, and its place in the packet.
type request struct {
	at  int
	sub *session.Subscription
}

// checkSubscribe returns, for each Topic Filter in order, the Reason Code to answer
// unless the Session or the store has no room. [MQTT-3.8.4-6] [MQTT-3.9.3-1] Filters
// beyond MaxSubscriptions are refused unchecked: no Session can have so many; so are all
// of a packet with too many User Properties.
func (c *conn) checkSubscribe(p *codec.Subscribe) ([]codec.ReasonCode, error) {
	reasons := make([]codec.ReasonCode, 0, p.Count)
	tooMany := c.tooMany(p.UserProperties)
	var failure error
	p.Each(func(s codec.Subscription) bool {
		if tooMany || len(reasons) >= c.b.options().MaxSubscriptions {
			reasons = append(reasons, codec.QuotaExceeded)
			return true
		}
		reason, err := c.checkFilter(s.Filter, s.NoLocal, min(s.QoS, c.b.o.MaxQoS))
		if err != nil {
			failure = err
			return false
		}
		if reason < 0x80 {
			reason = codec.ReasonCode(min(s.QoS, c.b.o.MaxQoS)) // [MQTT-3.2.2-10] [MQTT-3.8.4-7]
		}
		reasons = append(reasons, reason)
		return true
	})
	return reasons, failure
}

// fitsAnswer reports whether a SUBACK or UNSUBACK with so many Reason Codes is within
// the Maximum Packet Size of the Client. [MQTT-3.1.2-24]
func (c *conn) fitsAnswer(reasons int) bool {
	const header = 1 + 4 + 2 + 1 // type, Remaining Length, Packet Identifier, no properties
	return c.params.fits(reasons + header)
}

// subscribeSome makes some of the subscriptions of a packet; more follow. It returns the
// commit group that they are in; 0: nothing is stored.
func (c *conn) subscribeSome(step []request, reasons []codec.ReasonCode) (group uint64, err error) {
	b, cl := c.b, c.client
	b.commits.Enter()
	defer b.leave(&c.pending)
	defer b.holdSubscribing()()
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.conn != c {
		return 0, errTakenOver
	}
	_ = cl.subscribeStepLocked(step, reasons, 0, c.now, &c.pending)
	if cl.sess.Durable() {
		group = cl.lastGroup
	}
	return group, nil
}

// holdSubscribing takes what who makes subscriptions holds beside the Client's lock: router.mu for
// writing, and retained.mu. release may be called more than once.
func (b *Broker) holdSubscribing() (release func()) {
	b.router.mu.Lock()
	b.retained.mu.RLock()
	return sync.OnceFunc(func() {
		b.retained.mu.RUnlock()
		b.router.mu.Unlock()
	})
}

// awaitSoFar waits until what a packet has changed so far is on disk, so that a large
// packet is spread over many commits. No lock may be held.
func (c *conn) awaitSoFar(group uint64) error {
	if group == 0 {
		return nil
	}
	c.pending.flush(c.b.m)
	if c.b.commits.Wait(group) != nil {
		return refuse(codec.ServerShuttingDown, "the Server is shutting down")
	}
	c.waited()
	return nil
}

// subscribeLast makes the last subscriptions of a packet and queues its SUBACK.
func (c *conn) subscribeLast(step []request, reasons []codec.ReasonCode, packetID uint16) error {
	b, cl := c.b, c.client
	b.commits.Enter()
	defer b.leave(&c.pending)
	release := b.holdSubscribing()
	defer release()
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.conn != c {
		return errTakenOver
	}
	made := cl.subscribeStepLocked(step, reasons, cl.visitsLocked(), c.now, &c.pending)
	release()
	group := uint64(0)
	if cl.sess.Durable() && slices.ContainsFunc(reasons, func(r codec.ReasonCode) bool { return r < 0x80 }) {
		group = cl.lastGroup
	}
	c.queueSuback(group, packetID, reasons)
	cl.feedFoundLocked(made, c.now, &c.pending)
	cl.startFeedLocked()
	return nil
}

// visitsLocked is how many nodes may be visited in search of the retained messages of new
// subscriptions: none if what is found could not be sent now.
func (cl *Client) visitsLocked() int {
	if cl.owedLocked() != nil || cl.sess.QueueLen()+feedStep > feedQueueMax {
		return 0
	}
	return visitsAtOnce
}

// subscribeStepLocked makes subscriptions and searches for what they are owed of the
// retained messages, with so many visits of nodes. It returns the debts for which the
// search came to its end. The caller holds router.mu for writing, retained.mu, client.mu and
// the gate.
func (cl *Client) subscribeStepLocked(step []request, reasons []codec.ReasonCode, visits int, now time.Time, pend *pending) (made []*debt) {
	for _, a := range step {
		d, ok := cl.subscribeLocked(a.sub, now, pend)
		if !ok {
			reasons[a.at] = codec.QuotaExceeded
		}
		if d == nil || visits <= 0 {
			continue
		}
		if d.found, visits = d.search(&cl.b.retained.set, visits); visits >= 0 {
			d.searched = true
			made = append(made, d)
		}
	}
	return made
}

// checkFilter returns the Reason Code for a Topic Filter, below 0x80 if it may
// be subscribed to at a QoS, or the error that ends the connection.
func (c *conn) checkFilter(whole codec.View, noLocal bool, qos codec.QoS) (codec.ReasonCode, error) {
	filter, reason, err := c.b.checkFilter(whole, noLocal)
	if err != nil || reason != codec.Success {
		return reason, err
	}
	if perm := c.b.permission.Load(); perm != nil {
		if allowed, err := c.maySubscribe(perm, filter, qos); err != nil || !allowed {
			return codec.NotAuthorized, err
		}
	}
	return codec.Success, nil
}

// checkFilter returns the Topic Filter without $share, and the Reason Code for it whoever
// asks for it, or the error that ends a connection that does.
func (b *Broker) checkFilter(whole codec.View, noLocal bool) (filter codec.View, reason codec.ReasonCode, err error) {
	_, filter, shared, err := topics.ParseShare(whole)
	if err != nil { // [MQTT-4.8.2-1] [MQTT-4.8.2-2]
		return nil, 0, refuse(codec.ProtocolError, "a Shared Subscription is $share/{ShareName}/{filter}")
	}
	if shared && noLocal { // [MQTT-3.8.3-4]
		return nil, 0, refuse(codec.ProtocolError, "No Local on a Shared Subscription")
	}
	switch err := topics.ValidFilter(filter, b.o.MaxTopicLevels); err {
	case nil:
	case topics.ErrTooDeep:
		return filter, codec.TopicFilterInvalid, nil
	default: // [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1]
		return nil, 0, refuse(codec.MalformedPacket, err.Error())
	}
	if shared && !b.o.SharedSubAvailable {
		return filter, codec.SharedSubscriptionsNotSupported, nil
	}
	if !b.o.WildcardAvailable && topics.HasWildcard(filter) {
		return filter, codec.WildcardSubscriptionsNotSupported, nil
	}
	return filter, codec.Success, nil
}

// subscribeLocked makes one subscription and returns what it is newly owed of the
// retained messages; nil: nothing. It reports false, and has changed nothing, if the
// Session has too many subscriptions or the store has no room. [MQTT-3.8.4-3] The caller
// holds router.mu for writing, retained.mu, client.mu and the gate.
func (cl *Client) subscribeLocked(sub *session.Subscription, now time.Time, pend *pending) (d *debt, ok bool) {
	control.Panic(control.PanicInSubscribe)
	b := cl.b
	known := cl.sess.Subscription(sub.Filter) != nil
	if !known && cl.sess.SubscriptionCount() >= b.options().MaxSubscriptions {
		return nil, false
	}
	if !known && !b.maySubscribeLocked(sub) {
		return nil, false
	}
	if !known && cl.sess.Durable() && !b.commits.Admit(subscriptionCost(sub), codec.TypeSubscribe.String()) {
		return nil, false
	}
	pend.fx.Reset()
	cl.sess.Subscribe(sub, &pend.fx)
	cl.applyLocked(now, pend)
	b.router.subscribeLocked(cl, binding{sub: sub, sess: cl.sess.ID})
	if sub.Shared() { // it gets no retained messages: section 4.8.2
		return nil, true
	}
	// [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]
	owed := sub.RetainHandling == 0 || (sub.RetainHandling == 1 && !known) || control.Broken(control.RetainHandlingIgnored)
	if owed && isSys(sub.Filter) {
		pend.sys = append(pend.sys, sub)
	}
	if !owed {
		cl.keepOwedLocked(sub)
		return nil, true
	}
	return cl.oweLocked(sub, now, pend), true
}

// queueSuback queues the SUBACK, to be sent when group is on disk; 0: at once.
func (c *conn) queueSuback(group uint64, packetID uint16, reasons []codec.ReasonCode) {
	codes := make([]byte, len(reasons))
	for i, r := range reasons {
		codes[i] = byte(r)
		if c.version != codec.Version5 && r >= 0x80 {
			codes[i] = 0x80 // the only failure that 3.1.1 knows
		}
	}
	if control.Broken(control.SubackOutOfOrder) {
		slices.Reverse(codes)
	}
	ack := codec.Suback{PacketID: packetID, Reasons: codes}
	c.out.QueueHeld(&c.pending.Pending, link.Hold{Commit: group}, func(dst []byte) []byte {
		dst, _ = codec.AppendSuback(dst, &ack, c.version) // cannot fail: the fields are in range
		return dst
	})
}

// noteRefusedFilters counts and logs the Topic Filters that SUBACK refuses, one line for
// each Reason Code. No lock may be held.
func (c *conn) noteRefusedFilters(p *codec.Subscribe, reasons []codec.ReasonCode) {
	if !slices.ContainsFunc(reasons, func(r codec.ReasonCode) bool { return r >= 0x80 }) {
		return
	}
	refused := make(map[codec.ReasonCode]int)
	for _, r := range reasons {
		if r >= 0x80 {
			refused[r]++
		}
	}
	examples := make(map[codec.ReasonCode]string, len(refused))
	at := 0
	p.Each(func(s codec.Subscription) bool {
		if r := reasons[at]; refused[r] > 0 {
			examples[r] = cmp.Or(examples[r], notice.Shown(s.Filter))
		}
		at++
		return len(examples) < len(refused)
	})
	for reason, n := range refused {
		c.b.m.RefusedSubscriptions(reason.String()).Add(n)
		key, limit := c.limitOfFilters(reason, len(reasons))
		attrs := []any{trouble.SubscriptionRefused, "client", notice.Shown(c.client.id), "filter", examples[reason], "of_this_packet", n, "reason", reason.String()}
		if key != "" {
			attrs = append(attrs, "key", key, "limit", limit)
		}
		c.b.notices.Warn("subscription refused", c.client.id+"\x00"+key, "subscription refused", attrs...)
	}
}

// limitOfFilters returns the setting that made the Server answer with reason to some of
// so many filters of a packet, and its value; empty: none did.
func (c *conn) limitOfFilters(reason codec.ReasonCode, filters int) (key string, limit any) {
	if reason == codec.QuotaExceeded {
		return c.quotaOfFilters(filters)
	}
	return c.b.limitOfFilter(reason)
}

// limitOfFilter returns the setting that makes the Server answer with reason to a filter;
// empty: it is not for a setting, or for one that quotaOfFilters knows.
func (b *Broker) limitOfFilter(reason codec.ReasonCode) (key string, limit any) {
	o := &b.o
	switch reason {
	case codec.TopicFilterInvalid:
		return "mqtt.max-topic-levels", o.MaxTopicLevels
	case codec.SharedSubscriptionsNotSupported:
		return "mqtt.shared-sub-available", false
	case codec.WildcardSubscriptionsNotSupported:
		return "mqtt.wildcard-available", false
	}
	return "", nil
}

// quotaOfFilters returns which of the settings that bound subscriptions is reached.
func (c *conn) quotaOfFilters(filters int) (key string, limit any) {
	if c.tooMany(c.packets.subscribe.UserProperties) {
		return "mqtt.max-user-properties", c.b.options().MaxUserProperties
	}
	return c.client.quotaOfFilters(filters)
}

// quotaOfFilters is the part of it that is not about the packet.
func (cl *Client) quotaOfFilters(filters int) (key string, limit any) {
	o := cl.b.options()
	if cl.b.fullOfFilters() {
		return "limits.memory", o.Limits.Memory
	}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.sess == nil || cl.sess.SubscriptionCount() >= o.MaxSubscriptions || filters > o.MaxSubscriptions {
		return "mqtt.max-subscriptions", o.MaxSubscriptions
	}
	return "storage.max-size", "the store has no room"
}
