package session

import (
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// find returns the index in queue of the entry with this Packet Identifier
// that was sent on the attached connection, or -1.
func (s *Session) find(packetID uint16) int {
	if s.deliverState == nil {
		return -1
	}
	if s.cursor > 0 && s.queue[0].packetID == packetID { // nearly always
		return 0
	}
	if i := s.window.index(s.seqOf(packetID)); i < s.cursor {
		return i
	}
	return -1
}

// ReceivePuback completes a QoS 1 delivery, whatever its Reason Code
// [MQTT-4.4.0-2], and reports whether there was one. A PUBACK for a QoS 2
// message is not an acknowledgement of it.
func (s *Session) ReceivePuback(packetID uint16, now time.Time, fx *Effects) (found bool) {
	i := s.find(packetID)
	if i < 0 || s.queue[i].QoS != 1 {
		return false
	}
	fx.Acknowledged = true
	s.inflight--
	if s.queue[i].Seq == s.ids.probe {
		s.endProbe()
	}
	s.finish(i, fx)
	s.pump(now, fx)
	s.check()
	return true
}

// ReceivePubrec moves a QoS 2 delivery on: with a Reason Code of 0x80 or
// greater it ends it, else PUBREL is to be sent after the commit and PUBLISH
// never again. [MQTT-4.3.3-4] [MQTT-4.3.3-6] It reports whether there was one.
func (s *Session) ReceivePubrec(packetID uint16, reason codec.ReasonCode, now time.Time, fx *Effects) (found bool) {
	if s.deliverState == nil {
		return false
	}
	i := s.find(packetID)
	if i < 0 && s.isReleased(s.seqOf(packetID)) { // a repeated PUBREC is answered again
		fx.Sends = append(fx.Sends, Send{PacketID: packetID, AfterCommit: s.durable})
		s.check()
		return true
	}
	if i < 0 || s.queue[i].QoS != 2 {
		return false
	}
	seq := s.queue[i].Seq
	if seq == s.ids.probe {
		s.endProbe()
	}
	if reason >= 0x80 {
		s.inflight--
		s.finish(i, fx)
		s.pump(now, fx)
		s.check()
		return true
	}
	s.progress.release(seq)
	s.queueBytes -= int64(s.window.forget(i))
	fx.State = fx.State || s.durable
	fx.Sends = append(fx.Sends, Send{PacketID: packetID, AfterCommit: s.durable})
	s.check()
	return true
}

// ReceivePubcomp completes a QoS 2 delivery and reports whether there was one.
func (s *Session) ReceivePubcomp(packetID uint16, now time.Time, fx *Effects) (found bool) {
	if s.deliverState == nil {
		return false
	}
	seq := s.seqOf(packetID)
	if !s.progress.complete(seq) {
		return false
	}
	s.inflight--
	s.markDone(seq, fx)
	s.pump(now, fx)
	s.check()
	return true
}

// Awaits returns the acknowledgement that a delivery on the attached connection
// with this Packet Identifier waits for: PUBACK, PUBREC or PUBCOMP; 0: there is
// none. A PUBREC may also come again while PUBCOMP is awaited.
func (s *Session) Awaits(packetID uint16) codec.PacketType {
	switch i := s.find(packetID); {
	case i >= 0 && s.queue[i].QoS == 1:
		return codec.TypePuback
	case i >= 0:
		return codec.TypePubrec
	case s.deliverState != nil && s.isReleased(s.seqOf(packetID)):
		return codec.TypePubcomp
	}
	return 0
}
