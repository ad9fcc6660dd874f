package session

// receiveState is the Client → Server half of the QoS 2 protocol.
type receiveState struct {
	// received are the Packet Identifiers of QoS 2 messages that were accepted
	// and not yet released; nil: there was none on this connection.
	received *PacketIDs
}

// A Reception says what a QoS 2 PUBLISH is.
type Reception byte

const (
	// Accepted: a new message.
	Accepted Reception = iota
	// Repeated: one that was accepted already, which must be acknowledged and not
	// routed again. [MQTT-4.3.3-10]
	Repeated
	// InUse: another one, with a Packet Identifier that is not free. Section 2.2.1.
	InUse
)

// ReceivePublish notes the Packet Identifier of a QoS 2 PUBLISH. digest tells its
// message from others, as far as 16 bits can; 0: it is not known. It is remembered
// until the Client releases the identifier or the connection ends. With DUP set the
// Client says itself that the message is sent again.
func (s *Session) ReceivePublish(packetID, digest uint16, dup bool, fx *Effects) Reception {
	if page := s.received.page(packetID); page != nil {
		if digest != 0 && !dup && page.digests != nil {
			if was := page.digests[packetID%idsInPage]; was != 0 && was != digest {
				return InUse
			}
		}
		return Repeated
	}
	if s.received == nil {
		s.received = new(PacketIDs)
	}
	s.received.add(packetID, digest)
	fx.State = fx.State || s.Durable()
	return Accepted
}

// Receiving reports whether a QoS 2 message with this Packet Identifier was
// accepted and not yet released.
func (s *Session) Receiving(packetID uint16) bool { return s.received.Has(packetID) }

// ReceivingCount is the number of QoS 2 messages accepted and not yet released.
func (s *Session) ReceivingCount() int { return s.received.Len() }

// ReceivePubrel releases a Packet Identifier and reports whether it was in
// use. PUBCOMP must wait until the release is on disk; else the identifier's
// next message would be taken for a repetition after a crash. [MQTT-4.3.3-12]
func (s *Session) ReceivePubrel(packetID uint16, fx *Effects) (found bool) {
	if s.received == nil || !s.received.remove(packetID) {
		return false
	}
	fx.State = fx.State || s.Durable()
	return true
}

// detachReceived forgets what counts for one connection only.
func (s *receiveState) detachReceived() {
	if s.received.Len() == 0 {
		s.received = nil
		return
	}
	s.received.forgetDigests()
}
