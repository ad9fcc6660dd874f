package broker

import (
	"fmt"
	"hash/maphash"
	"log/slog"
	"time"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
	"github.com/x0a1b/promptmq/topics"
)

// sampleEvery is how many PUBLISH packets of a connection go by between two
// whose processing time is measured.
const sampleEvery = 64

// handlePublish takes an Application Message from the Client. Section 3.3.
func (c *conn) handlePublish(f codec.Frame) error {
	p := &c.packets.publish
	if err := p.Decode(f, c.version); err != nil {
		return err
	}
	if p.QoS > c.b.o.MaxQoS { // [MQTT-3.2.2-11]
		return refuse(codec.QoSNotSupported, "the QoS exceeds the Maximum QoS", "qos", p.QoS, "topic", notice.Shown(p.Topic), "key", "mqtt.max-qos")
	}
	if p.Retain && !c.b.o.RetainAvailable { // [MQTT-3.2.2-14]
		return refuse(codec.RetainNotSupported, "retained messages are not available", "topic", notice.Shown(p.Topic), "key", "mqtt.retain-available")
	}
	if len(p.SubscriptionIDs) > 0 { // [MQTT-3.3.4-6]
		return refuse(codec.ProtocolError, "a Client sent a Subscription Identifier")
	}
	if p.TopicAlias > 0 {
		if err := c.publisherOf().aliases.resolve(p, c.b.o.TopicAliasMaximum); err != nil {
			return err
		}
	}
	if control.Broken(control.PanicOnPublish) {
		panic("asked for")
	}
	c.pending.Received(p)
	c.messages++
	if c.b.traces.running() {
		c.tracePublish("publish", p, "")
	}
	if p.QoS > 0 {
		if c.receiving > 0 {
			c.receiving = max(0, c.receiving-c.out.TakeCredits())
		}
		// receiveQoS2 takes back what is counted for a QoS 2 message that is sent again.
		if c.receiving++; c.version == codec.Version5 && c.receiving > int32(c.b.o.ReceiveMaximum) { // [MQTT-3.3.4-7]
			return c.refuseReceiving()
		}
	}
	if p.Forward.Len() > 0 && c.tooManyProperties(&p.Forward) {
		return c.refuseProperties(p)
	}
	c.sample++
	if c.sample%sampleEvery == 0 {
		start := time.Now()
		defer func() { c.b.m.ProcessingSeconds.Update(time.Since(start).Seconds()) }()
	}
	allowed := true
	if !c.b.router.recall(&c.route, p.Topic) { // else it was found to be in order before
		if reason := c.checkTopicName(p.Topic); reason != codec.Success {
			return c.refusePublish(p, reason)
		}
	}
	if perm := c.b.permission.Load(); perm != nil {
		var err error
		if allowed, err = c.mayPublish(perm, p); err != nil {
			return err
		}
	}
	var pub publication // field by field: a composite literal would be made elsewhere and copied
	pub.p, pub.now, pub.slab = p, c.now, &c.slab
	pub.origin.kind, pub.origin.client, pub.origin.out = fromClient, c.client, &c.out
	pub.passesFull = p.Retain && len(p.Payload) == 0
	if p.HasMessageExpiry {
		pub.expiresAt = c.now.Add(time.Duration(p.MessageExpirySeconds) * time.Second)
	}
	pub.denied = !allowed
	if p.QoS == 0 && !p.Retain && allowed {
		c.b.publish(&pub, &c.route, &c.pending) // and never refused
		return nil
	}
	return c.publishStored(&pub)
}

// refuseReceiving is for a Client that keeps no count of what it has under way. It
// does so again after the next CONNECT, so the log says what to change.
func (c *conn) refuseReceiving() error {
	limit := c.b.o.ReceiveMaximum
	c.pending.say(c.b.notices.Line(slog.LevelWarn, "receive maximum exceeded", c.client.id,
		"a client has sent more QoS 1 and 2 messages at a time than it may", trouble.ReceiveMaximum,
		"client", notice.Shown(c.client.id), "receive_maximum", limit, "key", "mqtt.receive-maximum"))
	return refuse(codec.ReceiveMaximumExceeded, fmt.Sprintf("more messages in flight than the Receive Maximum of %d", limit))
}

// checkTopicName returns the reason for which every message of a Topic Name, and every
// Will, must be refused, or Success. It is not asked again while the route of the name is remembered, so
// it can be about nothing but the name.
func (c *conn) checkTopicName(name codec.View) codec.ReasonCode {
	if err := topics.ValidName(name, c.b.o.MaxTopicLevels); err != nil {
		return codec.TopicNameInvalid
	}
	if !mayPublish(name) {
		return codec.NotAuthorized
	}
	return codec.Success
}

// refusePublish ends a PUBLISH of which nothing is stored and nothing
// delivered. A v5 Client is told in the acknowledgement and must not send it
// again [MQTT-4.4.0-2]; a 3.x Client, whose acknowledgements cannot refuse, is
// disconnected (section 3.3.5 of 3.1.1). QoS 0 is counted only.
func (c *conn) refusePublish(p *codec.Publish, reason codec.ReasonCode) error {
	c.b.m.RefusedMessages(reason.String()).Inc()
	c.tracePublish("refuse", p, reason.String())
	if p.QoS == 0 {
		return nil
	}
	if c.version != codec.Version5 {
		return refuse(reason, "the PUBLISH is refused", "topic", notice.Shown(p.Topic))
	}
	c.answerPublish(p, reason)
	return nil
}

// denyPublish is refusePublish for a message that the Client may not publish. Nothing ends
// because of it: a 3.x Client, which can be told so in no other way than by the end of its
// connection, has it acknowledged as if there were no subscriber.
func (c *conn) denyPublish(p *codec.Publish) {
	c.b.m.RefusedMessages(codec.NotAuthorized.String()).Inc()
	c.tracePublish("refuse", p, codec.NotAuthorized.String())
	c.pending.say(c.b.notices.Line(slog.LevelInfo, "publish denied", c.client.id, "a message was not published: its client may not publish it", trouble.PublishDenied,
		"client", notice.Shown(c.client.id), "topic", notice.Shown(p.Topic), "qos", p.QoS, "retain", p.Retain))
	reason := codec.NotAuthorized
	if c.version != codec.Version5 {
		reason = codec.Success
	}
	if p.QoS > 0 {
		c.answerPublish(p, reason)
	}
}

// answerPublish acknowledges a message of which nothing was stored.
func (c *conn) answerPublish(p *codec.Publish, reason codec.ReasonCode) {
	t := codec.TypePuback
	if p.QoS == 2 {
		t = codec.TypePubrec
	}
	c.acknowledge(t, p.PacketID, reason, link.Hold{Credit: true}, &c.pending)
}

// publishStored publishes a message that must be acknowledged or retained, and queues
// the acknowledgement behind the commit of all that it caused; or it denies it.
// [MQTT-4.3.2-4] [MQTT-4.3.3-8] [MQTT-3.3.4-1]
func (c *conn) publishStored(pub *publication) error {
	b, p := c.b, pub.p
	c.enterGate()
	if c.marked(takenOver) { // it cannot become so while the gate is held
		return errTakenOver
	}
	var sess *session.Session
	if p.QoS == 2 {
		var err error
		if sess, pub.stored, err = c.receiveQoS2(p); sess == nil {
			return err
		}
		if pub.stored {
			pub.cost = rowCost
		}
	}
	reason := codec.NotAuthorized
	if !pub.denied {
		reason = b.publish(pub, &c.route, &c.pending)
	}
	if reason != codec.Success {
		control.BeLate(control.RefusalLate)
		if p.QoS == 2 {
			c.forgetQoS2(sess, p.PacketID)
		}
		if pub.denied {
			c.denyPublish(p)
			return nil
		}
		return c.refusePublish(p, reason)
	}
	var hold link.Hold
	if pub.stored {
		c.storedSome = true
		hold.Commit, hold.Answered = b.commits.Number(), uint32(len(p.Topic)+len(p.Payload)+p.Forward.Len())
	}
	switch p.QoS {
	case 1:
		hold.Credit = true
		if r := pub.receipt; r != nil && !pub.mustCommit {
			hold.Receipt = r
		}
		c.acknowledge(codec.TypePuback, p.PacketID, codec.Success, hold, &c.pending)
		if hold.Receipt != nil && pub.receipt.Routed() {
			c.pending.Add(&c.out)
		}
	case 2:
		c.acknowledge(codec.TypePubrec, p.PacketID, codec.Success, hold, &c.pending)
	}
	return nil
}

// publish routes a message and gives each target its copy, all in the open group. It
// refuses before anything is changed, or not at all; never a message that is neither
// stored nor retained. Who calls it for any other is in the gate, with no lock held.
func (b *Broker) publish(pub *publication, s *routing, pend *pending) codec.ReasonCode {
	if pub.p.Retain {
		if !b.findAndRetain(pub, s, pend) {
			return codec.QuotaExceeded
		}
	} else {
		if !s.recalled {
			b.find(pub, s)
		}
		if pub.p.QoS > 0 && !b.admitMessage(pub, s, pend) {
			return codec.QuotaExceeded
		}
	}
	pub.routed = s.routed
	for i := range s.targets {
		if pub.deliver(&s.targets[i], pend) == passedOn {
			b.deliverToAnother(s.targets[i], pub, pend)
		}
	}
	return codec.Success
}

// find fills s with the message's targets.
func (b *Broker) find(pub *publication, s *routing) {
	func() {
		b.router.mu.RLock()
		defer b.router.mu.RUnlock()
		b.router.findLocked(s, pub.p.Topic, &pub.origin, pub.p.QoS)
	}()
	if pub.origin.kind == fromClient {
		s.remember(pub.p.Topic, s.routed)
	}
}

// findAndRetain fills s and retains the message in one step for who subscribes, so that no
// new subscriber gets both or neither: see retained. It reports false, and has changed nothing, if
// there is no room.
func (b *Broker) findAndRetain(pub *publication, s *routing, pend *pending) bool {
	m := pub.message() // copied before others have to wait
	b.router.mu.RLock()
	defer b.router.mu.RUnlock()
	b.router.findLocked(s, pub.p.Topic, &pub.origin, pub.p.QoS)
	b.retained.mu.Lock()
	defer b.retained.mu.Unlock()
	pub.matches = &s.matches
	if !b.mayRetainLocked(pub, m, pend) {
		return false
	}
	pub.cost += b.retainCostLocked(pub.p)
	pub.mustFit = pub.mustFit || b.clearsLocked(pub.p)
	if !b.admitMessage(pub, s, pend) {
		return false
	}
	b.retainLocked(m, pub.user())
	pub.stored, pub.mustCommit = true, true
	if pub.p.QoS == 0 {
		b.commits.Later()
	}
	return true
}

// admitMessage reports whether the message may be given to its targets: not if a full queue
// makes the Server refuse it, nor if the store has no room for it. It reserves that
// room: for the message, once, and for its entry in each queue.
func (b *Broker) admitMessage(pub *publication, s *routing, pend *pending) bool {
	cost := pub.cost
	if pub.p.QoS > 0 {
		refuses, entries := b.limits.Policy == session.Reject && !pub.passesFull, int64(0)
		for i := range s.targets {
			t := &s.targets[i]
			if t.client == nil || t.qos == 0 {
				continue
			}
			if by := t.client.hints.full(); refuses && by != session.NoLimit && b.awaits(pub, t) {
				b.noteShortage(t.client, by, 0, 1, pub.now, pend)
				return false
			}
			if t.client.hints.durable() {
				entries++
			}
		}
		if entries > 0 {
			cost += messageCost(pub.p) + entries*rowCost
		}
	}
	if pub.mustFit {
		b.commits.Reserve(cost)
		return true
	}
	return cost <= 0 || b.commits.Admit(cost, codec.TypePublish.String())
}

// awaits reports whether a target is to get the message at all: of one that may not, no
// publisher hears that its queue is full.
func (b *Broker) awaits(pub *publication, t *target) bool {
	perm := b.permission.Load()
	return perm == nil || t.mayReceive(perm, pub)
}

// acknowledge queues a packet that only carries a Packet Identifier and a Reason Code,
// to be written when h allows it. Only the reader of c may return a credit.
func (c *conn) acknowledge(t codec.PacketType, packetID uint16, reason codec.ReasonCode, h link.Hold, pend *pending) {
	held := c.out.QueueHeld(&pend.Pending, h, func(dst []byte) []byte {
		ack := codec.Ack{Type: t, PacketID: packetID, Reason: reason}
		control.BreakAck(&ack)
		dst, _ = codec.AppendAck(dst, &ack, c.version) // cannot fail: the fields are in range
		return dst
	})
	if h.Credit && !held {
		c.receiving--
	}
}

// digests is the key of digest.
var digests = maphash.MakeSeed()

// digest tells a message, for whose Topic Name the route was just looked up, from
// others that come with the same Packet Identifier, for a Client that can be told
// so. 0: it is not known.
func (c *conn) digest(p *codec.Publish) uint16 {
	if c.version != codec.Version5 {
		return 0
	}
	h := 3*c.route.hash + maphash.Bytes(digests, p.Payload)
	return max(1, uint16(h>>48))
}

// receiveQoS2 notes the Packet Identifier before the message is routed, so that
// a connection that takes the Session over meanwhile knows of it, and returns the
// Session. If it is in use, the message was routed already, or it is another one:
// that is answered here, and sess is nil. [MQTT-4.3.3-10]
func (c *conn) receiveQoS2(p *codec.Publish) (sess *session.Session, stored bool, err error) {
	cl, digest := c.client, c.digest(p)
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.conn != c {
		return nil, false, errTakenOver
	}
	c.pending.fx.Reset()
	switch r := cl.sess.ReceivePublish(p.PacketID, digest, p.Dup, &c.pending.fx); {
	case r == session.Accepted || control.Broken(control.QoS2Twice):
		stored = c.pending.fx.State
		if stored { // there is nothing else to do
			cl.applyLocked(c.now, &c.pending)
		}
		return cl.sess, stored, nil
	case r == session.InUse && !control.Broken(control.IdentifierInUseIgnored):
		return nil, false, c.refusePublish(p, codec.PacketIdentifierInUse)
	}
	c.receiving--
	c.acknowledge(codec.TypePubrec, p.PacketID, codec.Success, link.Hold{Commit: cl.lastGroup}, &c.pending)
	return nil, false, nil
}

// forgetQoS2 takes back receiveQoS2 for a message that is refused, whichever
// connection has the Session by now: what the Client sends again is no message
// that was routed. [MQTT-4.3.3-9]
func (c *conn) forgetQoS2(sess *session.Session, packetID uint16) {
	cl := c.client
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.sess != sess {
		return
	}
	c.pending.fx.Reset()
	cl.sess.ReceivePubrel(packetID, &c.pending.fx)
	cl.applyLocked(c.now, &c.pending)
}
