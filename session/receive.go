package session

import "slices"

// receiveState is the Client → Server half of the QoS 2 protocol.
type receiveState struct {
	// received are the Packet Identifiers of QoS 2 messages that were
	// accepted and not yet released. At most Receive Maximum of them for a
	// v5 Client, 65,535 for others.
	received []uint16
}

// ReceivePublish notes the Packet Identifier of a QoS 2 PUBLISH and reports
// whether it is a repetition of one that was accepted already, which must be
// acknowledged and not routed again. [MQTT-4.3.3-10]
func (s *Session) ReceivePublish(packetID uint16, fx *Effects) (repeated bool) {
	if slices.Contains(s.received, packetID) {
		return true
	}
	s.received = append(s.received, packetID)
	fx.State = fx.State || s.Durable()
	return false
}

// Receiving reports whether a QoS 2 message with this Packet Identifier was
// accepted and not yet released.
func (s *Session) Receiving(packetID uint16) bool { return slices.Contains(s.received, packetID) }

// ReceivingCount is the number of QoS 2 messages accepted and not yet released.
func (s *Session) ReceivingCount() int { return len(s.received) }

// ReceivePubrel releases a Packet Identifier and reports whether it was in
// use. PUBCOMP must wait until the release is on disk; else the identifier's
// next message would be taken for a repetition after a crash. [MQTT-4.3.3-12]
func (s *Session) ReceivePubrel(packetID uint16, fx *Effects) (found bool) {
	i := slices.Index(s.received, packetID)
	if i < 0 {
		return false
	}
	s.received = slices.Delete(s.received, i, i+1)
	fx.State = fx.State || s.Durable()
	return true
}
