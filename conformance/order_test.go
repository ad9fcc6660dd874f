package conformance

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/x0a1b/promptmq/codec"
)

// takeN takes n messages.
func (p *peer) takeN(n int) (all []*message) {
	p.t.Helper()
	for range n {
		all = append(all, p.take())
	}
	return all
}

// number is a Payload as a number.
func (t *T) number(m *message) int {
	t.Helper()
	n, err := strconv.Atoi(m.payload)
	if err != nil {
		t.Fatalf("%v came, which should not", m)
	}
	return n
}

// inOrderByQoS checks that the Payloads, which are numbers, go up within each
// topic and QoS; between them section 4.6 asks for no order.
func (t *T) inOrderByQoS(all []*message) {
	t.Helper()
	last := map[string]*message{}
	for _, m := range all {
		key := fmt.Sprintf("%s %d", m.topic, m.qos)
		if before := last[key]; before != nil && t.number(before) >= t.number(m) {
			t.Errorf("%v comes after %v", m, before)
		}
		last[key] = m
	}
}

// A feed publishes the numbers from 0 on, on a connection of its own, while the
// test goes on.
type feed struct {
	n      int // numbers in all
	qos    func(i int) codec.QoS
	topics []string // used in turn
	retain bool
	// credits, if not nil, holds the publisher back: a number costs one.
	credits chan struct{}

	done chan struct{}
}

// feed starts a feed. It keeps up to 10 messages unacknowledged.
func (t *T) feed(f feed) *feed {
	t.Helper()
	p := t.connect()
	f.done = make(chan struct{})
	t.Cleanup(func() {
		p.drop()
		if f.credits != nil {
			close(f.credits)
		}
		f.wait()
	})
	go func() {
		defer close(f.done) // also if a Fatalf ends this goroutine
		window := p.window()
		var pending []codec.Publish
		for i := range f.n {
			if f.credits != nil {
				select {
				case <-f.credits:
				default:
					p.complete(pending)
					pending = nil
					if _, ok := <-f.credits; !ok {
						return
					}
				}
			}
			q := f.qos(i)
			id := p.publishOnly(f.topics[i%len(f.topics)], fmt.Sprint(i), q, func(m *codec.Publish) { m.Retain = f.retain })
			if pending = append(pending, codec.Publish{QoS: q, PacketID: id}); len(pending) == window {
				p.complete(pending)
				pending = nil
			}
		}
		p.complete(pending)
		p.settle()
	}()
	return &f
}

func (f *feed) wait() { <-f.done }

// give lets a feed go on by n numbers.
func (f *feed) give(n int) {
	for range n {
		f.credits <- struct{}{}
	}
}

// window is how many messages the peer may leave unacknowledged, 10 at most.
func (p *peer) window() int {
	if limit := int(p.connack.ReceiveMaximum); limit > 0 { // else 65,535
		return min(10, limit)
	}
	return 10
}

// complete completes the exchanges that these messages have begun.
func (p *peer) complete(sent []codec.Publish) {
	p.t.Helper()
	for _, m := range sent {
		switch m.QoS {
		case 1:
			p.acked(codec.TypePuback, m.PacketID)
		case 2:
			p.acked(codec.TypePubrec, m.PacketID)
			p.sendAck(codec.TypePubrel, m.PacketID)
		}
	}
	for _, m := range sent {
		if m.QoS == 2 {
			p.acked(codec.TypePubcomp, m.PacketID)
		}
	}
}

func always(qos codec.QoS) func(int) codec.QoS { return func(int) codec.QoS { return qos } }

var orderTests = []test{
	{"tool/order-live", "4.6.0-5 4.6.0-6", "4.6.0-5 4.6.0-6", func(t *T) {
		// Three publishers, each with all QoS, on two topics, to two subscribers.
		const n = 120
		base := t.topic()
		var subscribers []*peer
		for range 2 {
			p := t.connect()
			for i := range 3 {
				p.subscribe(sub(fmt.Sprintf("%s/%d/a", base, i), offered.qos), sub(fmt.Sprintf("%s/%d/b", base, i), offered.qos))
			}
			subscribers = append(subscribers, p)
		}
		for i := range 3 {
			t.feed(feed{n: n, qos: func(i int) codec.QoS { return codec.QoS(i/2) % (offered.qos + 1) },
				topics: []string{fmt.Sprintf("%s/%d/a", base, i), fmt.Sprintf("%s/%d/b", base, i)}})
		}
		for _, p := range subscribers {
			t.inOrderByQoS(p.takeN(3 * n))
			p.quiet()
		}
	}},
	{"tool/order-over-reconnects", "4.6.0-5 4.6.0-6 4.4.0-1 3.3.1-1", "4.6.0-5 4.6.0-6 4.4.0-1 3.3.1.-1", func(t *T) {
		// While a publisher goes on, the subscriber comes and goes: each connection
		// begins with what the last one left unacknowledged, then comes the
		// backlog, then what is live, without a gap or a step back.
		t.needQoS(1)
		const n = 200
		for qos := codec.QoS(1); qos <= offered.qos; qos++ {
			id, topic := t.clientID(), t.topic()
			p := t.connect(t.durable(id))
			p.subscribe(sub(topic, qos))
			f := t.feed(feed{n: n, qos: always(qos), topics: []string{topic}, credits: make(chan struct{}, 2*n)})
			f.give(60)                 // it stays so far ahead
			left := map[int]*message{} // received on an earlier connection and not acknowledged
			next := 0                  // the first that is not acknowledged
			for round := 1; next < n; round++ {
				for range min(10*round, n-next) { // takes and acknowledges
					m := p.take()
					p.isNext(m, next, left[next])
					delete(left, next)
					next++
					f.give(1)
				}
				held := next
				hold := func(m *message) {
					p.isNext(m, held, left[held])
					left[held] = m
					held++
				}
				for range min(5, n-next) { // takes only
					hold(p.receive())
				}
				p.settle() // the acknowledgements are processed
				for _, early := range p.inbox {
					if early.typ == codec.TypePublish {
						hold(early.message)
					}
				}
				p.drop()
				p = t.connect(t.durable(id))
			}
			f.wait()
			p.quiet()
		}
	}},
	{"tool/order-of-resending", "4.4.0-1 3.3.1-1 4.6.0-5 4.6.0-6", "4.4.0-1 3.3.1.-1 4.6.0-1 4.6.0-6", func(t *T) {
		t.needQoS(2)
		id, topic := t.clientID(), t.topic()
		p, sender := t.connect(t.durable(id)), t.connect()
		p.subscribe(sub(topic, 2))
		for i := range 12 {
			sender.publish(topic, fmt.Sprint(i), codec.QoS(1+i/2%2))
		}
		var held []*message
		for range 12 {
			held = append(held, p.receive())
		}
		var released []uint16
		for _, m := range held {
			if m.qos == 2 && len(released) < 2 {
				p.sendAck(codec.TypePubrec, m.id)
				p.acked(codec.TypePubrel, m.id)
				released = append(released, m.id)
			}
		}
		held = slices.DeleteFunc(held, func(m *message) bool { return slices.Contains(released, m.id) })
		p.drop()
		for i := range 6 {
			sender.publish(topic, fmt.Sprint(12+i), codec.QoS(1+i%2))
		}
		for range 2 { // nothing is acknowledged the first time: again in the same order
			p = t.connect(t.durable(id))
			var again []*message
			for range held {
				again = append(again, p.receive())
			}
			for _, id := range released {
				p.acked(codec.TypePubrel, id)
			}
			sent := map[uint16]*message{}
			for _, m := range held {
				sent[m.id] = m
			}
			for _, m := range again {
				if was := sent[m.id]; was == nil || m.payload != was.payload || m.qos != was.qos || !m.dup {
					t.Errorf("%v, was sent as %v", m, was)
				}
			}
			t.inOrderByQoS(again)
			if !t.v5() { // before MQTT 5 across QoS too [MQTT-4.6.0-1]
				for i, m := range again {
					if m.id != held[i].id {
						t.Errorf("%v is number %d, %v was", m, i, held[i])
					}
				}
			}
			p.drop()
		}
		p = t.connect(t.durable(id))
		for _, id := range released {
			p.acked(codec.TypePubrel, id)
			p.sendAck(codec.TypePubcomp, id)
		}
		all := p.takeN(len(held) + 6)
		t.inOrderByQoS(all)
		for _, m := range all {
			if was := slices.ContainsFunc(held, func(h *message) bool { return h.payload == m.payload }); was && !m.dup {
				t.Errorf("%v, was sent before", m)
			}
		}
		p.quiet()
	}},
	{"tool/order-of-pubrel", "beyond", "4.6.0-4 4.6.0-6", func(t *T) {
		t.needQoS(2)
		p, sender, topic := t.connect(), t.connect(), t.topic()
		p.subscribe(sub(topic, 2))
		for i := range 10 {
			sender.publish(topic, fmt.Sprint(i), 2)
		}
		var ids []uint16
		for range 10 {
			ids = append(ids, p.receive().id)
		}
		slices.Reverse(ids)
		ids[3], ids[7] = ids[7], ids[3]
		for _, id := range ids {
			p.sendAck(codec.TypePubrec, id)
		}
		for _, id := range ids {
			p.acked(codec.TypePubrel, id)
		}
		for _, id := range ids {
			p.sendAck(codec.TypePubcomp, id)
		}
		p.quiet()
	}},
	{"tool/order-of-acknowledgements", "beyond", "4.6.0-2 4.6.0-3 4.6.0-4", func(t *T) {
		t.needQoS(2)
		p, topic := t.connect(), t.topic()
		for range 5 {
			var ids [3][]uint16 // by QoS
			for i := range p.window() {
				qos := codec.QoS(1 + i%3%2) // 1, 2, 1, 1, 2, 1
				ids[qos] = append(ids[qos], p.publishOnly(topic, "x", qos))
			}
			for _, id := range ids[1] {
				p.acked(codec.TypePuback, id)
			}
			for _, id := range ids[2] {
				p.acked(codec.TypePubrec, id)
			}
			for _, id := range ids[2] {
				p.sendAck(codec.TypePubrel, id)
			}
			for _, id := range ids[2] {
				p.acked(codec.TypePubcomp, id)
			}
		}
	}},
	{"tool/order-with-a-refusal", "beyond", "", func(t *T) {
		// One that is refused among them does not overtake the others.
		t.needQoS(2)
		t.own("mqtt: {queue-policy: reject, max-queued-messages: 1}")
		full, free, id := t.topic(), t.topic(), t.clientID()
		away := t.connect(t.durable(id))
		away.subscribe(sub(full, 2))
		away.disconnect() // and not drop: the queue counts once the connection has ended
		p := t.connect()
		p.publish(full, "fills the queue", 1)
		for range 5 {
			type sent struct {
				id      uint16
				refused bool
			}
			var acks [3][]sent // by QoS
			for i := range 12 {
				topic, qos := free, codec.QoS(1+i%2)
				if i/2 == 3 {
					topic = full
				}
				acks[qos] = append(acks[qos], sent{p.publishOnly(topic, "x", qos), topic == full})
			}
			for qos, typ := range map[int]codec.PacketType{1: codec.TypePuback, 2: codec.TypePubrec} {
				for _, s := range acks[qos] {
					a := p.await(typ).ack
					if a.PacketID != s.id || (a.Reason >= 0x80) != s.refused {
						t.Errorf("%v %d (%v), expected %d, refused: %v", typ, a.PacketID, a.Reason, s.id, s.refused)
					}
					if qos == 2 && !s.refused {
						p.sendAck(codec.TypePubrel, s.id)
						p.acked(codec.TypePubcomp, s.id)
					}
				}
			}
		}
	}},
	{"tool/order-of-retained-and-live", "4.6.0-5 4.6.0-6", "4.6.0-5 4.6.0-6", func(t *T) {
		// A publisher counts in a retained message; whoever joins sees a number
		// and then higher ones.
		t.needRetain()
		const joins, step = 25, 5
		for qos := range offered.qos + 1 {
			topic := t.topic()
			t.Cleanup(func() { t.unretain(topic) })
			t.connect().retained(topic, "-1", qos)
			const n = joins * 2 * step
			f := t.feed(feed{n: n, qos: always(qos), topics: []string{topic}, retain: true, credits: make(chan struct{}, n)})
			for join := range joins {
				f.give(step) // around the SUBSCRIBE
				p := t.connect()
				p.subscribe(sub(topic, qos))
				m := p.take()
				last := t.number(m)
				f.give(step) // after it
				for last < (join+1)*2*step-1 {
					if m = p.take(); t.number(m) < last {
						t.Fatalf("%v comes after %d", m, last)
					}
					last = t.number(m)
				}
				p.drop()
			}
			f.wait()
		}
	}},
	{"tool/order-of-backlog", "4.6.0-5 4.6.0-6", "4.6.0-5 4.6.0-6", func(t *T) { t.backlog() }},
	{"tool/order-of-backlog-through-a-small-window", "4.6.0-5 4.6.0-6 3.3.4-9 4.9.0-2", "", func(t *T) {
		t.backlog(func(c *codec.Connect) { c.ReceiveMaximum = 7 }) // inspect fails if it is exceeded
	}},
}

// isNext checks that a message has this number, and if it came before, that it
// is the same one again.
func (p *peer) isNext(m *message, want int, before *message) {
	p.t.Helper()
	if got := p.t.number(m); got != want {
		p.t.Fatalf("%v, expected %d next", m, want)
	}
	if before != nil && (m.id != before.id || !m.dup) {
		p.t.Errorf("%v, was sent as %v", m, before)
	}
}

// backlog takes a queue with all that could sort it otherwise, QoS and topics,
// while it goes on growing.
func (t *T) backlog(changes ...func(*codec.Connect)) {
	t.Helper()
	t.needQoS(2)
	t.needWildcard()
	const n = 200
	id, base := t.clientID(), t.topic()
	p := t.connect(t.durable(id))
	p.subscribe(sub(base+"/#", 2))
	p.disconnect()
	qos := func(i int) codec.QoS { return codec.QoS(1 + i/3%2) }
	t.feed(feed{n: n, qos: qos, topics: []string{base + "/old/a", base + "/old/b/c", base + "/old"}}).wait()
	f := t.feed(feed{n: n, qos: qos, topics: []string{base + "/live", base + "/live/a"}})
	again := t.connect(append(changes, t.durable(id))...)
	all := again.takeN(2 * n)
	t.inOrderByQoS(all)
	seen := map[string]map[string]bool{"old": {}, "live": {}}
	for _, m := range all {
		part, _, _ := strings.Cut(strings.TrimPrefix(m.topic, base+"/"), "/")
		if seen[part][m.payload] || m.dup {
			t.Errorf("%v, a second time or flagged so", m)
		}
		seen[part][m.payload] = true
	}
	f.wait()
	again.quiet()
}
