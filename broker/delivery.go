package broker

import (
	"time"

	"github.com/x0a1b/promptmq/broker/commit"
	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/metrics"
	"github.com/x0a1b/promptmq/session"
)

// An originKind says what published a message.
type originKind uint8

const (
	fromClient   originKind = iota
	fromWill                // a Will Message
	fromStore               // a retained message
	fromSession             // a member of a Shared Subscription, which no longer takes it
	fromServer              // $SYS
	fromOperator            // an operator
)

// An origin is who published a message.
type origin struct {
	kind   originKind
	client *Client      // of fromClient and fromSession
	out    *link.Outbox // of fromClient: where its acknowledgement goes
}

// member is the member of a Shared Subscription that is not to get the message again if
// another can take it; nil: there is none.
func (o *origin) member() *Client {
	if o.kind == fromSession {
		return o.client
	}
	return nil
}

// isClient reports whether cl published the message on a connection of its own.
func (o *origin) isClient(cl *Client) bool { return o.kind == fromClient && o.client == cl }

// A cause is why a copy goes to its target.
type cause uint8

const (
	causeLive       cause = iota // it was just published
	causeWill                    // it was just published as a Will
	causeRetained                // it was retained when its target subscribed
	causeHandedOver              // another member of the Shared Subscription had it
	causeQueued                  // its Session kept it, and now sends it
	causeResumed                 // the same, to a Client that may have it already
)

// A publication is a message on its way through the router. Its packet borrows
// the read buffer; the Message, which owns its memory, is made when a queue or
// the retained messages need it.
type publication struct {
	p         *codec.Publish
	origin    origin
	author    *author // of a Will; else nil
	why       cause
	now       time.Time
	expiresAt time.Time
	m         *session.Message
	slab      *messageSlab // nil: m is alone
	cost      int64        // about what is stored for it beside the message and its entries
	// receipt is for the durable copies of a QoS 1 message; mustCommit says that
	// it cannot replace the commit.
	receipt    *commit.Receipt
	mustCommit bool
	stored     bool // something of it joined the open group
	// passesFull says that no full queue makes the Server refuse it: it is dropped for
	// that queue, and all others get it. mustFit says the same of a full store: a Will
	// was accepted with its CONNECT, and what removes a retained message makes room.
	passesFull, mustFit bool
	denied              bool      // its publisher may not publish it
	refused             []*Client // members of a Shared Subscription that may not have it
	// routed is which of the router's changes its targets know of. matches, of a
	// message that was retained in the same step, are where they come from; else nil.
	routed  uint64
	matches *[]match
}

// user is whose message it is if it is retained; "": nobody's. The caller holds the gate.
func (pub *publication) user() string {
	switch {
	case pub.author != nil:
		return pub.author.user
	case pub.origin.kind == fromClient:
		return pub.origin.client.who.Load().user()
	}
	return ""
}

// message returns the Message, made from the packet at the first call.
func (pub *publication) message() *session.Message {
	if pub.m == nil {
		p := pub.p
		slab := pub.slab
		if p.Retain { // it stays, and would keep its neighbours too
			slab = nil
		}
		pub.m = slab.message(p.Topic, p.Payload, p.Forward.Len(), p.Forward.AppendTo)
		pub.m.QoS, pub.m.Retain, pub.m.ExpiresAt = p.QoS, p.Retain, pub.expiresAt
	}
	return pub.m
}

// A delivery is one copy of a message on its way to one Client.
type delivery struct {
	why cause
	// Of a copy that was just routed.
	pub *publication
	to  *target
	// Of a copy that its Session sends: what pub and to were is in it; else nil. If it
	// expires, expirySeconds is its Message Expiry Interval.
	send          *session.Send
	expires       bool
	expirySeconds uint32
}

// An outcome is what became of one copy of a message when a delivery was decided.
type outcome uint8

// Outcomes of a copy. One that is dropped has the reason: dropped + the
// metrics.DropReason, and beside those that decideLocked finds these may
// come later, for a copy that was queued: expired, too large, too old, the oldest
// of a full queue, or the end of its Session.
const (
	sent     outcome = iota // given to the connection; nothing keeps it
	queued                  // its Session keeps it until it is acknowledged, sent or not
	passedOn                // the member of a Shared Subscription has ended or unsubscribed: another is chosen
	dropped                 // and the reason

	expired         = dropped + outcome(metrics.DropExpired)
	tooLarge        = dropped + outcome(metrics.DropTooLarge)
	slowConsumer    = dropped + outcome(metrics.DropSlowConsumer)
	offline         = dropped + outcome(metrics.DropOfflineQoS0)
	noMember        = dropped + outcome(metrics.DropNoMember)
	queueFullNewest = dropped + outcome(metrics.DropQueueNewest)
	queueFullOldest = dropped + outcome(metrics.DropQueueOldest)
	tooOld          = dropped + outcome(metrics.DropTooOld)
	sessionEnded    = dropped + outcome(metrics.DropSessionEnded)
	unsubscribed    = dropped + outcome(metrics.DropUnsubscribed)
	denied          = dropped + outcome(metrics.DropDenied)
	numOutcomes     = dropped + outcome(metrics.NumDropReasons)
)

// outcomes counts what one goroutine has decided since it last flushed.
type outcomes struct {
	routed [numOutcomes]int // of copies that were just routed
	// fromQueue are those of copies that were queued, and counted as that, before. Of
	// these only what is dropped is counted: what is sent is counted as a message.
	fromQueue [numOutcomes]int
}

// count adds the outcomes to m and begins anew.
func (n *outcomes) count(m *metrics.Broker) {
	for i := range n.routed {
		copies, later := n.routed[i], n.fromQueue[i]
		if copies == 0 && later == 0 {
			continue
		}
		switch o := outcome(i); o {
		case sent:
			m.DeliveriesSent.Add(copies)
		case queued:
			m.DeliveriesQueued.Add(copies)
		case passedOn:
			m.DeliveriesPassedOn.Add(copies)
		default:
			m.Dropped[o-dropped].Add(copies + later)
			m.DeliveriesDropped.Add(copies)
		}
		n.routed[i], n.fromQueue[i] = 0, 0
	}
}

// deliver gives one copy of a message that was routed to its target. If that is a
// member of a Shared Subscription that is none any more, the outcome is passedOn,
// and deliverToAnother must be called, with no lock held. The caller is in the gate if
// the message has QoS 1 or 2.
func (pub *publication) deliver(t *target, pend *pending) outcome {
	var d delivery
	d.why, d.pub, d.to = pub.why, pub, t
	cl := t.client
	if cl == nil {
		return cl.decideLocked(&d, pend)
	}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	return cl.decideLocked(&d, pend)
}

// decideLocked decides the fate of one copy, and counts it. Every copy passes here:
// once when it is routed, whatever published it, and if it is queued then, each time
// its Session sends it. cl is nil if no member of a Shared Subscription can take it.
// The caller holds cl.mu, and is in the gate if the message has QoS 1 or 2.
func (cl *Client) decideLocked(d *delivery, pend *pending) (o outcome) {
	routed := d.send == nil
	var perm *permission
	if cl != nil {
		perm = cl.b.permission.Load()
	}
	switch {
	case cl == nil && d.to.denied:
		o = denied
	case cl == nil:
		o = noMember
	case routed && (cl.sess == nil || cl.sess.ID != d.to.sess):
		o = sessionEnded
	case routed && cl.unsubscribedAt > d.pub.routed && !cl.retargetLocked(d): // nothing follows UNSUBACK that was not queued before [MQTT-3.10.4-2]
		o = unsubscribed
	case perm != nil && !cl.mayReceiveLocked(perm, d):
		o = denied
	case !routed:
		o = cl.sendLocked(d, pend)
	case d.why == causeRetained && d.pub.m.Expired(d.pub.now): // [MQTT-3.3.2-5]
		o = expired
	default:
		o = cl.giveLocked(d, pend)
	}
	switch o {
	case sessionEnded, unsubscribed:
		if routed && d.to.share != "" {
			o = passedOn
		}
	case denied:
		o = cl.passDeniedOn(d)
	}
	if routed {
		pend.outcomes.routed[o]++
	} else {
		pend.outcomes.fromQueue[o]++
	}
	if o >= dropped && cl != nil && cl.sess != nil {
		cl.noteDropLocked(d, o)
	}
	if cl != nil && cl.b.traces.running() {
		cl.traceDecided(d, o, pend)
	}
	return o
}

// giveLocked gives a copy to the connection, if the Session need not keep it, or
// else to the Session. [MQTT-4.3.1-1]
func (cl *Client) giveLocked(d *delivery, pend *pending) outcome {
	pub, t, c := d.pub, d.to, cl.conn
	p := *pub.p
	p.QoS = min(p.QoS, t.qos)                  // [MQTT-3.8.4-8] [MQTT-4.8.2-3]
	p.Retain = p.Retain && t.rap               // [MQTT-3.3.1-12] [MQTT-3.3.1-13]
	p.Dup, p.PacketID = false, 0               // [MQTT-3.3.1-3]
	p.TopicAlias, p.SubscriptionIDs = 0, t.ids // [MQTT-3.3.2-7]
	if t.ids == nil && t.id != 0 {
		pend.oneID[0] = t.id
		p.SubscriptionIDs = pend.oneID[:]
	}
	if control.Broken(control.QoSNotLowered) {
		p.QoS = pub.p.QoS
	}
	there := c != nil && cl.sess.Attached()
	switch {
	case p.QoS > 0 && there && !p.HasMessageExpiry && t.share == "" && cl.sess.SendNow(&p):
		if by := cl.sess.FullBy(); by != cl.hints.full() {
			cl.hints.setFull(by)
		}
		if c.out.QueuePublish(&pend.Pending, &p, 0) != link.Taken {
			return sessionEnded // it ends with its connection
		}
	case p.QoS > 0:
		return cl.keepLocked(d, p.QoS, p.Retain, pend)
	case !there:
		return offline
	case c.params.packetBytesMax > 0 && !c.params.fits(codec.PublishSize(&p, c.version)): // [MQTT-3.1.2-25]
		return tooLarge
	case d.why == causeRetained: // at the pace of its Client, and never dropped because that is slow
		if c.out.QueuePublish(&pend.Pending, &p, 0) != link.Taken {
			return offline
		}
	default:
		switch c.out.OfferPublish(&pend.Pending, &p) {
		case link.Full:
			return slowConsumer
		case link.Closing:
			return offline
		}
	}
	return sent
}

// keepLocked gives a copy to the Session to be kept until it is acknowledged.
func (cl *Client) keepLocked(d *delivery, qos codec.QoS, retain bool, pend *pending) outcome {
	pub, t := d.pub, d.to
	pend.fx.Reset()
	if pub.passesFull && cl.b.limits.Policy == session.Reject && cl.sess.Full() {
		cl.sess.Refuse(&pend.fx)
	} else {
		e := session.Entry{
			Message: pub.message(), QoS: qos, Retain: retain, SubscriptionIDs: t.subscriptionIDs(), Share: t.share,
		}
		if r := pub.receiptFor(cl); r != nil {
			e.Receipt = r
		}
		control.Panic(control.PanicInDeliver)
		cl.sess.Deliver(e, pub.now, &pend.fx)
	}
	o := queued
	if pend.fx.DroppedNewest > 0 {
		o = queueFullNewest
	}
	if len(pend.fx.Entries) > 0 {
		pub.noteStored(pend.fx.Awaited)
	}
	cl.applyLocked(pub.now, pend)
	return o
}

// receiptFor returns the message's receipt if cl may acknowledge a copy before
// the publisher has its PUBACK.
func (pub *publication) receiptFor(cl *Client) *commit.Receipt {
	if pub.p.QoS != 1 || pub.origin.kind != fromClient || pub.mustCommit || cl.conn == nil || !cl.sess.Durable() {
		return nil
	}
	if pub.receipt == nil {
		pub.receipt = commit.NewReceipt(pub.origin.out)
	}
	return pub.receipt
}

// noteStored counts a copy that was stored: on the receipt, if it is awaited.
func (pub *publication) noteStored(awaited bool) {
	pub.stored = true
	if !awaited || pub.receipt == nil {
		pub.mustCommit = true
	} else if !control.Broken(control.AckAtDelivery) {
		pub.receipt.Add()
	}
}

// applyLocked carries out pend.fx: it is the one way of a Session's Effects. What they
// write goes into the open group, and then what may be sent is. The caller is in the
// gate if the Session is durable.
func (cl *Client) applyLocked(now time.Time, pend *pending) {
	fx := &pend.fx
	if durable := cl.sess.Durable(); durable || fx.Rows != nil {
		part := &cl.storedLocked().part
		pend.completed = cl.b.commits.Merge(part, cl.sess, fx, pend.completed[:0])
		if durable {
			cl.lastGroup = max(cl.lastGroup, part.Group())
		}
		for _, w := range pend.completed {
			pend.Add(w.(*link.Outbox))
		}
		clear(pend.completed)
	}
	for i := range fx.Sends {
		s := &fx.Sends[i]
		if s.Message == nil {
			cl.sendPubrelLocked(s, pend)
			continue
		}
		d := delivery{why: causeQueued, send: s}
		if s.Dup {
			d.why = causeResumed
		}
		at := now
		if control.Broken(control.ExpiryNotCountedDown) {
			at = now.Add(-time.Hour)
		}
		d.expirySeconds, d.expires = s.Message.RemainingExpirySeconds(at)
		if o := cl.decideLocked(&d, pend); o == denied || o == passedOn {
			pend.refused = append(pend.refused, *s)
		}
	}
	if fx.Dropped != (session.Dropped{}) {
		cl.noteDroppedLocked(&fx.Dropped, now, pend)
	}
	if by := cl.sess.FullBy(); by != cl.hints.full() { // it seldom changes
		cl.hints.setFull(by)
	}
	if fx.Page {
		go cl.page(cl.sess, cl.conn, cl.lastGroup)
	}
	if len(pend.refused) > 0 && !pend.denying {
		cl.denySentLocked(now, pend)
	}
}

// sendLocked sends a copy that the Session keeps.
func (cl *Client) sendLocked(d *delivery, pend *pending) outcome {
	s := d.send
	p := codec.Publish{
		Dup: s.Dup, QoS: s.QoS, Retain: s.Retain, PacketID: s.PacketID,
		Topic: viewOf(s.Message.Topic), Payload: s.Message.Payload, SubscriptionIDs: s.SubscriptionIDs,
		Forward: codec.ForwardBytes(s.Message.Forward), HasMessageExpiry: d.expires, MessageExpirySeconds: d.expirySeconds,
	}
	var group uint64
	if s.AfterCommit && !control.Broken(control.QoS2BeforeCommit) && !(s.QoS == 1 && control.Broken(control.QoS1BeforeCommit)) {
		group = cl.lastGroup
	}
	switch {
	case cl.conn.out.QueuePublish(&pend.Pending, &p, group) == link.Taken:
		return sent
	case cl.sess.Durable() || (s.Shared && s.QoS == 1):
		return queued // still; to be sent to another member, if not to this Client
	}
	return sessionEnded // with its connection, which is closing
}

// sendPubrelLocked queues a PUBREL.
func (cl *Client) sendPubrelLocked(s *session.Send, pend *pending) {
	var group uint64
	if s.AfterCommit && !control.Broken(control.PubrelBeforeCommit) {
		group = cl.lastGroup
	}
	cl.conn.acknowledge(codec.TypePubrel, s.PacketID, codec.Success, link.Hold{Commit: group}, pend)
}
