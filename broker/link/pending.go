package link

import (
	"github.com/x0a1b/promptmq/broker/lock"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/metrics"
)

// A Pending is what one goroutine has queued and not yet written: the outboxes that it
// must flush when it holds no lock, and a tally of messages. Its zero value is ready.
type Pending struct {
	outboxes []*Outbox
	ripe     bool // one has gathered OutboxConfig.WriteBuffer bytes

	// Messages since the last flush, by QoS: a plain addition for each, in place of atomic
	// ones on memory that all processors write to.
	received, sent [3]traffic
	// Packets since then: of any type from Clients, and to Clients of all but PUBLISH.
	packets, answers int
}

// Len is the number of outboxes to flush.
func (p *Pending) Len() int { return len(p.outboxes) }

// Ripe reports whether one has gathered so much that it should be flushed before
// anything else is queued.
func (p *Pending) Ripe() bool { return p.ripe }

// Add has o flushed, which writes packets whose Receipt has become complete.
func (p *Pending) Add(o *Outbox) {
	o.mu.Lock()
	o.listLocked(p)
	o.mu.Unlock()
}

// Received counts a message from a Client.
func (p *Pending) Received(m *codec.Publish) { p.received[m.QoS].add(len(m.Payload)) }

// ReceivedPacket counts a packet from a Client.
func (p *Pending) ReceivedPacket() { p.packets++ }

// Flush writes what may be written without blocking, and counts the messages in m.
// No lock may be held.
func (p *Pending) Flush(m *metrics.Broker) {
	lock.NoneHeld()
	p.count(m)
	p.flushFrom(0)
}

// flushFrom flushes the outboxes from the ith on and empties the list. If a write panics,
// the others are flushed all the same: nobody else would, since they are marked as listed.
func (p *Pending) flushFrom(i int) {
	defer func() {
		if i < len(p.outboxes) {
			p.flushFrom(i + 1)
			return
		}
		p.outboxes, p.ripe = p.outboxes[:0], false
	}()
	for ; i < len(p.outboxes); i++ {
		o := p.outboxes[i]
		p.outboxes[i] = nil
		o.flush()
	}
}

// count adds the tally to m and begins a new one.
func (p *Pending) count(m *metrics.Broker) {
	if p.packets > 0 {
		m.PacketsReceived.Add(p.packets)
		p.packets = 0
	}
	if p.answers > 0 {
		m.PacketsSent.Add(p.answers)
		p.answers = 0
	}
	for qos := range p.sent {
		if r := &p.received[qos]; r.messages > 0 {
			m.MessagesReceived[qos].Add(r.messages)
			m.MessageBytesReceived[qos].Add(r.bytes)
			*r = traffic{}
		}
		if s := &p.sent[qos]; s.messages > 0 {
			s.countSent(m, codec.QoS(qos))
			*s = traffic{}
		}
	}
}

// traffic counts messages and the bytes of their payloads.
type traffic struct{ messages, bytes int }

func (t *traffic) add(bytes int) { t.messages, t.bytes = t.messages+1, t.bytes+bytes }

func (t *traffic) countSent(m *metrics.Broker, qos codec.QoS) {
	m.MessagesSent[qos].Add(t.messages)
	m.MessageBytesSent[qos].Add(t.bytes)
	m.PacketsSent.Add(t.messages)
}
