package broker_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// A simLink is one Network Connection of a client.
type simLink struct {
	c     *simClient
	conn  *simConn
	r     codec.Reader
	clean bool
	brief bool // it ends at CONNACK, and its Session with it
	// mustBeNew: the Session before it was ended by a Clean Start that was answered.
	mustBeNew bool
	will      *simMessage
	online    bool
	closing   bool            // the client ended it
	came      map[uint16]bool // the identifiers of PUBLISH packets, see doneLocked
	since     time.Time       // when CONNACK came
	left      time.Time       // when the client sent DISCONNECT
	pinged    time.Time
}

// send writes to the current link; whether it arrives, replies will show.
func (l *simLink) send(b []byte, err error) {
	if err != nil {
		l.c.w.faultLocked("%s: cannot encode: %v", l.c.id, err)
		return
	}
	_, _ = l.conn.Write(b)
}

func (l *simLink) ack(t codec.PacketType, id uint16) {
	l.send(codec.AppendAck(nil, &codec.Ack{Type: t, PacketID: id}, l.c.version))
}

// endedLocked notes that the connection is over. abnormal: without DISCONNECT.
func (l *simLink) endedLocked(abnormal bool) {
	if !l.since.IsZero() {
		l.c.leftAt = time.Now()
		if !l.left.IsZero() {
			l.c.leftAt = l.left // the other side may close later: it has acknowledgements to send
		}
	}
	if m := l.will; m != nil && m.armed && abnormal && !m.void && !m.gone && m.delay == 0 {
		m.owed = l.c.durable || m.armedAt < l.c.w.storedSince
	}
	if l.will != nil {
		l.will.gone = true
	}
}

// dropLocked ends the connection without DISCONNECT.
func (l *simLink) dropLocked() {
	l.endedLocked(true)
	l.closing = true
	l.c.link = nil
	_ = l.conn.Close()
}

// disconnectLocked ends the connection with DISCONNECT; the close of the other
// side says that the Will is void.
func (l *simLink) disconnectLocked() {
	l.send(codec.AppendDisconnect(nil, &codec.Disconnect{}, l.c.version))
	l.closing, l.online, l.left = true, false, time.Now()
	l.c.w.trace("%s disconnects", l.c.id)
}

func (l *simLink) read() {
	for {
		n, err := l.conn.Read(l.r.Room())
		if err != nil {
			l.closed()
			_ = l.conn.Close()
			return
		}
		l.r.Wrote(n)
		for {
			f, err := l.r.Next()
			if err == codec.ErrIncomplete {
				break
			}
			l.c.w.mu.Lock()
			if err == nil {
				err = l.handleLocked(f)
			}
			if err != nil {
				l.c.w.faultLocked("%s: %v", l.c.id, err)
			}
			l.c.w.mu.Unlock()
			if err != nil {
				_ = l.conn.Close()
				return
			}
		}
	}
}

// closed notes that the other side closed.
func (l *simLink) closed() {
	w, c := l.c.w, l.c
	w.mu.Lock()
	defer w.mu.Unlock()
	if i := slices.Index(w.links, l); i >= 0 {
		w.links = slices.Delete(w.links, i, i+1)
	}
	if !l.closing && !w.dying && !w.cfg.failWrites { // a full disk disconnects whom an acknowledgement cannot tell
		w.faultLocked("%s: the broker closed the connection", c.id)
	}
	if c.link != l {
		return
	}
	c.link = nil
	if l.closing && !w.dying && l.will != nil && !l.will.gone {
		l.will.void = true
	}
	l.endedLocked(!l.closing)
}

func (l *simLink) handleLocked(f codec.Frame) error {
	c := l.c
	if c.link != l {
		return nil // a connection that the client has left
	}
	if f.Type() == codec.TypeConnack {
		return l.connackLocked(f)
	}
	switch f.Type() {
	case codec.TypePublish:
		return l.publishLocked(f)
	case codec.TypePuback, codec.TypePubrec, codec.TypePubrel, codec.TypePubcomp:
		return l.ackLocked(f)
	case codec.TypeSuback, codec.TypeUnsuback:
		return l.subackLocked(f)
	case codec.TypePingresp:
		if took := time.Since(l.pinged); took > c.w.pingMax {
			c.w.pingMax = took
		}
		l.pinged = time.Time{}
		return nil
	case codec.TypeDisconnect:
		var d codec.Disconnect
		if err := d.Decode(f, c.version); err != nil {
			return err
		}
		if !c.w.dying {
			return fmt.Errorf("DISCONNECT %v", d.Reason)
		}
		return nil
	}
	return fmt.Errorf("unexpected %v", f.Type())
}

func (l *simLink) connackLocked(f codec.Frame) error {
	c := l.c
	var ack codec.Connack
	if err := ack.Decode(f, c.version); err != nil {
		return err
	}
	switch {
	case c.w.cfg.failWrites && (ack.Reason == codec.QuotaExceeded || ack.Reason == codec.ServerUnavailable): // the latter before v5
		l.closing = true // it comes back later
		return nil
	case ack.Reason != codec.Success:
		return fmt.Errorf("CONNACK %v", ack.Reason)
	case l.clean && ack.SessionPresent:
		return fmt.Errorf("Session Present after Clean Start")
	case l.mustBeNew && ack.SessionPresent:
		return fmt.Errorf("a Session is present that Clean Start has ended")
	case c.known && !ack.SessionPresent:
		if away := time.Since(c.leftAt); away < time.Duration(c.expiry)*time.Second {
			return fmt.Errorf("the Session is lost after %v", away)
		}
		c.forgetLocked()
	}
	c.w.trace("%s (version %d, durable %v, QoS %d) is connected, present %v", c.id, c.version, c.durable, c.qos, ack.SessionPresent)
	c.known, c.mustClean, c.unsure = c.durable, false, false
	if l.brief {
		c.known, c.dropped = false, true
		l.dropLocked()
		return nil
	}
	if l.will != nil {
		l.will.armed, l.will.armedAt = true, c.w.eventLocked()
	}
	if l.closing {
		return nil
	}
	l.online, l.since = true, time.Now()
	for _, m := range c.inflight {
		if m.qos == 2 && m.ackedAt > 0 {
			l.ack(codec.TypePubrel, m.id)
		} else {
			l.sendPublishLocked(m, true)
		}
	}
	for _, s := range c.subs {
		if s.id != 0 {
			l.sendSubscribe(s)
		}
		if s.unsubID != 0 {
			l.sendUnsubscribe(s)
		}
	}
	return nil
}

func (l *simLink) sendPublishLocked(m *simMessage, dup bool) {
	m.lastSent = time.Now()
	m.sends++
	l.c.w.trace("%s sends message %d on %s QoS %d id %d dup %v retain %v bytes %d", l.c.id, m.no, m.topic, m.qos, m.id, dup, m.retain, len(m.payload))
	l.send(codec.AppendPublish(nil, &codec.Publish{
		Dup: dup && m.qos > 0, QoS: m.qos, Retain: m.retain, PacketID: m.id,
		Topic: codec.View(m.topic), Payload: codec.View(m.payload),
		HasMessageExpiry: m.expiry > 0 && l.c.version == codec.Version5, MessageExpirySeconds: m.expiry,
	}, l.c.version))
}

func (l *simLink) sendSubscribe(s *simSub) {
	s.sends++
	l.send(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: s.id},
		[]codec.Subscription{{Filter: codec.View(s.filter), QoS: l.c.qos}}, l.c.version))
}

func (l *simLink) sendUnsubscribe(s *simSub) {
	l.send(codec.AppendUnsubscribe(nil, &codec.Unsubscribe{PacketID: s.unsubID}, []codec.View{codec.View(s.filter)}, l.c.version))
}

func (l *simLink) subackLocked(f codec.Frame) error {
	c := l.c
	if f.Type() == codec.TypeUnsuback {
		var ack codec.Unsuback
		if err := ack.Decode(f, c.version); err != nil {
			return err
		}
		i := slices.IndexFunc(c.subs, func(s *simSub) bool { return s.unsubID == ack.PacketID })
		if i < 0 {
			return fmt.Errorf("UNSUBACK %d for nothing", ack.PacketID)
		}
		c.subs[i].unsubID, c.subs[i].goneAt = 0, c.w.eventLocked()
		return nil
	}
	var ack codec.Suback
	if err := ack.Decode(f, c.version); err != nil {
		return err
	}
	i := slices.IndexFunc(c.subs, func(s *simSub) bool { return s.id == ack.PacketID })
	if refused := string(ack.Reasons); i >= 0 && c.w.cfg.failWrites && (refused == "\x97" || refused == "\x80") { // the latter before v5
		l.subscribeAgainLater(c.subs[i])
		return nil
	}
	if i < 0 || len(ack.Reasons) != 1 || ack.Reasons[0] != byte(c.qos) {
		return fmt.Errorf("SUBACK %d %v", ack.PacketID, ack.Reasons)
	}
	c.subs[i].id, c.subs[i].ackedAt, c.subs[i].ackedTime = 0, c.w.eventLocked(), time.Now()
	return nil
}

// subscribeAgainLater asks again for what was refused, while this connection lasts:
// the next one asks by itself.
func (l *simLink) subscribeAgainLater(s *simSub) {
	time.AfterFunc(time.Second, func() {
		l.c.w.locked(func() {
			if l.c.link == l && l.online && s.id != 0 {
				l.sendSubscribe(s)
			}
		})
	})
}

// ackLocked takes the four acknowledgements. PUBACK and PUBREC must come in the
// order in which their PUBLISH packets were sent.
func (l *simLink) ackLocked(f codec.Frame) error {
	c := l.c
	var ack codec.Ack
	if err := ack.Decode(f, c.version); err != nil {
		return err
	}
	c.w.trace("%s got %v %d", c.id, ack.Type, ack.PacketID)
	switch ack.Type {
	case codec.TypePubrel:
		if c.ignored[c.received[ack.PacketID]] == ack.PacketID {
			return nil
		}
		delete(c.received, ack.PacketID)
		l.doneLocked(ack.PacketID)
		l.ack(codec.TypePubcomp, ack.PacketID)
		return nil
	case codec.TypePubcomp:
		i := slices.IndexFunc(c.inflight, func(m *simMessage) bool { return m.qos == 2 && m.ackedAt > 0 && m.id == ack.PacketID })
		if i < 0 {
			return fmt.Errorf("PUBCOMP %d for nothing", ack.PacketID)
		}
		c.inflight = slices.Delete(c.inflight, i, i+1)
		return nil
	}
	qos := codec.QoS(1)
	if ack.Type == codec.TypePubrec {
		qos = 2
	}
	i := slices.IndexFunc(c.inflight, func(m *simMessage) bool { return m.qos == qos && m.ackedAt == 0 })
	if i < 0 || c.inflight[i].id != ack.PacketID {
		return fmt.Errorf("%v %d out of order", ack.Type, ack.PacketID)
	}
	m := c.inflight[i]
	if ack.Reason == codec.QuotaExceeded && c.w.cfg.failWrites {
		m.refused = true
		c.w.refusals++
		c.inflight = slices.Delete(c.inflight, i, i+1)
		return nil
	}
	if ack.Reason >= 0x80 {
		return fmt.Errorf("%v %v for message %d", ack.Type, ack.Reason, m.no)
	}
	m.ackedAt, m.ackedTime = c.w.eventLocked(), time.Now()
	if m.retain { // its acknowledgement awaits a commit in any case
		c.w.storedSince = max(c.w.storedSince, m.sentAt)
	}
	c.w.acked++
	if qos == 1 {
		c.inflight = slices.Delete(c.inflight, i, i+1)
	} else {
		l.ack(codec.TypePubrel, m.id)
	}
	return nil
}

func (l *simLink) publishLocked(f codec.Frame) error {
	c := l.c
	var p codec.Publish
	if err := p.Decode(f, c.version); err != nil {
		return err
	}
	m := c.w.messageOfLocked(&p)
	if p.QoS > 0 {
		if err := l.identifiedLocked(&p, m); err != nil {
			return err
		}
	}
	if l.probe() {
		c.w.retained[p.Topic.String()] = p.Payload.String()
	}
	again := false
	if p.QoS == 2 {
		_, again = c.received[p.PacketID]
		c.received[p.PacketID] = m
	}
	if !again {
		if err := c.takeLocked(&p); err != nil {
			return err
		}
	}
	switch ignored := c.ignoresLocked(&p, m); {
	case p.QoS == 2 && !(ignored && m.no%2 == 0): // else without PUBCOMP
		l.ack(codec.TypePubrec, p.PacketID)
	case p.QoS == 1 && !ignored:
		l.doneLocked(p.PacketID)
		l.ack(codec.TypePuback, p.PacketID)
	}
	return nil
}

// probe reports whether this client asks for what is retained at the end.
func (l *simLink) probe() bool { return strings.HasPrefix(l.c.id, "probe") }
