package broker_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// A timedLink is one Network Connection; handle gets its packets, closed its end.
type timedLink struct {
	conn    *simConn
	version codec.Version
	handle  func(codec.Frame) error
	closed  func()
}

// dial connects; the packets are handled with world.mu held.
func (tw *timersWorld) dial(version codec.Version) *timedLink {
	client, server := newSimConn(tw.r.Uint64(), time.Millisecond)
	l := &timedLink{conn: client, version: version}
	tw.links = append(tw.links, l)
	b := tw.b
	tw.running.Go(func() { b.ServeConn(server) })
	tw.running.Go(func() {
		var r codec.Reader
		r.Reset(0)
		for {
			n, err := client.Read(r.Room())
			if err != nil {
				tw.locked(l.closed)
				_ = client.Close()
				return
			}
			r.Wrote(n)
			for {
				f, err := r.Next()
				if err == codec.ErrIncomplete {
					break
				}
				tw.locked(func() {
					if err == nil {
						err = l.handle(f)
					}
					if err != nil {
						tw.faultLocked("%v", err)
					}
				})
				if err != nil {
					_ = client.Close()
					break
				}
			}
		}
	})
	return l
}

func (l *timedLink) ack(t codec.PacketType, id uint16) {
	b, _ := codec.AppendAck(nil, &codec.Ack{Type: t, PacketID: id}, l.version)
	_, _ = l.conn.Write(b)
}

// A timedMessage is in the queue of a subject, or retained.
type timedMessage struct {
	payload  string
	expiry   uint32 // 0: none
	expires  deadline
	received bool
	unsure   bool // whether it was queued is not known
	begun    bool // it came to one who did not acknowledge: it does not expire any more
}

// A timedWill is the Will of one connection.
type timedWill struct {
	payload string
	delay   uint32
	// armed: its connection is open. pending: it is to be published when the first
	// of due and end is over, if end is set. loose: it may come or not.
	armed, pending, loose bool
	due                   deadline
	end                   *deadline
	got                   int
}

func (will *timedWill) ahead(tw *timersWorld) bool {
	return tw.ahead(will.due) && (will.end == nil || tw.ahead(*will.end))
}

func (will *timedWill) over(tw *timersWorld) bool {
	return tw.over(will.due) || (will.end != nil && tw.over(*will.end))
}

func (will *timedWill) check(tw *timersWorld) {
	if will.pending && !will.loose && will.got == 0 && will.over(tw) {
		tw.faultLocked("Will %s did not come", will.payload)
		will.loose = true
	}
}

// An observer is a Client whose Session never ends. It gets the Wills, and
// publishes for the subjects.
type observer struct {
	tw       *timersWorld
	link     *timedLink
	wills    map[string]*timedWill
	subbed   bool
	pubID    uint16
	stored   map[uint16]bool   // PUBLISH packets whose acknowledgement needs a commit
	got      map[string]uint32 // what the probe got, with the Message Expiry Interval
	received map[uint16]bool   // QoS 2
}

func (o *observer) connect() {
	o.link = o.tw.dial(codec.Version5)
	l := o.link
	l.handle, l.closed = o.handle, func() {}
	o.write(codec.AppendConnect(nil, &codec.Connect{
		Version: codec.Version5, ClientID: codec.View("observer"), HasSessionExpiry: true, SessionExpirySeconds: 0xFFFFFFFF,
		ReceiveMaximum: 1000,
	}, codec.Version5))
}

func (o *observer) write(b []byte, err error) {
	if err != nil {
		o.tw.faultLocked("observer: %v", err)
	}
	_, _ = o.link.conn.Write(b)
}

func (o *observer) handle(f codec.Frame) error {
	switch f.Type() {
	case codec.TypeConnack:
		o.tw.committed() // that it is connected
		if !o.subbed {
			o.subbed = true
			o.write(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, []codec.Subscription{{Filter: codec.View("w/#"), QoS: 2}}, codec.Version5))
		}
	case codec.TypePublish:
		var p codec.Publish
		if err := p.Decode(f, codec.Version5); err != nil {
			return err
		}
		return o.take(&p)
	case codec.TypePubrel:
		var ack codec.Ack
		if err := ack.Decode(f, codec.Version5); err != nil {
			return err
		}
		delete(o.received, ack.PacketID)
		o.link.ack(codec.TypePubcomp, ack.PacketID)
	case codec.TypePuback:
		var ack codec.Ack
		if err := ack.Decode(f, codec.Version5); err != nil {
			return err
		}
		if o.stored[ack.PacketID] {
			o.tw.committed()
		}
	}
	return nil
}

func (o *observer) take(p *codec.Publish) error {
	if p.QoS == 2 {
		o.link.ack(codec.TypePubrec, p.PacketID)
		if o.received[p.PacketID] {
			return nil
		}
		o.received[p.PacketID] = true
	}
	payload := p.Payload.String()
	if !strings.HasPrefix(p.Topic.String(), "w/") {
		if p.Retain && o.got != nil {
			o.got[p.Topic.String()+" "+payload] = p.MessageExpirySeconds
		}
		return nil
	}
	will := o.wills[payload]
	o.tw.trace("Will %s came", payload)
	o.tw.sums["Wills"]++
	if will.got++; will.got > 1 {
		return fmt.Errorf("Will %s came twice", payload)
	}
	switch {
	case will.loose:
	case will.armed:
		return fmt.Errorf("Will %s came while its connection is open", payload)
	case !will.pending:
		return fmt.Errorf("Will %s came, though it is void", payload)
	case will.ahead(o.tw):
		return fmt.Errorf("Will %s came before its time", payload)
	}
	return nil
}

// message returns a new message of the observer.
func (o *observer) message() *timedMessage {
	tw := o.tw
	tw.payloads++
	m := &timedMessage{payload: fmt.Sprintf("m%d", tw.payloads)}
	if tw.r.IntN(4) > 0 {
		m.expiry = uint32(1 + tw.r.IntN([]int{20, 600, 20000}[tw.r.IntN(3)]))
		m.expires = tw.after(time.Duration(m.expiry) * time.Second)
	}
	return m
}

func (o *observer) send(topic string, m *timedMessage, retain, stored bool) {
	o.pubID = o.pubID%60000 + 10
	o.stored[o.pubID] = stored
	o.tw.trace("%s is published on %s, expires after %d s", m.payload, topic, m.expiry)
	o.write(codec.AppendPublish(nil, &codec.Publish{
		QoS: 1, PacketID: o.pubID, Retain: retain, Topic: codec.View(topic), Payload: codec.View(m.payload),
		HasMessageExpiry: m.expiry > 0, MessageExpirySeconds: m.expiry,
	}, codec.Version5))
}

// publish sends a message to a subject, whether it is there or not.
func (o *observer) publish(s *subject) {
	m := o.message()
	switch {
	case !s.exists:
		m.unsure = true
	case s.end != nil && !o.tw.ahead(*s.end):
		m.unsure = true
	}
	s.queue = append(s.queue, m)
	o.tw.sums["messages"]++
	o.send("q/"+s.id, m, false, s.link == nil && !m.unsure)
}

// retain replaces a retained message.
func (o *observer) retain() {
	topic := fmt.Sprintf("r/%d", o.tw.r.IntN(3))
	m := o.message()
	o.tw.kept[topic] = m
	o.send(topic, m, true, true)
}

// probe subscribes again, which says what is retained.
func (o *observer) probe() {
	o.got = make(map[string]uint32)
	o.write(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 2}, []codec.Subscription{{Filter: codec.View("r/#"), QoS: 0}}, codec.Version5))
}

// checkProbe compares what the probe got with what must be there.
func (o *observer) checkProbe() {
	tw := o.tw
	if o.got == nil {
		return
	}
	tw.sums["looks at what is retained"]++
	for topic, m := range tw.kept {
		left, got := o.got[topic+" "+m.payload]
		delete(o.got, topic+" "+m.payload)
		tw.checkExpiry(m, left, got, quiet)
	}
	for what := range o.got {
		tw.faultLocked("%q is retained", what)
	}
	o.got = nil
}

// checkExpiry compares a message that came, or did not, up to a while ago with
// its deadline.
func (tw *timersWorld) checkExpiry(m *timedMessage, left uint32, got bool, while time.Duration) {
	switch {
	case got && m.expiry > 0 && tw.over(m.expires.plus(while)):
		tw.faultLocked("%s came after it had expired", m.payload)
	case !got && (m.expiry == 0 || tw.ahead(m.expires)):
		tw.faultLocked("%s did not come", m.payload)
	case got && m.expiry > 0:
		least := m.expires.lo.Sub(tw.nowHi()) - 2*time.Second
		most := m.expires.hi.Sub(tw.nowLo()) + while + 2*time.Second
		if rest := time.Duration(left) * time.Second; rest < least || rest > most {
			tw.faultLocked("%s came with a Message Expiry Interval of %v, expected from %v to %v", m.payload, rest, least, most)
		}
	}
}

func (d deadline) plus(t time.Duration) deadline {
	return deadline{boot: d.boot, at: d.at.Add(t), lo: d.lo.Add(t), hi: d.hi.Add(t)}
}

// A subject is a Client whose Session, Will and messages have deadlines.
type subject struct {
	tw        *timersWorld
	id        string
	link      *timedLink // nil: none
	version   codec.Version
	expiry    uint32 // Session Expiry Interval, seconds
	keepAlive time.Duration
	sentAt    time.Time // the last packet
	silent    bool
	leaving   bool // it sent DISCONNECT
	will      *timedWill

	crashed bool // the process died with the connection

	exists bool      // a Session is there, or may be
	end    *deadline // of the Session; nil: none
	queue  []*timedMessage
}

const neverEnds = 0xFFFFFFFF

// send writes a packet, which begins a Keep Alive interval.
func (s *subject) send(b []byte, err error) {
	if err != nil {
		s.tw.faultLocked("%s: %v", s.id, err)
		return
	}
	s.sentAt = time.Now()
	_, _ = s.link.conn.Write(b)
}

// connect opens a connection with new intervals, perhaps beside an open one.
func (s *subject) connect() {
	tw, r := s.tw, s.tw.r
	version := []codec.Version{codec.Version5, codec.Version5, codec.Version311}[r.IntN(3)]
	clean := r.IntN(4) == 0
	if s.link != nil {
		tw.sums["takeovers"]++
		s.gone()
	}
	old, exists, end := s.will, s.exists, s.end
	s.version, s.silent, s.leaving = version, false, false
	switch {
	case version == codec.Version5:
		s.expiry = []uint32{0, uint32(1 + r.IntN(600)), uint32(1 + r.IntN(20000)), neverEnds}[r.IntN(4)]
	case clean:
		s.expiry = 0
	default:
		s.expiry = neverEnds
	}
	s.keepAlive = []time.Duration{0, 20 * time.Second, 5 * time.Minute, 30 * time.Minute}[r.IntN(4)]
	p := &codec.Connect{Version: version, ClientID: codec.View(s.id), CleanStart: clean, KeepAliveSeconds: uint16(s.keepAlive.Seconds())}
	if version == codec.Version5 {
		p.HasSessionExpiry, p.SessionExpirySeconds, p.ReceiveMaximum = true, s.expiry, 1000
	}
	s.will = nil
	if r.IntN(3) > 0 {
		tw.payloads++
		s.will = &timedWill{payload: fmt.Sprintf("will%d", tw.payloads), armed: true}
		if version == codec.Version5 {
			s.will.delay = []uint32{0, uint32(1 + r.IntN(300)), uint32(1 + r.IntN(20000))}[r.IntN(3)]
		}
		tw.observer.wills[s.will.payload] = s.will
		p.HasWill = true
		p.Will = codec.Will{Topic: codec.View("w/" + s.id), Payload: codec.View(s.will.payload), QoS: 2, DelaySeconds: s.will.delay}
	}
	tw.trace("%s connects: version %d, clean %v, expiry %d, keep alive %v, Will %+v", s.id, version, clean, s.expiry, s.keepAlive, s.will)
	s.link = tw.dial(version)
	link := s.link
	link.handle = func(f codec.Frame) error {
		if s.link != link {
			return nil
		}
		if f.Type() == codec.TypeConnack {
			var ack codec.Connack
			if err := ack.Decode(f, version); err != nil {
				return err
			}
			return s.connected(&ack, clean, old, exists, end)
		}
		return s.handle(f)
	}
	link.closed = func() {
		if s.link == link {
			s.closed()
		}
	}
	if now := tw.after(0); clean && old != nil && (old.end == nil || tw.ahead(*old.end)) {
		old.end = &now // the Session ends, before CONNACK
	}
	s.exists, s.end = true, nil
	s.send(codec.AppendConnect(nil, p, version))
}

// connected compares Session Present with what must be there, and says what
// becomes of the Will of the connection before.
func (s *subject) connected(ack *codec.Connack, clean bool, old *timedWill, exists bool, end *deadline) error {
	tw := s.tw
	tw.sums["connections"]++
	mustBe := exists && !clean && (end == nil || tw.ahead(*end))
	mayBe := exists && !clean && (end == nil || !tw.over(*end))
	tw.trace("%s is connected, present %v", s.id, ack.SessionPresent)
	switch {
	case ack.Reason != codec.Success:
		return fmt.Errorf("%s: CONNACK %v", s.id, ack.Reason)
	case ack.SessionPresent && !mayBe:
		return fmt.Errorf("%s: the Session is there, and its time is over", s.id)
	case !ack.SessionPresent && mustBe:
		return fmt.Errorf("%s: the Session is gone before its time", s.id)
	}
	if ack.SessionPresent {
		tw.sums["resumed"]++
	}
	if old != nil && old.pending && old.got == 0 && !old.loose {
		switch {
		case old.delay == 0, old.over(tw):
		case !ack.SessionPresent: // what was there ended now at the latest
			now := tw.after(0)
			old.end = &now
		case old.ahead(tw):
			old.pending = false
			tw.sums["Wills avoided"]++
		default:
			old.loose = true
		}
	}
	if !ack.SessionPresent {
		s.queue = nil
		s.send(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, []codec.Subscription{{Filter: codec.View("q/" + s.id), QoS: 1}}, s.version))
	}
	// Until SUBACK nothing is published: the script is quiet.
	return nil
}

func (s *subject) handle(f codec.Frame) error {
	switch f.Type() {
	case codec.TypeSuback:
		if s.expiry > 0 {
			s.tw.committed()
		}
	case codec.TypePublish:
		var p codec.Publish
		if err := p.Decode(f, s.version); err != nil {
			return err
		}
		i := slices.IndexFunc(s.queue, func(m *timedMessage) bool { return m.payload == p.Payload.String() })
		if i < 0 {
			return fmt.Errorf("%s got %s, which is not in its queue", s.id, p.Payload)
		}
		m := s.queue[i]
		s.tw.trace("%s got %s", s.id, m.payload)
		if s.silent {
			m.begun = true
			return nil
		}
		b, err := codec.AppendAck(nil, &codec.Ack{Type: codec.TypePuback, PacketID: p.PacketID}, s.version)
		s.send(b, err)
		if m.received = true; m.begun {
			return nil
		}
		left := p.MessageExpirySeconds
		if s.version != codec.Version5 && m.expiry > 0 { // it is not told
			left = uint32(max(0, m.expires.hi.Sub(s.tw.nowLo()).Seconds()))
		}
		s.tw.checkExpiry(m, left, true, 0)
	}
	return nil
}

// gone notes that the connection has ended, with DISCONNECT or without: the Will is due after its delay, the Session ends after its interval.
func (s *subject) gone() {
	s.link = nil
	end := s.tw.after(time.Duration(s.expiry) * time.Second)
	s.end = &end
	if s.expiry == neverEnds {
		s.end = nil
	}
	if s.will != nil && s.will.armed {
		s.will.armed, s.will.pending = false, true
		s.will.due, s.will.end = s.tw.after(time.Duration(s.will.delay)*time.Second), s.end
	}
}

func (s *subject) drop() {
	s.tw.trace("%s drops its connection", s.id)
	_ = s.link.conn.Close()
	s.gone()
}

// disconnect sends DISCONNECT, of one of four kinds.
func (s *subject) disconnect() {
	r := s.tw.r
	var d codec.Disconnect
	if s.version == codec.Version5 {
		if r.IntN(2) == 0 {
			d.Reason = codec.DisconnectWithWill
		}
		if s.expiry > 0 && r.IntN(2) == 0 {
			s.expiry = []uint32{0, 1000, neverEnds}[r.IntN(3)]
			d.HasSessionExpiry, d.SessionExpirySeconds = true, s.expiry
		}
	}
	s.tw.trace("%s disconnects: %v, expiry %d", s.id, d.Reason, s.expiry)
	s.send(codec.AppendDisconnect(nil, &d, s.version))
	if s.will != nil && d.Reason == codec.Success {
		s.will.armed = false // and not pending: it is void
	}
	s.gone()
}

// closed notes that the broker has closed the connection, which it may do only
// when the Keep Alive is over.
func (s *subject) closed() {
	if s.tw.dying {
		s.link = nil
		return
	}
	limit := s.keepAlive * 3 / 2
	waited := time.Since(s.sentAt)
	if !s.silent || waited < limit-earlySlack {
		s.tw.faultLocked("%s: the broker closed the connection %v after the last packet", s.id, waited)
	}
	s.tw.sums["Keep Alives missed"]++
	s.gone()
}

// brokerEnds notes what the end of the process means for what is connected.
func (s *subject) brokerEnds(orderly bool) {
	if s.link == nil {
		return
	}
	if s.crashed = !orderly; s.crashed && s.expiry == 0 { // nothing of this Session was stored
		s.exists = false
		if s.will != nil {
			s.will.loose, s.will.armed = true, false
		}
	}
	s.gone()
}

// restarted: for what was connected when the process died, time begins now.
func (s *subject) restarted() {
	if !s.crashed {
		return
	}
	s.crashed = false
	if s.end != nil {
		*s.end = s.tw.after(time.Duration(s.expiry) * time.Second)
	}
	if s.will != nil && s.will.pending {
		s.will.due = s.tw.after(time.Duration(s.will.delay) * time.Second)
	}
}

// check looks at the connection and at the messages of one that has one.
func (s *subject) check() {
	tw := s.tw
	if s.link == nil {
		return
	}
	if s.silent && time.Since(s.sentAt) > s.keepAlive*3/2+lateSlack {
		tw.faultLocked("%s: nothing was sent for %v and the connection is open", s.id, time.Since(s.sentAt))
	}
	if !s.silent {
		for _, m := range s.queue {
			if !m.received && !m.unsure && !m.begun {
				tw.checkExpiry(m, 0, false, 0)
			}
		}
		s.queue = slices.DeleteFunc(s.queue, func(m *timedMessage) bool {
			return m.received || (!m.begun && m.expiry > 0 && tw.over(m.expires))
		})
	}
}
