package session_test

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

func (w *world) stepDeliver(a *args) error {
	c := w.client
	name, times, numbered := a.word("a message"), a.number("times", 0), true
	if times == 0 {
		times, numbered = 1, false
	}
	e, kept, err := w.entry(a)
	if err != nil {
		return err
	}
	bytes := a.number("bytes", 0)
	for i := range times {
		m := *e.Message
		mine := name
		if numbered {
			mine = name + strconv.Itoa(i+1)
		}
		if m.Payload, err = ofBytes(mine, bytes); err != nil {
			return err
		}
		one := e
		one.Message = &m
		if err := w.deliver(c, one, kept); err != nil {
			return err
		}
	}
	return nil
}

// entry is what the arguments of deliver tell of all its messages.
func (w *world) entry(a *args) (e session.Entry, kept bool, err error) {
	qos := a.number("qos", 0)
	if qos != 1 && qos != 2 {
		return e, false, errors.New("qos=1 or qos=2")
	}
	m := &session.Message{Topic: "t", QoS: codec.QoS(qos)}
	if d, ok := a.duration("expiry"); ok {
		m.ExpiresAt = w.now.Add(d)
	}
	e = session.Entry{Message: m, QoS: m.QoS, Retain: a.flag("retain"), Share: shareOf(a.text("share", ""))}
	if id := a.number("subscription-id", 0); id > 0 {
		e.SubscriptionIDs = []uint32{uint32(id)}
	}
	return e, a.flag("kept"), nil
}

// shareOf is the filter of a Shared Subscription, written as name/filter.
func shareOf(share string) string {
	if share == "" {
		return ""
	}
	return "$share/" + share
}

// deliver gives a copy to the Session: as one that need not be kept, if that can be.
func (w *world) deliver(c *client, e session.Entry, kept bool) error {
	if m := e.Message; !kept && e.Share == "" && m.ExpiresAt.IsZero() {
		p := codec.Publish{
			QoS: e.QoS, Topic: codec.View(m.Topic), Payload: m.Payload, Retain: e.Retain, SubscriptionIDs: e.SubscriptionIDs,
		}
		if c.s.SendNow(&p) {
			s := session.Send{Message: m, PacketID: p.PacketID, QoS: e.QoS, Retain: e.Retain, SubscriptionIDs: e.SubscriptionIDs}
			w.say("send %s, not kept", w.packet(&s))
			w.tellQueue(c)
			return c.send(s)
		}
	}
	w.fx.Reset()
	c.s.Deliver(e, w.now, &w.fx)
	return w.apply(c, c.s)
}

func (w *world) stepRefuse(*args) error {
	w.client.s.Refuse(&w.fx)
	return w.apply(w.client, w.client.s)
}

func (w *world) stepRound(a *args) error {
	c, name, times := w.client, a.word("a message"), a.number("times", 1)
	e, kept, err := w.entry(a)
	if err != nil {
		return err
	}
	e.Message.Payload = []byte(name)
	first := uint16(0)
	for i := range times {
		delete(c.ids, name)
		w.text = nil
		if err := w.deliver(c, e, kept); err != nil {
			return err
		}
		if c.ids[name] == 0 { // nor is it in memory, perhaps
			if err := cmp.Or(w.commit(), w.stepPage(&args{})); err != nil {
				return err
			}
		}
		id := c.ids[name]
		if id == 0 {
			w.text = []string{fmt.Sprintf("%d rounds, then not sent", i)}
			w.tellQueue(c)
			return nil
		}
		if i == 0 {
			first = id
		}
		if err := w.acknowledge(c, name, e.QoS); err != nil {
			return err
		}
	}
	w.text = []string{fmt.Sprintf("%d rounds, Packet Identifiers from %d to %d", times, first, c.ids[name])}
	return nil
}

// acknowledge completes a delivery.
func (w *world) acknowledge(c *client, name string, qos codec.QoS) error {
	if qos == 1 {
		return w.stepPuback(&args{words: []string{name}})
	}
	if err := w.stepPubrec(&args{words: []string{name}}); err != nil {
		return err
	}
	if err := w.commit(); err != nil {
		return err
	}
	return w.stepPubcomp(&args{words: []string{name}})
}

// packetID is that of a message that was sent, or the one that is given.
func (w *world) packetID(a *args) (uint16, error) {
	word := a.word("a message or a Packet Identifier")
	if id, ok := w.client.ids[word]; ok {
		return id, nil
	}
	id, err := strconv.ParseUint(word, 10, 16)
	if err != nil || id == 0 {
		return 0, fmt.Errorf("%s was not sent", word)
	}
	return uint16(id), nil
}

// answered applies what an acknowledgement did. done says that it ends the delivery.
func (w *world) answered(id uint16, found, done bool) error {
	c := w.client
	if !found {
		if awaited := c.s.Awaits(id); awaited != 0 {
			w.say("refused: %v is awaited", awaited)
		} else {
			w.say("unknown")
		}
	} else if done {
		delete(c.wire, id)
	}
	return w.apply(c, c.s)
}

func (w *world) stepPuback(a *args) error {
	id, err := w.packetID(a)
	if err != nil {
		return err
	}
	return w.answered(id, w.client.s.ReceivePuback(id, w.now, &w.fx), true)
}

func (w *world) stepPubrec(a *args) error {
	id, err := w.packetID(a)
	if err != nil {
		return err
	}
	reason := codec.ReasonCode(a.number("reason", 0))
	return w.answered(id, w.client.s.ReceivePubrec(id, reason, w.now, &w.fx), reason >= 0x80)
}

func (w *world) stepPubcomp(a *args) error {
	id, err := w.packetID(a)
	if err != nil {
		return err
	}
	return w.answered(id, w.client.s.ReceivePubcomp(id, w.now, &w.fx), true)
}

func (w *world) stepAwaits(a *args) error {
	id, err := w.packetID(a)
	if err != nil {
		return err
	}
	if awaited := w.client.s.Awaits(id); awaited != 0 {
		w.say("%v", awaited)
	} else {
		w.say("nothing")
	}
	return nil
}

func (w *world) stepPublish(a *args) error {
	id, err := w.packetID(a)
	if err != nil {
		return err
	}
	digest := uint16(0)
	for _, b := range []byte(a.text("message", "")) {
		digest = 31*digest + uint16(b)
	}
	switch w.client.s.ReceivePublish(id, digest, a.flag("dup"), &w.fx) {
	case session.Accepted:
		w.say("accepted: PUBREC after commit")
	case session.Repeated:
		w.say("repeated: not routed, PUBREC after commit")
	case session.InUse:
		w.say("refused: Packet Identifier in use")
	}
	return w.apply(w.client, w.client.s)
}

func (w *world) stepPubrel(a *args) error {
	id, err := w.packetID(a)
	if err != nil {
		return err
	}
	if w.client.s.ReceivePubrel(id, &w.fx) {
		w.say("released: PUBCOMP after commit")
	} else {
		w.say("unknown: PUBCOMP says so")
	}
	return w.apply(w.client, w.client.s)
}

func (w *world) stepRead(a *args) error {
	c := w.client
	if w.group[c.s.ID] != nil {
		return errors.New("the queue is read when what the Session has written is committed")
	}
	from, upTo := c.s.PageFrom()
	messages, bytes := c.s.PageSize()
	c.read = &page{w.readFrom(c.s.ID, from, min(messages, a.number("most", messages)), bytes), upTo}
	w.say("read %s", namesOf(c.read.entries))
	return nil
}

func namesOf(entries []session.Entry) string {
	if len(entries) == 0 {
		return "nothing"
	}
	var names []string
	for i := range entries {
		names = append(names, nameOf(entries[i].Message))
	}
	return strings.Join(names, " ")
}

func (w *world) stepPage(a *args) error {
	c := w.client
	if c.read == nil {
		if err := w.stepRead(a); err != nil {
			return err
		}
	}
	p := c.read
	c.read = nil
	c.s.Paged(p.entries, p.upTo, w.now, &w.fx)
	return w.apply(c, c.s)
}

func (w *world) stepSweep(a *args) error {
	c, batch := w.client, a.number("batch", 100)
	maxAge, _ := a.duration("max-age")
	c.s.SweepWindow(w.now, maxAge, &w.fx)
	from := c.s.SweepFrom()
	if err := w.apply(c, c.s); err != nil || !c.s.Durable() {
		return err
	}
	for {
		if err := w.commit(); err != nil {
			return err
		}
		entries := w.readFrom(c.s.ID, from, batch, 1<<30)
		if len(entries) == 0 {
			return nil
		}
		w.fx.Reset()
		c.s.SweepPage(from, entries, w.now, maxAge, &w.fx)
		if err := w.apply(c, c.s); err != nil {
			return err
		}
		from = entries[len(entries)-1].Seq + 1
	}
}

func (w *world) stepHandOver(a *args) error {
	from, to := w.client, w.clients[a.text("to", "")]
	if to == nil || to.s == nil {
		return errors.New("to= whom?")
	}
	shares := map[string]bool{shareOf(a.word("a Shared Subscription")): true}
	sentToo := a.flag("sent-too")
	if sentToo && from.s.Attached() {
		return errors.New("what was sent on a connection that is there is its Client's")
	}
	taken := from.s.TakeShared(shares, sentToo, &w.fx)
	if err := w.apply(from, from.s); err != nil {
		return err
	}
	return w.deliverAll(to, taken)
}

// deliverAll gives another member what was taken from one.
func (w *world) deliverAll(to *client, taken []session.Entry) error {
	w.say("for %s: %s", to.id, namesOf(taken))
	for _, e := range taken {
		if err := w.deliver(to, session.Entry{Message: e.Message, QoS: e.QoS, Share: e.Share}, false); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) stepHandOn(a *args) error {
	c, to := w.client, w.clients[a.text("to", "")]
	s := c.ended
	if s == nil || to == nil || to.s == nil {
		return errors.New("no Session has ended with messages on disk, or to= is nobody")
	}
	if w.group[s.ID] != nil {
		return errors.New("the queue is read when what the Session has written is committed")
	}
	entries := w.readFrom(s.ID, c.endedFrom, a.number("most", 1000), 1<<30)
	w.say("read %s", namesOf(entries))
	if err := w.deliverAll(to, s.Orphans(entries)); err != nil {
		return err
	}
	all := len(entries) == 0
	if !all {
		c.endedFrom = entries[len(entries)-1].Seq + 1
	} else {
		c.ended = nil
	}
	w.fx.Reset()
	s.HandedOn(c.endedFrom, all, &w.fx)
	return w.apply(c, s)
}

func (w *world) stepOrphans(*args) error {
	c := w.client
	from, _ := c.s.PageFrom()
	entries := w.readFrom(c.s.ID, from, 1<<30, 1<<30)
	w.say("on disk only: %s", namesOf(entries))
	w.say("orphans: %s", namesOf(c.s.Orphans(entries)))
	return nil
}

func (w *world) stepCommit(*args) error { return w.commit() }

func (w *world) stepCrash(a *args) error {
	return w.start(secondsOf(a, "expiry-most", session.NeverExpires))
}

func (w *world) stepRestart(a *args) error {
	for _, id := range w.clientIDs() {
		if err := w.closeConnection(w.clients[id], false, true); err != nil {
			return err
		}
	}
	if err := w.commit(); err != nil {
		return err
	}
	return w.start(secondsOf(a, "expiry-most", session.NeverExpires))
}

func (w *world) stepDisk(*args) error {
	if len(w.disk) == 0 {
		w.say("nothing")
	}
	for _, id := range w.diskIDs() {
		text, err := w.diskText(w.disk[id])
		if err != nil {
			return err
		}
		w.text = append(w.text, text...)
	}
	return nil
}

func (w *world) stepQueue(*args) error {
	w.say("%s, %d unsent", sessionText(w.client.s), w.client.s.Unsent())
	return nil
}
