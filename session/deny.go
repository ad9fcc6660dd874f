package session

import "time"

// Deny ends a delivery that has just been sent, by the Effects of the event before, to a
// Client that may not have the message: the packet did not leave. It gives back the Packet
// Identifier and the place in the send quota, and sends what is next. Nothing of the message
// is kept: it is removed from disk as if it were acknowledged. If sent.MayGoOn it is returned
// for another member of its Shared Subscription, to be stored in the same commit group.
//
// A message with QoS 2 whose PUBLISH was sent before may be half delivered: its receiver
// would take the next message with the same Packet Identifier for it. PUBREL, sent in its
// place, ends that, and nothing of the message is sent again.
func (s *Session) Deny(sent *Send, now time.Time, fx *Effects) (e Entry) {
	i := s.find(sent.PacketID)
	if i < 0 {
		return Entry{}
	}
	q := &s.queue[i]
	if q.Seq == s.ids.probe {
		s.endProbe()
	}
	if q.QoS == 2 && sent.Dup {
		s.progress.release(q.Seq)
		s.queueBytes -= int64(s.window.forget(i))
		fx.State = s.durable
		fx.Sends = append(fx.Sends, Send{PacketID: sent.PacketID, AfterCommit: s.durable})
		s.check()
		return Entry{}
	}
	e = q.Entry
	fx.Acknowledged = !sent.MayGoOn()
	s.inflight--
	s.finish(i, fx)
	s.pump(now, fx)
	s.check()
	return e
}
