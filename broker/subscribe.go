package broker

import (
	"slices"
	"sync"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
	"github.com/x0a1b/promptmq/topics"
)

// handleSubscribe makes subscriptions, and answers when they are on disk if the
// Session is durable. Section 3.8.
func (c *conn) handleSubscribe(f codec.Frame) error {
	p := &c.packets.subscribe
	if err := p.Decode(f, c.version); err != nil {
		return err
	}
	subs, reasons, err := c.checkSubscribe(p)
	if err != nil {
		return err
	}
	b, cl := c.b, c.client
	b.commits.gate.RLock()
	defer b.commits.gate.RUnlock()
	b.router.mu.Lock()
	unlockRouter := sync.OnceFunc(b.router.mu.Unlock)
	defer unlockRouter()
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.conn != c {
		return errTakenOver
	}
	inline := !cl.owedLocked()
	for i, sub := range subs {
		if sub != nil && !c.subscribeLocked(sub) {
			reasons[i] = codec.QuotaExceeded
		}
	}
	unlockRouter()
	group := uint64(0)
	if cl.sess.Durable() && slices.ContainsFunc(reasons, func(r codec.ReasonCode) bool { return r < 0x80 }) {
		group = cl.lastGroup
	}
	c.queueSuback(group, p.PacketID, reasons)
	// What is retained now cannot be overtaken by what replaces it: cl.mu is
	// held since the subscription was made.
	if inline {
		cl.feedLocked(false, c.now, &c.touched)
	}
	cl.startFeedLocked()
	return nil
}

// checkSubscribe returns, for each Topic Filter in order, the subscription to
// make or nil, and the Reason Code to answer. [MQTT-3.8.4-6] [MQTT-3.9.3-1]
func (c *conn) checkSubscribe(p *codec.Subscribe) ([]*session.Subscription, []codec.ReasonCode, error) {
	subs := make([]*session.Subscription, 0, p.Count)
	reasons := make([]codec.ReasonCode, 0, p.Count)
	var failure error
	p.Each(func(s codec.Subscription) bool {
		reason, err := c.checkFilter(s.Filter, s.NoLocal)
		if err != nil {
			failure = err
			return false
		}
		if reason >= 0x80 {
			subs, reasons = append(subs, nil), append(reasons, reason)
			return true
		}
		qos := min(s.QoS, c.b.o.MaxQoS) // [MQTT-3.2.2-10] [MQTT-3.8.4-7]
		subs = append(subs, &session.Subscription{
			Filter: string(s.Filter), QoS: qos, NoLocal: s.NoLocal,
			RetainAsPublished: s.RetainAsPublished, RetainHandling: s.RetainHandling, ID: p.SubscriptionID,
		})
		reasons = append(reasons, codec.ReasonCode(qos))
		return true
	})
	return subs, reasons, failure
}

// checkFilter returns the Reason Code for a Topic Filter, below 0x80 if it may
// be subscribed to, or the error that ends the connection.
func (c *conn) checkFilter(whole codec.View, noLocal bool) (codec.ReasonCode, error) {
	_, filter, shared, err := topics.ParseShare(whole)
	if err != nil { // [MQTT-4.8.2-1] [MQTT-4.8.2-2]
		return 0, refuse(codec.ProtocolError, "a Shared Subscription is $share/{ShareName}/{filter}")
	}
	if shared && noLocal { // [MQTT-3.8.3-4]
		return 0, refuse(codec.ProtocolError, "No Local on a Shared Subscription")
	}
	switch err := topics.ValidFilter(filter, c.b.o.MaxTopicLevels); err {
	case nil:
	case topics.ErrTooDeep:
		return codec.TopicFilterInvalid, nil
	default: // [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1]
		return 0, refuse(codec.MalformedPacket, err.Error())
	}
	if shared && !c.b.o.SharedSubAvailable {
		return codec.SharedSubscriptionsNotSupported, nil
	}
	if !c.b.o.WildcardAvailable && topics.HasWildcard(filter) {
		return codec.WildcardSubscriptionsNotSupported, nil
	}
	return codec.Success, nil
}

// subscribeLocked makes one subscription and collects the retained messages it
// is owed. It reports false, and has changed nothing, if the Session has too
// many or the store has no room. [MQTT-3.8.4-3]
// The caller holds router.mu for writing, client.mu and the gate.
func (c *conn) subscribeLocked(sub *session.Subscription) bool {
	b, cl := c.b, c.client
	_, known := cl.sess.Subscriptions[sub.Filter]
	if !known && len(cl.sess.Subscriptions) >= b.o.MaxSubscriptions {
		return false
	}
	if !known && cl.sess.Durable() && !b.commits.admit(subscriptionCost(sub), codec.TypeSubscribe) {
		return false
	}
	cl.sess.SetSubscription(sub)
	b.router.subscribeLocked(cl, binding{sub: sub, sess: cl.sess.ID})
	if cl.sess.Durable() {
		w := cl.writesLocked()
		if w.Subscriptions == nil {
			w.Subscriptions = make(map[string]*session.Subscription)
		}
		w.Subscriptions[sub.Filter] = sub
	}
	share, filter := splitShare(sub.Filter)
	owed := sub.RetainHandling == 0 || (sub.RetainHandling == 1 && !known) || broken("retain-handling-ignored") // [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]
	if share == "" && owed {                                                                                    // none for shared ones: section 4.8.2
		cl.oweRetainedLocked(filter, sub)
	}
	return true
}

func (c *conn) queueSuback(group uint64, packetID uint16, reasons []codec.ReasonCode) {
	codes := make([]byte, len(reasons))
	for i, r := range reasons {
		codes[i] = byte(r)
		if c.version != codec.Version5 && r >= 0x80 {
			codes[i] = 0x80 // the only failure that 3.1.1 knows
		}
	}
	if broken("suback-out-of-order") {
		slices.Reverse(codes)
	}
	ack := codec.Suback{PacketID: packetID, Reasons: codes}
	c.out.queueHeld(&c.touched, group, false, func(dst []byte) []byte {
		dst, _ = codec.AppendSuback(dst, &ack, c.version) // cannot fail: the fields are in range
		return dst
	})
}

// handleUnsubscribe removes subscriptions. Deliveries that have started go on.
// Section 3.10. [MQTT-3.10.4-3]
func (c *conn) handleUnsubscribe(f codec.Frame) error {
	p := &c.packets.unsubscribe
	if err := p.Decode(f, c.version); err != nil {
		return err
	}
	b, cl := c.b, c.client
	b.commits.gate.RLock()
	defer b.commits.gate.RUnlock()
	orphans, err := c.unsubscribe(p)
	if err != nil {
		return err
	}
	b.handOver(orphans, cl, c.now, &c.touched)
	return nil
}

// unsubscribe removes the subscriptions and queues UNSUBACK. It returns what
// other members of Shared Subscriptions may get.
func (c *conn) unsubscribe(p *codec.Unsubscribe) (orphans []session.Entry, err error) {
	b, cl := c.b, c.client
	b.router.mu.Lock()
	defer b.router.mu.Unlock()
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.conn != c {
		return nil, errTakenOver
	}
	codes := make([]byte, 0, p.Count)
	p.Each(func(filter codec.View) bool {
		code := codec.NoSubscriptionExisted
		if broken("unsuback-always-success") {
			code = codec.Success
		}
		if cl.sess.Subscriptions[string(filter)] != nil && !broken("unsubscribe-ignored") { // compared byte by byte [MQTT-3.10.4-1]
			code = codec.Success
			orphans = append(orphans, c.unsubscribeLocked(string(filter))...)
		}
		codes = append(codes, byte(code))
		return true
	})
	group := uint64(0)
	if cl.sess.Durable() {
		group = cl.lastGroup
	}
	ack := codec.Unsuback{PacketID: p.PacketID, Reasons: codes}
	c.out.queueHeld(&c.touched, group, false, func(dst []byte) []byte {
		dst, _ = codec.AppendUnsuback(dst, &ack, c.version) // cannot fail: the fields are in range
		return dst
	})
	return orphans, nil
}

// unsubscribeLocked removes one subscription and returns the messages that
// another member of a Shared Subscription may get instead. The caller holds
// router.mu for writing, client.mu and the gate.
func (c *conn) unsubscribeLocked(filter string) []session.Entry {
	b, cl := c.b, c.client
	delete(cl.sess.Subscriptions, filter)
	b.router.unsubscribeLocked(cl, cl.sess.ID, filter)
	cl.dropBacklogLocked(filter)
	if cl.sess.Durable() {
		w := cl.writesLocked()
		if w.Subscriptions == nil {
			w.Subscriptions = make(map[string]*session.Subscription)
		}
		w.Subscriptions[filter] = nil
	}
	if name, _ := splitShare(filter); name == "" || b.router.shares[filter] == nil {
		return nil
	}
	c.touched.fx.Reset()
	orphans := cl.sess.TakeShared(filter, false, &c.touched.fx)
	cl.applyLocked(c.now, &c.touched)
	return orphans
}

// dropBacklogLocked forgets the retained messages owed to a subscription that
// is gone. [MQTT-3.10.4-2]
func (cl *Client) dropBacklogLocked(filter string) {
	o := cl.owed
	if o == nil {
		return
	}
	o.listed = slices.DeleteFunc(o.listed, func(d retainedDelivery) bool { return d.sub.Filter == filter })
	o.cursors = slices.DeleteFunc(o.cursors, func(c retainedCursor) bool { return c.sub.Filter == filter })
	cl.setOwedLocked(o)
}
