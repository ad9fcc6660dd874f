package broker_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// traffic lets the clients do so many random things, a little apart, until over.
func (w *world) traffic(actions int, over func() bool) {
	pause := []time.Duration{200 * time.Microsecond, 2 * time.Millisecond, 20 * time.Millisecond}[w.r.IntN(3)]
	for range actions {
		if over() {
			return
		}
		w.mu.Lock()
		if !w.dying {
			w.actLocked()
		}
		pause := time.Duration(w.r.Int64N(int64(pause)))
		w.mu.Unlock()
		time.Sleep(pause)
	}
}

// actLocked lets one client do one thing.
func (w *world) actLocked() {
	c := w.clients[w.r.IntN(len(w.clients))]
	switch {
	case c.link == nil:
		// Before v5 a clean session would also end with the connection.
		clean := w.r.IntN(15) == 0 && c != w.clients[0] && c.version == codec.Version5
		c.connectLocked(clean, w.willLocked(c))
		return
	case !c.online():
		return // it waits for CONNACK, or for the broker to close
	}
	switch n := w.r.IntN(100); {
	case n < 8:
		c.subscribeLocked()
	case n < 10:
		c.unsubscribeLocked()
	case n < 14:
		c.link.dropLocked()
	case n < 17:
		c.link.disconnectLocked()
	case n < 20: // takeover
		c.connectLocked(false, w.willLocked(c))
	case n < 22:
		c.link.pinged = time.Now()
		c.link.send(codec.AppendPingreq(nil), nil)
	case n < 99 || c.version == codec.Version5:
		for range 1 + w.r.IntN(4) {
			c.publishNextLocked(20)
		}
		c.forgiveLocked()
	default: // no Receive Maximum holds a 3.x client: more than a Session keeps in memory
		for range 100 + w.r.IntN(300) {
			c.publishNextLocked(600)
		}
	}
}

// simPayload is what payloads are full of.
var simPayload = []byte("xxxx")

// newMessageLocked makes a message whose payload says which it is.
func (w *world) newMessageLocked(c *simClient, topic string, qos codec.QoS) *simMessage {
	m := &simMessage{no: len(w.messages), from: c, topic: topic, qos: qos}
	size := w.r.IntN(60)
	if w.cfg.flips {
		size = w.r.IntN(3000) // something to hit
	}
	if w.r.IntN(20) == 0 {
		size = w.r.IntN(9000)
	}
	m.payload = fmt.Sprintf("m%d %s", m.no, strings.Repeat("x", size))
	m.stream = fmt.Sprintf("%s %s %d", c.id, topic, qos)
	w.messages = append(w.messages, m)
	return m
}

// willLocked gives a client a Will, sometimes; one whose Session ends with its
// connection only where that is looked at.
func (w *world) willLocked(c *simClient) *simMessage {
	if !c.durable && !w.cfg.wills || w.r.IntN(3) > 0 {
		return nil
	}
	m := w.newMessageLocked(c, "w/"+c.id, codec.QoS(1+w.r.IntN(2)))
	m.will = true
	if c.durable && c.version == codec.Version5 && w.r.IntN(3) == 0 {
		m.delay = uint32(1 + w.r.IntN(6)) // a new connection in time makes it void
	}
	return m
}

// publishNextLocked publishes a message, unless so many are not acknowledged.
func (c *simClient) publishNextLocked(inflightMax int) {
	w := c.w
	if len(c.inflight) >= inflightMax {
		return
	}
	qos := []codec.QoS{0, 1, 1, 2, 2, 2}[w.r.IntN(6)]
	var m *simMessage
	switch n := w.r.IntN(10); {
	case n < 6:
		m = w.newMessageLocked(c, fmt.Sprintf("t/%d", w.r.IntN(3)), qos)
		if w.r.IntN(10) == 0 {
			m.expiry = uint32(1 + w.r.IntN(3))
		}
	case n < 8:
		m = w.newMessageLocked(c, fmt.Sprintf("s/%d", w.r.IntN(2)), qos)
	default:
		// One QoS per topic: a QoS 1 message that is sent again after a cut may
		// rightly replace a QoS 2 message that is not processed again.
		qos = codec.QoS(1 + c.id[1]%2)
		m = w.newMessageLocked(c, "r/"+c.id, qos)
		m.retain = true
		if w.r.IntN(5) == 0 {
			m.payload = ""
		}
	}
	m.sentAt = w.eventLocked()
	if qos > 0 {
		m.id = c.freeID()
		c.inflight = append(c.inflight, m)
	}
	c.link.sendPublishLocked(m, false)
}

func (c *simClient) subscribeLocked() {
	w := c.w
	filters := []string{"t/#", "t/+", "t/0", "t/1", "r/#", "w/#"}
	filter := filters[w.r.IntN(len(filters))]
	if c.member && w.r.IntN(2) == 0 {
		filter = "$share/g/s/#"
	}
	for _, s := range c.subs {
		if s.filter == filter && s.goneAt == 0 && (s.endsAt == 0 || s.unsubID != 0) {
			return
		}
	}
	c.subscribeTo(filter)
}

func (c *simClient) subscribeTo(filter string) {
	s := &simSub{filter: filter, id: c.freeID(), sentAt: c.w.eventLocked()}
	c.subs = append(c.subs, s)
	c.link.sendSubscribe(s)
}

func (c *simClient) unsubscribeLocked() {
	w := c.w
	for _, s := range c.subs {
		if s.ackedAt == 0 || s.endsAt > 0 || strings.HasPrefix(s.filter, "$") {
			continue
		}
		s.endsAt, s.unsubID = w.eventLocked(), c.freeID()
		c.link.sendUnsubscribe(s)
		return
	}
}
