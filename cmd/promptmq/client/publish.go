package client

import (
	"context"
	"fmt"
	"slices"

	"github.com/x0a1b/promptmq/codec"
)

// window is how many messages may be on their way. Caller holds s.mu.
func (s *Session) window() int {
	n := 65535
	if s.accepted.ReceiveMaximum > 0 { // [MQTT-3.3.4-9]
		n = int(s.accepted.ReceiveMaximum)
	}
	if s.o.InFlightMax > 0 {
		n = min(n, s.o.InFlightMax)
	}
	return n
}

// newID returns a Packet Identifier that is not in use. Caller holds s.mu.
func (s *Session) newID() uint16 {
	for {
		s.lastID++
		if s.lastID != 0 && !slices.ContainsFunc(s.out, func(m *outgoing) bool { return m.p.PacketID == s.lastID }) { // [MQTT-2.2.1-3]
			return s.lastID
		}
	}
}

// sendMessage writes a PUBLISH. Caller holds s.mu.
func (s *Session) sendMessage(m *outgoing) {
	b, err := codec.AppendPublish(nil, &m.p, s.o.Version)
	if err != nil {
		return // Publish has looked
	}
	s.o.Debug("sending PUBLISH (d%t, q%d, r%t, m%d, %q, %d bytes)", m.p.Dup, m.p.QoS, m.p.Retain, m.p.PacketID, m.p.Topic, len(m.p.Payload))
	m.sent = true
	s.write(s.conn, b)
}

// await waits until is, which is asked with s.mu held, and returns with s.mu held if err is nil.
func (s *Session) await(ctx context.Context, is func() bool) error {
	for {
		s.mu.Lock()
		if is() {
			return nil
		}
		ended, changed := s.ended, s.changed
		s.mu.Unlock()
		if ended != nil {
			return ended
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// Publish sends a message when there is a connection and the Receive Maximum of the Server has room for
// it. It keeps p of QoS 1 and 2 until it is acknowledged.
func (s *Session) Publish(ctx context.Context, p codec.Publish) error {
	err := s.await(ctx, func() bool { return s.conn != nil && (p.QoS == 0 || len(s.out) < s.window()) })
	if err != nil {
		return err
	}
	defer s.mu.Unlock()
	a := &s.accepted
	if a.HasMaximumQoS && p.QoS > a.MaximumQoS { // [MQTT-3.2.2-11]
		return fmt.Errorf("the broker takes QoS %d at most", a.MaximumQoS)
	}
	if p.Retain && a.RetainUnavailable { // [MQTT-3.2.2-14]
		return fmt.Errorf("the broker takes no retained messages")
	}
	if p.QoS > 0 {
		p.PacketID = s.newID()
	}
	if n := codec.PublishSize(&p, s.o.Version); a.MaximumPacketSize > 0 && n > int(a.MaximumPacketSize) { // [MQTT-3.2.2-15]
		return fmt.Errorf("the message makes a packet of %d bytes, and the broker takes %d at most", n, a.MaximumPacketSize)
	}
	if _, err := codec.AppendPublish(nil, &p, s.o.Version); err != nil {
		return err
	}
	m := &outgoing{p: p}
	if p.QoS > 0 {
		s.out = append(s.out, m)
	}
	s.sendMessage(m)
	return nil
}

// Drain waits until all that was published is acknowledged.
func (s *Session) Drain(ctx context.Context) error {
	if err := s.await(ctx, func() bool { return len(s.out) == 0 && s.conn != nil }); err != nil {
		return err
	}
	s.mu.Unlock()
	return nil
}

// acknowledged takes PUBACK, PUBREC and PUBCOMP.
func (s *Session) acknowledged(f codec.Frame) error {
	var a codec.Ack
	if err := a.Decode(f, s.o.Version); err != nil {
		return err
	}
	s.o.Debug("received %v (m%d): %v", a.Type, a.PacketID, a.Reason)
	s.mu.Lock()
	i := slices.IndexFunc(s.out, func(m *outgoing) bool { return m.p.PacketID == a.PacketID })
	if i < 0 {
		if a.Type == codec.TypePubrec {
			s.ack(codec.TypePubrel, a.PacketID, codec.PacketIdentifierNotFound)
		}
		s.mu.Unlock()
		return nil
	}
	m := s.out[i]
	if (a.Type == codec.TypePuback) != (m.p.QoS == 1) {
		s.mu.Unlock()
		return fmt.Errorf("the broker answered a message of QoS %d with %v", m.p.QoS, a.Type)
	}
	if a.Type == codec.TypePubrec && a.Reason < codec.UnspecifiedError {
		m.received = true
		s.ack(codec.TypePubrel, a.PacketID, codec.Success) // [MQTT-4.3.3-4]
		s.mu.Unlock()
		return nil
	}
	s.out = slices.Delete(s.out, i, i+1)
	if w := s.window(); len(s.out) >= w && !s.out[w-1].sent { // what resume had no room for
		s.sendMessage(s.out[w-1])
	}
	s.signal()
	s.mu.Unlock()
	if a.Type == codec.TypePubcomp {
		// PUBREC said that the Server has it. That PUBREL, sent again, finds nothing, is how it is if
		// only PUBCOMP was lost. Section 4.3.3.
		a.Reason = codec.Success
	}
	if s.o.Done != nil {
		s.o.Done(m.p.Topic.String(), a.Reason)
	}
	return nil
}
