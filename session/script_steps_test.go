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

// A step is what a line of a script does.
type step struct {
	session bool // the Client must have a Session
	do      func(*world, *args) error
}

var steps = map[string]step{
	// client m: the following steps are about this Client; the first is c.
	"client": {false, (*world).stepClient},
	// limits window=8 window-bytes=N messages=1000 bytes=N inflight=20 policy=reject
	"limits": {false, (*world).stepLimits},
	// advance 5s
	"advance": {false, (*world).stepAdvance},

	// connect [clean-start] [expiry=1h|never] [receive-maximum=N] [max-packet=N] [version=3.1.1]
	// is open, commit and attach: CONNACK waits for the commit.
	"connect": {false, (*world).stepConnect},
	// open: CONNECT came, with the arguments of connect; CONNACK was not sent.
	"open": {false, (*world).stepOpen},
	// attach: CONNACK was sent.
	"attach": {true, (*world).stepAttach},
	// disconnect: the Network Connection is gone.
	"disconnect": {true, (*world).stepDisconnect},

	// deliver a qos=1 [bytes=N] [expiry=5s] [retain] [share=g/t] [subscription-id=N] [times=N] [kept]
	// routes a message, or N of them (a1, a2, ...), to the Session. kept: even if it need not be.
	"deliver": {true, (*world).stepDeliver},
	// refuse: the broker does not route a message to a full queue.
	"refuse": {true, (*world).stepRefuse},
	// round m qos=1 times=N: so many messages, each acknowledged at once.
	"round": {true, (*world).stepRound},
	// puback a, or by its Packet Identifier: puback 3
	"puback": {true, (*world).stepPuback},
	// pubrec a [reason=0x80]
	"pubrec": {true, (*world).stepPubrec},
	// pubcomp a
	"pubcomp": {true, (*world).stepPubcomp},

	// publish 7 [message=x] [dup]: the Client sends a QoS 2 PUBLISH with this Packet Identifier.
	"publish": {true, (*world).stepPublish},
	// pubrel 7
	"pubrel": {true, (*world).stepPubrel},

	// read [most=N]: what Session.Paged is to be given is read from the disk.
	"read": {true, (*world).stepRead},
	// page [most=N]: it is given to the Session, read now unless it was before.
	"page": {true, (*world).stepPage},
	// sweep [max-age=1h] [batch=N]: the cleanup of the whole queue, N entries with each commit.
	"sweep": {true, (*world).stepSweep},

	// hand-over g/t to=m [sent-too]: messages of a Shared Subscription move to another member.
	"hand-over": {true, (*world).stepHandOver},
	// orphans: what other members may get of the queue on disk, if the Session ended now.
	"orphans": {true, (*world).stepOrphans},

	// commit: the open group is on disk.
	"commit": {false, (*world).stepCommit},
	// crash: what is not committed is gone; and the next start.
	"crash": {false, (*world).stepCrash},
	// restart: a stop in good order, and the next start.
	"restart": {false, (*world).stepRestart},
	// disk: what is on disk at this moment.
	"disk": {false, (*world).stepDisk},
	// awaits a: which acknowledgement.
	"awaits": {true, (*world).stepAwaits},
	// queue: how long it is.
	"queue": {true, (*world).stepQueue},
}

func (w *world) stepClient(a *args) error {
	w.choose(a.word("a Client Identifier"))
	return nil
}

// stepLimits is for the beginning of a script.
func (w *world) stepLimits(a *args) error {
	l := &w.limits
	l.WindowMessages = a.number("window", l.WindowMessages)
	l.WindowBytes = a.number("window-bytes", l.WindowBytes)
	l.QueueMessages = a.number("messages", l.QueueMessages)
	l.QueueBytes = int64(a.number("bytes", int(l.QueueBytes)))
	l.Inflight = a.number("inflight", l.Inflight)
	l.Policy = session.QueuePolicy(a.text("policy", string(l.Policy)))
	switch l.Policy {
	case session.Reject, session.DropNewest, session.DropOldest:
		return nil
	}
	return fmt.Errorf("unknown policy %q", l.Policy)
}

func (w *world) stepAdvance(a *args) error {
	a.values["by"] = a.word("a duration")
	d, _ := a.duration("by")
	w.now = w.now.Add(d)
	return nil
}

func (w *world) stepConnect(a *args) error {
	if err := cmp.Or(w.stepOpen(a), a.end(), w.commit()); err != nil {
		return err
	}
	return w.stepAttach(&args{})
}

// stepOpen gives the Client its Session, as CONNECT asks for.
func (w *world) stepOpen(a *args) error {
	c := w.client
	c.maximum = a.number("receive-maximum", 65535)
	c.packetBytesMax = a.number("max-packet", 0)
	version, expiry, cleanStart := versionOf(a), secondsOf(a, "expiry", 0), a.flag("clean-start")
	if err := w.detach(c); err != nil {
		return err
	}
	if c.s != nil && cleanStart {
		w.end(c)
	}
	c.present = c.s != nil
	if c.s == nil {
		w.lastID++
		c.s, c.queue = session.New(w.lastID, c.id, "", expiry > 0, &w.limits), "queue 0"
	}
	c.s.Version, c.s.ExpirySeconds = version, expiry
	if c.s.Durable() {
		w.writes(c.s.ID).Record = c.s.Record(true, w.now)
	}
	return nil
}

// stepAttach is what follows when what CONNACK promises is on disk.
func (w *world) stepAttach(*args) error {
	c := w.client
	if len(w.group) > 0 {
		return errors.New("CONNACK waits for the commit")
	}
	line := "CONNACK, new session"
	if c.present {
		line = "CONNACK, session present"
	}
	if lost := c.s.TakeLost(); lost > 0 {
		line += fmt.Sprintf(", dropped meanwhile: %d", lost)
	}
	w.say("%s", line)
	c.wire = make(map[uint16]bool)
	c.s.Attach(uint16(c.maximum), uint32(c.packetBytesMax), w.now, &w.fx)
	return w.apply(c)
}

func (w *world) stepDisconnect(*args) error {
	if !w.client.s.Attached() {
		return errors.New("there is no connection")
	}
	return w.detach(w.client)
}

// detach ends the Network Connection, if there is one, and the Session if it is to
// end with it.
func (w *world) detach(c *client) error {
	if c.s == nil || !c.s.Attached() {
		return nil
	}
	c.s.Detach()
	c.held, c.read = nil, nil
	if c.s.ExpirySeconds == 0 {
		w.end(c)
		return nil
	}
	w.writes(c.s.ID).Record = c.s.Record(false, w.now)
	w.putState(c.s)
	return nil
}

// end ends the Session.
func (w *world) end(c *client) {
	w.say("session %d ends with %d unsent", c.s.ID, c.s.Unsent())
	if c.s.Durable() {
		w.group[c.s.ID] = &session.Writes{Ended: true}
	}
	c.s = nil
}

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
		if fits := c.packetBytesMax == 0 || codec.PublishSize(&p, c.s.Version) <= c.packetBytesMax; fits && c.s.DeliverUnkept(&p) {
			s := session.Send{Message: m, PacketID: p.PacketID, QoS: e.QoS, Retain: e.Retain, SubscriptionIDs: e.SubscriptionIDs}
			w.say("send %s, not kept", w.packet(&s))
			w.tellQueue(c)
			return c.send(s)
		}
	}
	w.fx.Reset()
	c.s.Deliver(e, w.now, &w.fx)
	return w.apply(c)
}

func (w *world) stepRefuse(*args) error {
	w.client.s.Refuse(&w.fx)
	return w.apply(w.client)
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
	return w.apply(c)
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
	return w.apply(w.client)
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
	return w.apply(w.client)
}

func (w *world) stepRead(a *args) error {
	c := w.client
	if w.group[c.s.ID] != nil {
		return errors.New("the queue is read when what the Session has written is committed")
	}
	from, upTo := c.s.PageFrom()
	messages, bytes := c.s.PageSize()
	c.read = &page{w.readFrom(c.s.ID, from, min(messages, a.number("most", messages)), bytes), upTo}
	names := "nothing"
	if len(c.read.entries) > 0 {
		names = namesOf(c.read.entries)
	}
	w.say("read %s", names)
	return nil
}

func namesOf(entries []session.Entry) string {
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
	return w.apply(c)
}

func (w *world) stepSweep(a *args) error {
	c, batch := w.client, a.number("batch", 100)
	maxAge, _ := a.duration("max-age")
	c.s.SweepWindow(w.now, maxAge, &w.fx)
	from := c.s.SweepFrom()
	if err := w.apply(c); err != nil || !c.s.Durable() {
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
		if err := w.apply(c); err != nil {
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
	taken := from.s.TakeShared(shares, a.flag("sent-too"), &w.fx)
	if err := w.apply(from); err != nil {
		return err
	}
	if len(taken) == 0 {
		w.say("nothing for %s", to.id)
		return nil
	}
	w.say("for %s:", to.id)
	for _, e := range taken {
		if err := w.deliver(to, session.Entry{Message: e.Message, QoS: e.QoS, Share: e.Share}, false); err != nil {
			return err
		}
	}
	return nil
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

func (w *world) stepCrash(*args) error { return w.start() }

func (w *world) stepRestart(*args) error {
	for _, id := range w.clientIDs() {
		if err := w.detach(w.clients[id]); err != nil {
			return err
		}
	}
	if err := w.commit(); err != nil {
		return err
	}
	return w.start()
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
