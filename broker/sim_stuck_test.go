package broker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// TestSimStuck: there are few Packet Identifiers, and some clients do not acknowledge
// some messages for long, or ever, while others flow. Then the power goes. What comes
// again has the identifier that it had, no two messages have the same, and nothing is
// lost behind what is stuck.
func TestSimStuck(t *testing.T) {
	root := simRoot(t)
	cuts, acked, ignored, resent := 0, 0, 0, 0
	seeds(t, 40, func(seed uint64) error {
		w, err := simulate(t, root, seed, simConfig{stuck: true, kills: seed%2 == 0})
		if w != nil {
			cuts, acked, ignored, resent = cuts+w.cuts, acked+w.acked, ignored+w.ignored, resent+w.resent
		}
		return err
	})
	t.Logf("%d cuts, %d messages acknowledged; clients did not acknowledge %d, which came again %d times", cuts, acked, ignored, resent)
}

// makeStuck gives the clients few Packet Identifiers, and half of them messages that
// they do not acknowledge.
func (w *world) makeStuck() {
	most := 0
	for _, c := range w.clients {
		if c.durable && w.r.IntN(2) == 0 {
			c.ignoredMax = 1 + w.r.IntN(3)
			most = max(most, c.ignoredMax)
		}
	}
	w.packetIDs = most + 1 + w.r.IntN(5)
}

// ignoresLocked reports whether c does not acknowledge m, as it also did not before.
func (c *simClient) ignoresLocked(p *codec.Publish, m *simMessage) bool {
	switch {
	case c.ignoredMax == 0 || m == nil || p.QoS == 0:
		return false
	case c.ignored[m] == p.PacketID: // else another copy
		c.w.resent++
		return true
	case c.ignored[m] > 0:
		return false
	case len(c.ignored) == c.ignoredMax || c.w.r.IntN(8) > 0:
		return false
	}
	c.ignored[m] = p.PacketID
	c.w.ignored++
	c.w.trace("%s does not acknowledge message %d", c.id, m.no)
	return true
}

// forgiveLocked lets c acknowledge everything, once in a while, when it comes again.
func (c *simClient) forgiveLocked() {
	if c.ignoredMax > 0 && c.w.r.IntN(40) == 0 {
		clear(c.ignored)
		c.link.dropLocked()
	}
}

// settleStuck lets everything flow behind what is stuck, and then frees that.
func (w *world) settleStuck() {
	w.settleClients()
	w.checkDelivered()
	w.locked(func() {
		for _, c := range w.clients {
			c.ignoredMax = 0
			clear(c.ignored)
			if c.online() {
				c.link.dropLocked()
			}
		}
	})
}

// identifiedLocked checks the Packet Identifier of a message with QoS 1 or 2.
func (l *simLink) identifiedLocked(p *codec.Publish, m *simMessage) error {
	c, id := l.c, p.PacketID
	if l.came[id] { // [MQTT-4.4.0-1] [MQTT-2.2.1-4]
		return fmt.Errorf("PUBLISH %d came twice on one connection", id)
	}
	l.came[id] = true
	if other, ok := c.received[id]; ok && (other != m || p.QoS != 2) {
		return fmt.Errorf("PUBLISH %d is not the message that was received with this Packet Identifier and not released", id)
	}
	if c.w.packetIDs > 0 && int(id) > c.w.packetIDs {
		return fmt.Errorf("PUBLISH %d; there are %d Packet Identifiers", id, c.w.packetIDs)
	}
	// Of a message that its publisher sends again, and of a retained one, there may be
	// several copies; that of a Shared Subscription may come by another Session.
	if m == nil || m.sends > 1 || m.will || p.Retain || isShared(m.topic) || !c.durable {
		return nil
	}
	if was, again := c.idOf[m]; again && was != id {
		return fmt.Errorf("message %d comes with Packet Identifier %d and came with %d", m.no, id, was)
	}
	c.idOf[m] = id
	return nil
}

// doneLocked notes that the client acknowledges a delivery. Where there are all Packet
// Identifiers no run is long enough to need one again.
func (l *simLink) doneLocked(id uint16) {
	if l.c.w.packetIDs > 0 {
		delete(l.came, id)
	}
}

// settleClients brings every client back and waits until nothing moves.
func (w *world) settleClients() {
	for range 20 {
		w.locked(func() {
			for _, c := range w.clients {
				if c.link == nil {
					c.connectLocked(false, nil)
				}
			}
		})
		time.Sleep(time.Second)
	}
}
