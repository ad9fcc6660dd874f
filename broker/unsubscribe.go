package broker

import (
	"sync"
	"time"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// handleUnsubscribe removes subscriptions, a few at a time. UNSUBACK goes out when all
// are gone from disk. Deliveries that have started go on. Section 3.10. [MQTT-3.10.4-3]
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
	if err == nil && c.b.traces.running() {
		c.traceUnsubscribed(p)
	}
	return err
}

// unsubscribeStep removes some of the subscriptions of a packet, appends their Reason
// Codes to codes, and hands over what other members of Shared Subscriptions may get.
// packetID is 0 until the last step, which queues UNSUBACK.
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
// messages to hand over, and the commit group of the removal; 0: nothing is stored. The
// caller holds the gate.
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
	codes, shares := cl.unsubscribeStepLocked(step, codes, c.now, &c.pending)
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

// unsubscribeStepLocked removes subscriptions and appends their Reason Codes to codes.
// shares are the Shared Subscriptions among them that have other members. The caller
// holds router.mu for writing, client.mu and the gate.
func (cl *Client) unsubscribeStepLocked(step []codec.View, codes []byte, now time.Time, pend *pending) (_ []byte, shares map[string]bool) {
	for _, filter := range step {
		code := codec.NoSubscriptionExisted
		if control.Broken(control.UnsubackAlwaysSuccess) {
			code = codec.Success
		}
		if cl.sess.Subscription(string(filter)) != nil && !control.Broken(control.UnsubscribeIgnored) { // compared byte by byte [MQTT-3.10.4-1]
			code = codec.Success
			cl.unsubscribeLocked(string(filter), now, pend)
			if cl.b.router.shares[string(filter)] != nil {
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

// queueUnsuback queues the UNSUBACK, to be sent when group is on disk; 0: at once.
func (c *conn) queueUnsuback(group uint64, packetID uint16, codes []byte) {
	ack := codec.Unsuback{PacketID: packetID, Reasons: codes}
	c.out.QueueHeld(&c.pending.Pending, link.Hold{Commit: group}, func(dst []byte) []byte {
		dst, _ = codec.AppendUnsuback(dst, &ack, c.version) // cannot fail: the fields are in range
		return dst
	})
}

// unsubscribeLocked removes one subscription. The caller holds router.mu for
// writing, client.mu and the gate.
func (cl *Client) unsubscribeLocked(filter string, now time.Time, pend *pending) {
	control.Panic(control.PanicInUnsubscribe)
	b := cl.b
	pend.fx.Reset()
	cl.sess.Unsubscribe(filter, &pend.fx)
	cl.applyLocked(now, pend)
	b.router.unsubscribeLocked(cl, cl.sess.ID, filter)
	cl.unsubscribedAt = b.router.changes.Load()
	cl.disownLocked(cl.debtLocked(filter), now, pend) // [MQTT-3.10.4-2]
}

// unsubscribeAll takes the subscriptions of a Session that has ended out of the router.
// Many are left to a goroutine, so that the gate, which the caller holds, is not held
// so long: nothing is delivered by them any more, and those of a newer Session stay.
func (b *Broker) unsubscribeAll(cl *Client, s *session.Session) {
	if s.SubscriptionCount() <= filtersAtOnce {
		b.unsubscribeEach(cl, s)
		return
	}
	b.background.Add(1)
	go func() {
		defer b.background.Done()
		defer b.recoverPanic("removing the subscriptions of a session")
		b.unsubscribeEach(cl, s)
	}()
}

// unsubscribeEach does it, letting others route after every few.
func (b *Broker) unsubscribeEach(cl *Client, s *session.Session) {
	b.router.mu.Lock()
	defer b.router.mu.Unlock()
	n := 0
	for sub := range s.Subscriptions() {
		b.router.unsubscribeLocked(cl, s.ID, sub.Filter)
		if n++; n%filtersAtOnce == 0 {
			b.router.mu.Unlock()
			b.router.mu.Lock()
		}
	}
}
