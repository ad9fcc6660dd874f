package session

import (
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// deliverState is the Server → Client half: the queue of QoS 1 and 2 messages, in
// parts that each have a file and an invariant of their own. See check.
//
// Every entry below floor is done. From floor on, an entry is in memory (in
// the window), awaits PUBCOMP (in released), is done (in done), or is on disk only
// (from diskFrom to next, without those in gaps). A Session that is not Durable has all in memory.
type deliverState struct {
	room
	quota
	window
	progress
	owed map[string]struct{} // the subscriptions that Owe has noted something for
}

// startQueue makes the deliverState of a Session that has none.
func (s *Session) startQueue() {
	s.deliverState = &deliverState{progress: progress{next: 1, floor: 1, sent: 1, diskFrom: 1}}
	s.ids.safe = 1
	s.notePlain()
}

// QueueLen is the number of messages queued or on their way to the Client.
func (s *Session) QueueLen() int {
	if s.deliverState == nil {
		return 0
	}
	return s.queueLen
}

// QueueBytes is what those messages count towards the limit of the queue, in bytes; of those
// on disk only, as far as known.
func (s *Session) QueueBytes() int64 {
	if s.deliverState == nil {
		return 0
	}
	return s.queueBytes
}

// InFlight is the number of QoS 1 and 2 messages that were sent on the connection attached
// now and are not done; 0 if there is none.
func (s *Session) InFlight() int {
	if s.deliverState == nil {
		return 0
	}
	return s.inflight
}

// FullBy returns the limit that the queue has reached, if any.
func (s *Session) FullBy() Limit {
	messages, bytes := 0, int64(0)
	if s.deliverState != nil {
		messages, bytes = s.queueLen, s.queueBytes
	}
	switch {
	case messages >= s.limits.QueueMessages:
		return ByMessages
	case bytes >= s.limits.QueueBytes:
		return ByBytes
	}
	return NoLimit
}

// Full reports whether the queue has reached its limits.
func (s *Session) Full() bool { return s.FullBy() != NoLimit }

// Unsent is how many messages are queued that were never sent, as far as known.
func (s *Session) Unsent() int {
	if s.deliverState == nil {
		return 0
	}
	n := s.onDisk()
	for i := range s.queue {
		if q := &s.queue[i]; q.Message != nil && !q.sentBefore {
			n++
		}
	}
	return n
}

// Spilled reports whether entries wait on disk only.
func (s *Session) Spilled() bool { return s.deliverState != nil && s.diskFrom < s.next }

// Attached reports whether a Network Connection takes what is delivered.
func (s *Session) Attached() bool { return s.attached }

// Attach makes a Network Connection take the queue: PUBREL and then PUBLISH
// packets that were sent before and not acknowledged are sent again in order
// with their Packet Identifiers. [MQTT-4.4.0-1] [MQTT-4.6.0-1] These await no
// commit, so that nothing new overtakes them: the caller has waited for the
// commit of all that earlier connections did.
// receiveMaximum is the Client's, packetBytesMax its Maximum Packet Size; 0: none.
func (s *Session) Attach(receiveMaximum uint16, packetBytesMax uint32, now time.Time, fx *Effects) {
	s.Detach()
	s.attached = true
	s.receiveMaximum = uint16(min(int(receiveMaximum), s.limits.Inflight))
	s.packetBytesMax = packetBytesMax
	if s.deliverState == nil {
		return
	}
	s.ids.safe, s.ids.probe = s.floor, 0
	s.notePlain()
	for _, seq := range s.released {
		s.inflight++
		fx.Sends = append(fx.Sends, Send{PacketID: s.packetIDOf(seq)})
	}
	s.pump(now, fx)
	s.check()
}

// Detach notes that the Network Connection is gone.
func (s *Session) Detach() {
	s.attached = false
	s.detachReceived()
	if d := s.deliverState; d != nil {
		d.inflight, d.cursor, d.paging = 0, 0, false
	}
	s.check()
}

// Deliver queues an entry (its Seq is assigned here) unless the queue is full
// and its policy against it, and sends what may be sent.
func (s *Session) Deliver(e Entry, now time.Time, fx *Effects) {
	if s.deliverState == nil {
		s.startQueue()
	}
	bytes := e.Bytes()
	if !s.mayQueue(bytes, fx) {
		s.check()
		return
	}
	e.Seq, e.QueuedAt = s.next, now
	s.next++
	s.queueLen++
	s.queueBytes += int64(bytes)
	if s.Durable() {
		fx.Entries = append(fx.Entries, e)
		if s.diskFrom < e.Seq || s.window.full(bytes, s.limits) {
			s.wantPage(fx)
			s.check()
			return
		}
	}
	fx.Awaited = s.durable && s.attached && e.QoS == 1 && !s.mustWait(e.Seq)
	s.diskFrom = s.next
	s.window.push(bytes).Entry = e
	s.pump(now, fx)
	s.check()
}

// sentNotKept stands for a message that was sent and that nobody will send again.
var sentNotKept = new(Message)

// SendNow is Deliver for a message that can be sent at once and need not be
// kept, since the Session ends with its Network Connection: what is sent and not
// acknowledged then is lost with it. It gives p, which is to be sent, its Packet
// Identifier. It reports false, and has changed nothing, if Deliver must take the
// message. Until it is acknowledged it counts towards the limits as if it were kept.
func (s *Session) SendNow(p *codec.Publish) bool {
	if s.durable || !s.attached {
		return false
	}
	if s.deliverState == nil {
		s.startQueue()
	}
	if s.cursor < len(s.queue) || s.inflight >= int(s.receiveMaximum) || s.Full() { // [MQTT-3.3.4-9]
		return false
	}
	if s.packetBytesMax > 0 && uint64(codec.PublishSize(p, s.version)) > uint64(s.packetBytesMax) { // [MQTT-3.1.2-25]
		return false
	}
	seq := s.next
	packetID := uint16(seq - s.ids.before)
	if seq >= s.ids.plain { // seldom
		var ok bool
		if packetID, _, ok = s.identify(seq); !ok {
			return false
		}
	}
	s.next++
	s.diskFrom = s.next
	s.sent = s.next
	notKeptBytes := len(p.Topic) + len(p.Payload) + p.Forward.Len() + 4*len(p.SubscriptionIDs)
	bytes := messageOverhead + entryOverhead + notKeptBytes
	n := len(s.queue)
	if n == cap(s.queue) {
		s.window.grow()
	}
	s.queue = s.queue[:n+1] // as push does: the new one is zero
	q := &s.queue[n]
	q.Seq, q.QoS, q.Message, q.sentBefore, q.packetID, q.notKeptBytes = seq, p.QoS, sentNotKept, true, packetID, notKeptBytes
	s.windowBytes += bytes
	s.queueLen++
	s.queueBytes += int64(bytes)
	s.cursor++
	s.inflight++
	p.PacketID = packetID
	s.check()
	return true
}

// pump sends from the queue as far as the send quota reaches. [MQTT-3.3.4-9] [MQTT-4.9.0-2]
func (s *Session) pump(now time.Time, fx *Effects) {
	if !s.attached {
		return
	}
	for s.cursor < len(s.queue) && s.inflight < int(s.receiveMaximum) {
		q := &s.queue[s.cursor]
		if q.Message == nil {
			s.cursor++
			continue
		}
		if !q.sentBefore && q.Message.Expired(now) { // [MQTT-3.3.2-5] [MQTT-4.3.3-7]
			fx.dropped(&q.Entry, Expired)
			s.finish(s.cursor, fx)
			continue
		}
		if s.packetBytesMax > 0 && uint64(publishBytes(&q.Entry, s.version, now)) > uint64(s.packetBytesMax) { // [MQTT-3.1.2-25]
			fx.dropped(&q.Entry, TooLarge)
			s.finish(s.cursor, fx)
			continue
		}
		if !s.sendEntry(q, fx) {
			break
		}
	}
	s.wantPage(fx)
}

// sendEntry reports false if no Packet Identifier is free.
func (s *Session) sendEntry(q *queued, fx *Effects) bool {
	wait, exceptional := false, false
	if q.packetID == 0 { // else it is on disk: it was sent on an earlier connection
		ok := true
		if q.Seq > s.ids.before && q.Seq < s.ids.plain {
			q.packetID = uint16(q.Seq - s.ids.before)
		} else if q.packetID, exceptional, ok = s.identify(q.Seq); !ok {
			return false
		}
		wait = s.durable && (q.QoS == 2 && !q.sentBefore || s.mustWait(q.Seq))
	}
	fx.Sends = append(fx.Sends, Send{
		Message: q.Message, PacketID: q.packetID, QoS: q.QoS,
		Dup: q.sentBefore || q.maybeSent, Retain: q.Retain, SubscriptionIDs: q.SubscriptionIDs, // [MQTT-3.3.1-1]
		AfterCommit: wait, Shared: q.Share != "",
	})
	q.sentBefore = true
	s.inflight++
	s.cursor++
	s.sent = max(s.sent, q.Seq+1)
	if wait {
		s.startProbe(q.Seq)
	}
	// Before it leaves, so that nothing else becomes of it after a crash.
	if s.durable && (exceptional || q.QoS == 2 && s.sent > s.sentNoted) {
		fx.State = true
	}
	return true
}

// finish ends the delivery of queue[i].
func (s *Session) finish(i int, fx *Effects) {
	seq := s.queue[i].Seq
	s.queueBytes -= int64(s.window.forget(i))
	s.markDone(seq, fx)
}

// markDone notes that a delivery has ended.
func (s *Session) markDone(seq uint64, fx *Effects) {
	s.queueLen--
	if s.durable {
		fx.Removed = append(fx.Removed, seq)
		if seq != s.floor || seq >= s.diskFrom { // else floor is about to pass it
			s.done.add(seq)
		}
	}
	if (s.ids.x != nil || s.ids.probe == seq) && s.freeID(seq) && s.durable {
		fx.State = true
	}
	s.advanceFloor()
	if s.durable && seq >= s.floor {
		if gone := s.progress.noteBehind(seq); len(gone) > 0 {
			fx.DiscardedRanges = append(fx.DiscardedRanges, gone...)
			fx.State = true
		}
	}
}

// advanceFloor moves floor to the first entry that is not done.
func (s *Session) advanceFloor() {
	front := s.window.front(s.diskFrom)
	if len(s.released)+len(s.done)+len(s.gaps) == 0 {
		s.floor = front
	} else {
		s.progress.advance(front)
	}
	if s.ids.x != nil {
		s.freeBelow(s.floor)
	}
	if s.queueLen == 0 {
		s.queueBytes = 0
	}
}

// Floor is of a Durable Session: every queue entry with a lower Seq is done and
// may be removed.
func (s *Session) Floor() uint64 { return s.floor }

// publishBytes is the size of the entry's PUBLISH packet without Topic Alias.
func publishBytes(e *Entry, v codec.Version, now time.Time) int {
	p := codec.Publish{
		QoS: e.QoS, PacketID: 1, Topic: codec.View(e.Message.Topic), Payload: e.Message.Payload,
		SubscriptionIDs: e.SubscriptionIDs, Forward: codec.ForwardBytes(e.Message.Forward),
	}
	p.MessageExpirySeconds, p.HasMessageExpiry = e.Message.RemainingExpirySeconds(now)
	return codec.PublishSize(&p, v)
}
