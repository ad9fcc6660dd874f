package broker

import (
	"slices"
	"sync"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
	"github.com/x0a1b/promptmq/topics"
)

const (
	// visitsAtOnce bounds the search for retained messages while router.mu is held for
	// writing: how many nodes it visits.
	visitsAtOnce = 256
	// filtersAtOnce is how many Topic Filters of a packet are handled under the
	// router's lock, which keeps all others from routing.
	filtersAtOnce = 64
	// filtersPerCommit is about how many of them one commit may have to bring to
	// disk: acknowledgements of others wait for it.
	filtersPerCommit = 512
)

// handleSubscribe makes subscriptions, a few at a time, and answers when all are
// on disk if the Session is durable. Section 3.8.
func (c *conn) handleSubscribe(f codec.Frame) error {
	p := &c.packets.subscribe
	if err := p.Decode(f, c.version); err != nil {
		return err
	}
	reasons, err := c.checkSubscribe(p)
	if err != nil {
		return err
	}
	if !c.fitsAnswer(p.Count) {
		return refuse(codec.PacketTooLarge, "SUBACK would exceed the Maximum Packet Size of the Client")
	}
	var array [filtersAtOnce]asked
	step, at := array[:0], -1
	p.Each(func(s codec.Subscription) bool {
		if at++; reasons[at] >= 0x80 {
			return true
		}
		if len(step) == filtersAtOnce {
			if err = c.subscribeSome(step, reasons); err != nil {
				return false
			}
			step = step[:0]
		}
		step = append(step, asked{at, &session.Subscription{
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
	c.noteRefusedFilters(p, reasons)
	return nil
}

// An asked is a subscription to make, and its place in the packet.
type asked struct {
	at  int
	sub *session.Subscription
}

// checkSubscribe returns, for each Topic Filter in order, the Reason Code to
// answer if nothing else is in the way. [MQTT-3.8.4-6] [MQTT-3.9.3-1] A Session
// cannot have more subscriptions than a packet may have filters, so whatever is
// beyond that is refused without a look.
func (c *conn) checkSubscribe(p *codec.Subscribe) ([]codec.ReasonCode, error) {
	reasons := make([]codec.ReasonCode, 0, p.Count)
	var failure error
	p.Each(func(s codec.Subscription) bool {
		if len(reasons) >= c.b.o.MaxSubscriptions {
			reasons = append(reasons, codec.QuotaExceeded)
			return true
		}
		reason, err := c.checkFilter(s.Filter, s.NoLocal)
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

// fitsAnswer says whether the Client takes a SUBACK or UNSUBACK with so many
// Reason Codes. [MQTT-3.1.2-24]
func (c *conn) fitsAnswer(reasons int) bool {
	const header = 1 + 4 + 2 + 1 // type, Remaining Length, Packet Identifier, no properties
	limit := c.params.packetBytesMax
	return limit == 0 || uint64(reasons)+header <= uint64(limit)
}

// subscribeSome makes some of the subscriptions of a packet, with more to come.
func (c *conn) subscribeSome(step []asked, reasons []codec.ReasonCode) error {
	b, cl := c.b, c.client
	group := uint64(0)
	err := func() error {
		b.commits.Enter()
		defer b.commits.Leave()
		b.router.mu.Lock()
		defer b.router.mu.Unlock()
		cl.mu.Lock()
		defer cl.mu.Unlock()
		if cl.conn != c {
			return errTakenOver
		}
		_ = c.subscribeStepLocked(step, reasons, 0)
		if cl.sess.Durable() {
			group = cl.lastGroup
		}
		return nil
	}()
	if err == nil && step[0].at/filtersPerCommit != step[len(step)-1].at/filtersPerCommit {
		err = c.awaitSoFar(group)
	}
	return err
}

// awaitSoFar waits until what a packet has changed so far is on disk, so that no
// commit has to bring more there than a part of a large packet. No lock may be held.
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
func (c *conn) subscribeLast(step []asked, reasons []codec.ReasonCode, packetID uint16) error {
	b, cl := c.b, c.client
	b.commits.Enter()
	defer b.commits.Leave()
	b.router.mu.Lock()
	unlockRouter := sync.OnceFunc(b.router.mu.Unlock)
	defer unlockRouter()
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.conn != c {
		return errTakenOver
	}
	visits := visitsAtOnce
	if cl.owedLocked() != nil || cl.sess.QueueLen()+feedStep > feedQueueMax { // what is found would not be sent now
		visits = 0
	}
	made := c.subscribeStepLocked(step, reasons, visits)
	unlockRouter()
	group := uint64(0)
	if cl.sess.Durable() && slices.ContainsFunc(reasons, func(r codec.ReasonCode) bool { return r < 0x80 }) {
		group = cl.lastGroup
	}
	c.queueSuback(group, packetID, reasons)
	cl.feedFoundLocked(made, c.now, &c.pending)
	cl.startFeedLocked()
	return nil
}

// subscribeStepLocked makes subscriptions. So many visits of nodes may be spent
// on the search for retained messages; it returns to whom something was found. The
// caller holds router.mu for writing, client.mu and the gate.
func (c *conn) subscribeStepLocked(step []asked, reasons []codec.ReasonCode, visits int) (made []*debt) {
	for _, a := range step {
		d, ok := c.subscribeLocked(a.sub)
		if !ok {
			reasons[a.at] = codec.QuotaExceeded
		}
		if d == nil || visits <= 0 {
			continue
		}
		if d.found, visits = d.search(&c.b.router.retained, visits); visits >= 0 {
			d.searched = true
			made = append(made, d)
		}
	}
	return made
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

// subscribeLocked makes one subscription and returns what it is owed of the retained
// messages; nil: nothing new. It reports false, and has changed nothing, if the
// Session has too many or the store has no room. [MQTT-3.8.4-3]
func (c *conn) subscribeLocked(sub *session.Subscription) (d *debt, ok bool) {
	control.Panic(control.PanicInSubscribe)
	b, cl := c.b, c.client
	known := cl.sess.Subscription(sub.Filter) != nil
	if !known && cl.sess.SubscriptionCount() >= b.o.MaxSubscriptions {
		return nil, false
	}
	if !known && cl.sess.Durable() && !b.commits.Admit(subscriptionCost(sub), codec.TypeSubscribe.String()) {
		return nil, false
	}
	c.pending.fx.Reset()
	cl.sess.Subscribe(sub, &c.pending.fx)
	cl.applyLocked(c.now, &c.pending)
	b.router.subscribeLocked(cl, binding{sub: sub, sess: cl.sess.ID})
	owed := sub.RetainHandling == 0 || (sub.RetainHandling == 1 && !known) || control.Broken(control.RetainHandlingIgnored) // [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]
	if sub.Shared() {                                                                                                       // none: section 4.8.2
		return nil, true
	}
	if !owed {
		cl.keepOwedLocked(sub)
		return nil, true
	}
	return cl.oweLocked(sub, c.now, &c.pending), true
}

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

// handleUnsubscribe removes subscriptions, a few at a time, and answers when all
// are gone from disk. Deliveries that have started go on. Section 3.10.
// [MQTT-3.10.4-3]
func (c *conn) handleUnsubscribe(f codec.Frame) error {
	p := &c.packets.unsubscribe
	if err := p.Decode(f, c.version); err != nil {
		return err
	}
	if c.version == codec.Version5 && !c.fitsAnswer(p.Count) {
		return refuse(codec.PacketTooLarge, "UNSUBACK would exceed the Maximum Packet Size of the Client")
	}
	codes := make([]byte, 0, p.Count)
	var array [filtersAtOnce]codec.View
	step := array[:0]
	var err error
	p.Each(func(filter codec.View) bool {
		if len(step) == filtersAtOnce {
			if codes, err = c.unsubscribeStep(step, codes, 0); err != nil {
				return false
			}
			step = step[:0]
		}
		step = append(step, filter)
		return true
	})
	if err == nil {
		_, err = c.unsubscribeStep(step, codes, p.PacketID)
	}
	return err
}

// unsubscribeStep removes some of the subscriptions of a packet and appends their
// Reason Codes. With the last ones it gets the Packet Identifier, and queues
// UNSUBACK.
func (c *conn) unsubscribeStep(step []codec.View, codes []byte, packetID uint16) ([]byte, error) {
	b, cl := c.b, c.client
	b.commits.Enter()
	unlockGate := sync.OnceFunc(b.commits.Leave)
	defer unlockGate()
	codes, orphans, group, err := c.unsubscribeSome(step, codes, packetID)
	if err != nil {
		return codes, err
	}
	b.handOver(orphans, cl, group > 0, c.now, &c.pending)
	unlockGate()
	if packetID == 0 && len(codes)%filtersPerCommit == 0 {
		err = c.awaitSoFar(group)
	}
	return codes, err
}

// unsubscribeSome is the part of unsubscribeStep that needs locks. It returns the
// messages that other members of Shared Subscriptions may get instead, and the
// group of the removal; 0: nothing is stored. The caller holds the gate.
func (c *conn) unsubscribeSome(step []codec.View, codes []byte, packetID uint16) ([]byte, []session.Entry, uint64, error) {
	b, cl := c.b, c.client
	b.router.mu.Lock()
	unlockRouter := sync.OnceFunc(b.router.mu.Unlock)
	defer unlockRouter()
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.conn != c {
		return codes, nil, 0, errTakenOver
	}
	codes, shares := c.unsubscribeStepLocked(step, codes)
	unlockRouter() // the queue may be long
	var orphans []session.Entry
	if shares != nil {
		c.pending.fx.Reset()
		orphans = cl.sess.TakeShared(shares, false, &c.pending.fx)
		cl.applyLocked(c.now, &c.pending)
	}
	group := uint64(0)
	if cl.sess.Durable() {
		group = cl.lastGroup
	}
	if packetID != 0 {
		c.queueUnsuback(group, packetID, codes)
	}
	return codes, orphans, group, nil
}

// unsubscribeStepLocked removes subscriptions. It returns codes with theirs, and
// the Shared Subscriptions among them that have other members. The caller holds
// router.mu for writing, client.mu and the gate.
func (c *conn) unsubscribeStepLocked(step []codec.View, codes []byte) (_ []byte, shares map[string]bool) {
	cl := c.client
	for _, filter := range step {
		code := codec.NoSubscriptionExisted
		if control.Broken(control.UnsubackAlwaysSuccess) {
			code = codec.Success
		}
		if cl.sess.Subscription(string(filter)) != nil && !control.Broken(control.UnsubscribeIgnored) { // compared byte by byte [MQTT-3.10.4-1]
			code = codec.Success
			c.unsubscribeLocked(string(filter))
			if c.b.router.shares[string(filter)] != nil {
				if shares == nil {
					shares = make(map[string]bool)
				}
				shares[string(filter)] = true
			}
		}
		codes = append(codes, byte(code))
	}
	return codes, shares
}

func (c *conn) queueUnsuback(group uint64, packetID uint16, codes []byte) {
	ack := codec.Unsuback{PacketID: packetID, Reasons: codes}
	c.out.QueueHeld(&c.pending.Pending, link.Hold{Commit: group}, func(dst []byte) []byte {
		dst, _ = codec.AppendUnsuback(dst, &ack, c.version) // cannot fail: the fields are in range
		return dst
	})
}

// unsubscribeLocked removes one subscription. The caller holds router.mu for
// writing, client.mu and the gate.
func (c *conn) unsubscribeLocked(filter string) {
	control.Panic(control.PanicInUnsubscribe)
	b, cl := c.b, c.client
	c.pending.fx.Reset()
	cl.sess.Unsubscribe(filter, &c.pending.fx)
	cl.applyLocked(c.now, &c.pending)
	b.router.unsubscribeLocked(cl, cl.sess.ID, filter)
	cl.unsubscribedAt = b.router.changes.Load()
	cl.disownLocked(cl.debtLocked(filter), c.now, &c.pending) // [MQTT-3.10.4-2]
}
