package conformance

import (
	"bytes"
	"slices"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// This file has what a peer does when it behaves: publish, subscribe, receive.

// publish sends an Application Message and completes the exchange that its QoS
// asks for; the broker must not refuse it.
func (p *peer) publish(topic, payload string, qos codec.QoS, changes ...func(*codec.Publish)) {
	p.t.Helper()
	id := p.publishOnly(topic, payload, qos, changes...)
	switch qos {
	case 1:
		p.acked(codec.TypePuback, id)
	case 2:
		p.acked(codec.TypePubrec, id)
		p.sendAck(codec.TypePubrel, id)
		p.acked(codec.TypePubcomp, id)
	}
}

// publishOnly sends PUBLISH with the next Packet Identifier, which it returns.
func (p *peer) publishOnly(topic, payload string, qos codec.QoS, changes ...func(*codec.Publish)) uint16 {
	p.t.Helper()
	pub := codec.Publish{Topic: codec.View(topic), Payload: codec.View(payload), QoS: qos}
	if qos > 0 {
		pub.PacketID = p.nextID()
	}
	for _, change := range changes {
		change(&pub)
	}
	p.append(codec.AppendPublish(nil, &pub, p.version))
	return pub.PacketID
}

// nextID returns the next Packet Identifier of this peer.
func (p *peer) nextID() uint16 {
	if p.lastID++; p.lastID == 0 {
		p.lastID = 1
	}
	return p.lastID
}

// retain sets the RETAIN flag.
func retain(p *codec.Publish) { p.Retain = true }

// retained publishes a retained message and sees to it that it is gone after
// the test.
func (p *peer) retained(topic, payload string, qos codec.QoS, changes ...func(*codec.Publish)) {
	p.t.Helper()
	t := p.t
	t.Cleanup(func() { t.unretain(topic) })
	p.publish(topic, payload, qos, append(changes, retain)...)
	if qos == 0 {
		p.isOpen() // the broker has processed it
	}
}

// unretain removes a retained message, as far as the broker still takes
// connections.
func (t *T) unretain(topic string) {
	nc, err := open(t.target.url)
	if err != nil {
		return
	}
	defer nc.Close()
	c := t.newConnect()
	b, err := codec.AppendConnect(nil, &c, t.version)
	if err == nil {
		b, err = codec.AppendPublish(b, &codec.Publish{Topic: codec.View(topic), Retain: true}, t.version)
	}
	if err != nil {
		return
	}
	b = codec.AppendPingreq(b)
	_ = nc.SetDeadline(time.Now().Add(cleanupSeconds * time.Second))
	_, _ = nc.Write(b)
	for buf := make([]byte, 256); ; { // until PINGRESP, or the end
		n, err := nc.Read(buf)
		if err != nil || bytes.HasSuffix(buf[:n], []byte{0xD0, 0}) {
			return
		}
	}
}

// acked awaits an acknowledgement of that type for that Packet Identifier that
// is no refusal.
func (p *peer) acked(typ codec.PacketType, id uint16) codec.Ack {
	p.t.Helper()
	a := p.await(typ).ack
	if a.PacketID != id {
		p.t.Fatalf("%v for Packet Identifier %d, expected %d", typ, a.PacketID, id)
	}
	if a.Reason >= 0x80 {
		p.t.Fatalf("%v with %v", typ, a.Reason)
	}
	return a
}

// sendAck sends PUBACK, PUBREC, PUBREL or PUBCOMP.
func (p *peer) sendAck(typ codec.PacketType, id uint16, reason ...codec.ReasonCode) {
	p.t.Helper()
	a := codec.Ack{Type: typ, PacketID: id}
	if len(reason) > 0 {
		a.Reason = reason[0]
	}
	if typ == codec.TypePuback || typ == codec.TypePubcomp || a.Reason >= 0x80 {
		delete(p.inflight, id)
	}
	p.append(codec.AppendAck(nil, &a, p.version))
}

// A sub is a Topic Filter with Subscription Options.
func sub(filter string, qos codec.QoS, changes ...func(*codec.Subscription)) codec.Subscription {
	s := codec.Subscription{Filter: codec.View(filter), QoS: qos}
	for _, change := range changes {
		change(&s)
	}
	return s
}

func noLocal(s *codec.Subscription)           { s.NoLocal = true }
func retainAsPublished(s *codec.Subscription) { s.RetainAsPublished = true }
func retainHandling(n byte) func(*codec.Subscription) {
	return func(s *codec.Subscription) { s.RetainHandling = n }
}

// subscribe subscribes; the broker must grant each QoS as asked, as far as it
// offers that.
func (p *peer) subscribe(subs ...codec.Subscription) {
	p.t.Helper()
	p.subscribeID(0, subs...)
}

// subscribeID is subscribe with a Subscription Identifier.
func (p *peer) subscribeID(id uint32, subs ...codec.Subscription) {
	p.t.Helper()
	for i, reason := range p.trySubscribe(id, subs...) {
		if reason != byte(min(subs[i].QoS, offered.qos)) && reason != byte(subs[i].QoS) {
			p.t.Fatalf("SUBACK for %q with QoS %d has %v", subs[i].Filter, subs[i].QoS, codec.ReasonCode(reason))
		}
	}
}

// trySubscribe returns the Reason Codes of SUBACK, of which there must be one
// for each filter.
func (p *peer) trySubscribe(id uint32, subs ...codec.Subscription) []byte {
	p.t.Helper()
	p.nextID()
	p.append(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: p.lastID, SubscriptionID: id}, subs, p.version))
	for _, s := range subs {
		p.filters[string(s.Filter)] = true
	}
	ack := p.await(codec.TypeSuback)
	if ack.subackID != p.lastID || len(ack.reasons) != len(subs) {
		p.t.Fatalf("SUBACK %d with %d Reason Codes, expected %d with %d", ack.subackID, len(ack.reasons), p.lastID, len(subs))
	}
	return ack.reasons
}

// unsubscribe returns the Reason Codes of UNSUBACK; 3.x has none.
func (p *peer) unsubscribe(filters ...string) []byte {
	p.t.Helper()
	var views []codec.View
	for _, f := range filters {
		views = append(views, codec.View(f))
	}
	p.nextID()
	p.append(codec.AppendUnsubscribe(nil, &codec.Unsubscribe{PacketID: p.lastID}, views, p.version))
	ack := p.await(codec.TypeUnsuback)
	if ack.subackID != p.lastID {
		p.t.Fatalf("UNSUBACK %d, expected %d", ack.subackID, p.lastID)
	}
	if p.version == codec.Version5 && len(ack.reasons) != len(filters) {
		p.t.Fatalf("UNSUBACK with %d Reason Codes for %d filters", len(ack.reasons), len(filters))
	}
	return ack.reasons
}

// receive returns the next PUBLISH and acknowledges nothing.
func (p *peer) receive() *message {
	p.t.Helper()
	return p.await(codec.TypePublish).message
}

// take returns the next PUBLISH and completes the exchange that its QoS asks
// for.
func (p *peer) take() *message {
	p.t.Helper()
	m := p.receive()
	switch m.qos {
	case 1:
		p.sendAck(codec.TypePuback, m.id)
	case 2:
		p.sendAck(codec.TypePubrec, m.id)
		p.acked(codec.TypePubrel, m.id)
		p.sendAck(codec.TypePubcomp, m.id)
	}
	return m
}

// expect takes the next PUBLISH, which must have this Payload.
func (p *peer) expect(payload string) *message {
	p.t.Helper()
	m := p.take()
	if m.payload != payload {
		p.t.Fatalf("got %v, expected %q", m, clip(payload))
	}
	return m
}

// expectAll takes as many messages as there are payloads, in any order: order
// is promised within one Topic Name and QoS only.
func (p *peer) expectAll(payloads ...string) []*message {
	p.t.Helper()
	var all []*message
	rest := slices.Clone(payloads)
	for range payloads {
		m := p.take()
		i := slices.Index(rest, m.payload)
		if i < 0 {
			p.t.Fatalf("got %v, expected one of %q", m, rest)
		}
		rest = slices.Delete(rest, i, i+1)
		all = append(all, m)
	}
	return all
}

// quiet checks that the broker has nothing to send to this session: of a
// message that the peer sends to itself, that comes first.
func (p *peer) quiet() {
	p.t.Helper()
	if p.calm == "" {
		p.calm = unique("conformance/")
		p.subscribe(sub(p.calm, 0))
	}
	mark := unique("")
	p.publish(p.calm, mark, 0)
	for {
		switch got := p.next(); {
		case got.typ == codec.TypePublish && got.message.payload == mark:
			return
		default:
			p.t.Fatalf("%v came, which should not", got)
		}
	}
}

// settle waits until the broker has processed all that the peer has sent.
func (p *peer) settle() {
	p.t.Helper()
	p.isOpen()
}
