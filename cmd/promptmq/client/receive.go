package client

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// answerWithin bounds how long CONNACK may take.
const answerWithin = 30 * time.Second

// A receiver reads one connection.
type receiver struct {
	s         *Session
	conn      net.Conn
	in        codec.Reader
	aliases   map[uint16]string
	keepAlive time.Duration
}

func (r *receiver) next() (codec.Frame, error) {
	for {
		f, err := r.in.Next()
		if !errors.Is(err, codec.ErrIncomplete) {
			return f, err
		}
		if r.keepAlive > 0 && !r.s.isLeaving() {
			_ = r.conn.SetReadDeadline(time.Now().Add(r.keepAlive * 3 / 2))
		}
		n, err := r.conn.Read(r.in.Room())
		r.in.Wrote(n)
		if n == 0 && err != nil {
			if errors.Is(err, io.EOF) {
				err = errClosed
			}
			return f, err
		}
	}
}

var errClosed = errors.New("the broker has closed the connection")

// connack reads the first answer and resumes what both sides still have of the Session.
func (r *receiver) connack() error {
	s, keep := r.s, r.keepAlive
	r.keepAlive = answerWithin * 2 / 3
	f, err := r.next()
	_ = r.conn.SetReadDeadline(time.Time{})
	r.keepAlive = keep
	if _, plain := r.conn.(*net.TCPConn); plain && err != nil && isMismatch(err) {
		return &MismatchError{Err: errClosed}
	}
	if err != nil {
		return err
	}
	if f.Type() != codec.TypeConnack {
		return fmt.Errorf("the broker answered CONNECT with %v", f.Type())
	}
	var c codec.Connack
	if err := c.Decode(f, s.o.Version); err != nil {
		return err
	}
	if c.Reason != codec.Success {
		return &Refusal{codec.TypeConnack, c.Reason, c.ReasonString.String(), c.ServerReference.String()}
	}
	if c.HasServerKeepAlive { // [MQTT-3.1.2-21]
		r.keepAlive = time.Duration(c.ServerKeepAliveSeconds) * time.Second
	}
	s.o.Debug("received CONNACK: Session Present %t", c.SessionPresent)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.HasAssignedClientID { // the Session is found again by it
		s.o.Connect.ClientID = c.AssignedClientID.Clone()
	}
	s.accepted = codec.Connack{ReceiveMaximum: c.ReceiveMaximum, HasMaximumQoS: c.HasMaximumQoS, MaximumQoS: c.MaximumQoS,
		RetainUnavailable: c.RetainUnavailable, MaximumPacketSize: c.MaximumPacketSize}
	s.conn = r.conn
	if s.leaving {
		return errStopped
	}
	if err := s.subscribe(); err != nil {
		return err
	}
	s.resume(c.SessionPresent)
	s.signal()
	return nil
}

// subscribe asks for what is to be subscribed to. Caller holds s.mu.
func (s *Session) subscribe() error {
	if len(s.o.Unsubscribe) > 0 {
		b, err := codec.AppendUnsubscribe(nil, &codec.Unsubscribe{PacketID: s.newID()}, s.o.Unsubscribe, s.o.Version)
		if err != nil {
			return err
		}
		s.write(s.conn, b)
	}
	if len(s.o.Subscribe) == 0 {
		return nil
	}
	sub := codec.Subscribe{PacketID: s.newID(), SubscriptionID: s.o.SubscriptionID, UserProperties: s.o.SubscribeUser}
	b, err := codec.AppendSubscribe(nil, &sub, s.o.Subscribe, s.o.Version)
	if err != nil {
		return err
	}
	s.o.Debug("sending SUBSCRIBE")
	s.write(s.conn, b)
	return nil
}

// resume sends again what was not acknowledged, in its order. [MQTT-4.4.0-1] Caller holds s.mu.
func (s *Session) resume(present bool) {
	if !present {
		clear(s.in)
		s.out = slices.DeleteFunc(s.out, func(m *outgoing) bool { return m.received }) // the Server had taken it
	}
	for i, m := range s.out {
		m.p.Dup = present && m.sent // [MQTT-3.3.1-1]
		switch {
		case i >= s.window():
			m.sent = false // it is when there is room
		case m.received:
			s.ack(codec.TypePubrel, m.p.PacketID, codec.Success)
		default:
			s.sendMessage(m)
		}
	}
}

func (r *receiver) receive() error {
	for {
		f, err := r.next()
		if err != nil {
			return err
		}
		switch t := f.Type(); t {
		case codec.TypePublish:
			err = r.publish(f)
		case codec.TypePuback, codec.TypePubrec, codec.TypePubcomp:
			err = r.s.acknowledged(f)
		case codec.TypePubrel:
			err = r.s.released(f)
		case codec.TypeSuback:
			err = r.suback(f)
		case codec.TypeUnsuback, codec.TypePingresp:
			r.s.o.Debug("received %v", t)
		case codec.TypeDisconnect:
			var d codec.Disconnect
			if err = d.Decode(f, r.s.o.Version); err == nil {
				err = &Refusal{t, d.Reason, d.ReasonString.String(), d.ServerReference.String()}
			}
		default:
			err = fmt.Errorf("the broker sent %v, which it may not", t)
		}
		if err != nil {
			if errors.Is(err, errStopped) || errors.As(err, new(notTaken)) {
				r.s.Leave()
				r.in.Reset(0)
				_, _ = io.Copy(io.Discard, r.conn) // until the Server closes
			}
			return err
		}
	}
}

func (r *receiver) suback(f codec.Frame) error {
	var a codec.Suback
	if err := a.Decode(f, r.s.o.Version); err != nil {
		return err
	}
	reasons := make([]codec.ReasonCode, len(a.Reasons))
	for i, reason := range a.Reasons {
		reasons[i] = codec.ReasonCode(reason)
	}
	r.s.o.Debug("received SUBACK: %v", reasons)
	stop, err := r.s.o.Subscribed(reasons)
	if err == nil && stop {
		err = errStopped
	}
	return err
}

func (r *receiver) publish(f codec.Frame) error {
	s := r.s
	var p codec.Publish
	if err := p.Decode(f, s.o.Version); err != nil {
		return err
	}
	if err := r.alias(&p); err != nil {
		return err
	}
	s.o.Debug("received PUBLISH (q%d, r%t, m%d, %q, %d bytes)", p.QoS, p.Retain, p.PacketID, p.Topic, len(p.Payload))
	s.mu.Lock()
	again := p.QoS == 2 && s.in[p.PacketID]
	s.mu.Unlock()
	stop := false
	if !again && s.o.Message != nil { // [MQTT-4.3.3-10]
		var err error
		if stop, err = s.o.Message(&p); err != nil {
			return notTaken{err}
		}
	}
	s.mu.Lock()
	switch p.QoS {
	case 1:
		s.ack(codec.TypePuback, p.PacketID, codec.Success)
	case 2:
		s.in[p.PacketID] = true
		s.ack(codec.TypePubrec, p.PacketID, codec.Success)
	}
	s.mu.Unlock()
	if stop {
		return errStopped
	}
	return nil
}

func (r *receiver) alias(p *codec.Publish) error {
	if p.TopicAlias == 0 {
		return nil
	}
	if len(p.Topic) > 0 && p.TopicAlias <= r.s.o.Connect.TopicAliasMaximum {
		r.aliases[p.TopicAlias] = p.Topic.String()
	}
	topic, known := r.aliases[p.TopicAlias]
	if !known { // [MQTT-3.1.2-26]
		return fmt.Errorf("the broker used Topic Alias %d, which it may not", p.TopicAlias)
	}
	p.Topic = codec.View(topic)
	return nil
}

// ack sends an acknowledgement. Caller holds s.mu.
func (s *Session) ack(t codec.PacketType, id uint16, reason codec.ReasonCode) {
	if s.conn == nil {
		return
	}
	s.o.Debug("sending %v (m%d)", t, id)
	b, err := codec.AppendAck(nil, &codec.Ack{Type: t, PacketID: id, Reason: reason}, s.o.Version)
	if err == nil {
		s.write(s.conn, b)
	}
}

func (s *Session) released(f codec.Frame) error {
	var a codec.Ack
	if err := a.Decode(f, s.o.Version); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	reason := codec.PacketIdentifierNotFound
	if s.in[a.PacketID] {
		reason = codec.Success
	}
	delete(s.in, a.PacketID)
	s.ack(codec.TypePubcomp, a.PacketID, reason)
	return nil
}
