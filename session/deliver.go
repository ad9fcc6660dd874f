package session

import (
	"slices"
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
	window
	progress
	quota
	room
}

// startQueue makes the deliverState of a Session that has none.
func (s *Session) startQueue() {
	s.deliverState = &deliverState{progress: progress{next: 1, floor: 1, sent: 1, diskFrom: 1}}
	s.ids.safe = 1
}

func (s *Session) restoreQueue(st *State, l *Loaded) {
	s.next = max(st.Next, l.NextSeq, st.Floor)
	s.floor, s.sent = st.Floor, min(st.Sent, s.next)
	s.sentNoted = s.sent
	s.done, s.released, s.lost = st.Done, st.Released, st.Lost
	s.diskFrom = s.floor
	if l.FirstSeq > s.diskFrom {
		s.diskFrom = l.FirstSeq
	}
	if l.NextSeq <= s.diskFrom {
		s.diskFrom = s.next
	}
	s.queueLen = len(s.released) + s.onDisk()
	s.queueBytes = int64(l.QueuedBytes)
	s.maybeSent = int(st.MaybeSent)
	if stored := s.onDisk(); l.Record.Connected { // the broker died, and may have sent any
		s.maybeSent = stored
	} else { // what came later is certain
		s.maybeSent = min(s.maybeSent, stored)
	}
	s.anyMaybeSent, s.restored = s.maybeSent > 0, s.next
	s.restoreIDs(st.identified)
	s.behind.count = int(s.done.within(s.floor, s.next))
	s.advanceFloor()
}

// stillMaybeSent counts the entries, from the first that is not done, among
// which some may have been sent before a crash and are not known to: another
// crash must not make them certain.
func (s *Session) stillMaybeSent() uint64 {
	if !s.anyMaybeSent {
		return 0
	}
	if s.diskFrom >= s.restored {
		s.maybeSent = 0 // all that it was about is in memory, or done
	}
	undone, last := 0, 0
	for i := range s.queue {
		if s.queue[i].Message == nil {
			continue
		}
		if undone++; s.queue[i].maybeSent && s.queue[i].Seq >= s.sent {
			last = undone
		}
	}
	if s.maybeSent > 0 {
		last = undone + s.maybeSent
	}
	s.anyMaybeSent = last > 0
	return uint64(min(last, packetIDs))
}

// QueueLen is the number of messages queued or on their way to the Client.
func (s *Session) QueueLen() int {
	if s.deliverState == nil {
		return 0
	}
	return s.queueLen
}

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
			if s.attached {
				s.wantPage(fx)
			}
			s.check()
			return
		}
	}
	fx.Awaited = s.attached && e.QoS == 1 && !s.mustWait(e.Seq)
	s.diskFrom = s.next
	s.window.push(queued{Entry: e})
	s.pump(now, fx)
	s.check()
}

// unkept stands for a message that was sent and that nobody will send again.
var unkept = new(Message)

// DeliverUnkept is Deliver for a message that can be sent at once and need not be
// kept, since the Session ends with its Network Connection: what is sent and not
// acknowledged then is lost with it. It gives p, which is to be sent, its Packet
// Identifier. It reports false, and has changed nothing, if Deliver must take the
// message. Until it is acknowledged it counts towards the limits as if it were kept.
func (s *Session) DeliverUnkept(p *codec.Publish) bool {
	if s.durable || !s.attached {
		return false
	}
	if s.deliverState == nil {
		s.startQueue()
	}
	if s.cursor < len(s.queue) || s.inflight >= int(s.receiveMaximum) || s.Full() { // [MQTT-3.3.4-9]
		return false
	}
	q := queued{
		Entry: Entry{Seq: s.next, QoS: p.QoS, Message: unkept}, sentBefore: true,
		unkeptBytes: len(p.Topic) + len(p.Payload) + p.Forward.Len() + 4*len(p.SubscriptionIDs),
	}
	if _, ok := s.identify(&q); !ok {
		return false
	}
	s.next++
	s.diskFrom = s.next
	s.sent = s.next
	bytes := q.bytes()
	s.queueLen++
	s.queueBytes += int64(bytes)
	s.window.push(q)
	s.cursor++
	s.inflight++
	p.PacketID = q.packetID
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
			fx.Expired++
			s.finish(s.cursor, fx)
			continue
		}
		if s.packetBytesMax > 0 && publishBytes(&q.Entry, s.version, now) > int(s.packetBytesMax) { // [MQTT-3.1.2-25]
			fx.TooLarge++
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
	known := q.packetID != 0 // and on disk: it was sent on an earlier connection
	exceptional, ok := s.identify(q)
	if !ok {
		return false
	}
	wait := s.Durable() && !known && (q.QoS == 2 && !q.sentBefore || s.mustWait(q.Seq))
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
	if s.Durable() && (exceptional || q.QoS == 2 && s.sent > s.sentNoted) {
		fx.State = true
	}
	return true
}

// wantPage asks for stored entries when those in memory run out.
func (s *Session) wantPage(fx *Effects) {
	if s.attached && !s.paging && s.diskFrom < s.next && len(s.queue)-s.cursor <= s.limits.WindowMessages/2 {
		s.paging, fx.Page = true, true
	}
}

// PageFrom returns what Paged must be given next: entries with from <= Seq <
// upTo, all of which were handed to the commit group before this call.
func (s *Session) PageFrom() (from, upTo uint64) { return s.diskFrom, s.next }

// PageSize is how much Paged wants: a window, and what DropOldest is to drop, so
// that it keeps up with publishers however long it takes to read a page.
func (s *Session) PageSize() (messages, bytes int) {
	return s.limits.WindowMessages + s.beyond, s.limits.WindowBytes + s.beyondBytes
}

// Paged takes stored entries, read in answer to Effects.Page. If there are
// none, everything before upTo is done.
func (s *Session) Paged(entries []Entry, upTo uint64, now time.Time, fx *Effects) {
	s.paging = false
	for i := range entries {
		e := &entries[i]
		if e.Seq < s.diskFrom || e.Seq >= s.next {
			continue
		}
		s.skipDisk(e.Seq)
		s.diskFrom = e.Seq + 1
		if s.settled(e.Seq) {
			continue
		}
		q := queued{Entry: *e, sentBefore: e.Seq < s.sent}
		if s.maybeSent > 0 && e.Seq < s.restored {
			s.maybeSent--
			q.maybeSent = true
		}
		s.window.push(q)
		if s.over() { // at once, so that no more than a window stays in memory
			s.dropOldest(fx)
		}
	}
	if len(entries) == 0 {
		s.skipDisk(upTo)
		s.diskFrom = max(s.diskFrom, upTo)
	}
	s.advanceFloor()
	s.trim(fx)
	s.pump(now, fx)
	s.check()
}

// Orphans returns, of stored entries read in order after the Session has ended,
// those of Shared Subscriptions that another member may get: what is not done
// and, with QoS 2, cannot have been sent. [MQTT-4.8.2-4] [MQTT-4.8.2-5]
func (s *Session) Orphans(entries []Entry) []Entry {
	var orphans []Entry
	for _, e := range entries {
		if s.done.has(e.Seq) || s.isReleased(e.Seq) {
			continue
		}
		if e.Share != "" && !(e.Seq < s.sent && e.QoS == 2) {
			orphans = append(orphans, e)
		}
	}
	return orphans
}

// skipDisk corrects the length for Seqs below seq that turned out not to be stored.
func (s *Session) skipDisk(seq uint64) {
	if seq > s.diskFrom {
		s.freeMissing(s.diskFrom, seq)
		s.queueLen -= s.progress.unsettled(s.diskFrom, seq)
	}
}

// find returns the index in queue of the entry with this Packet Identifier
// that was sent on the attached connection, or -1.
func (s *Session) find(packetID uint16) int {
	if s.deliverState == nil {
		return -1
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
	s.endProbe(s.queue[i].Seq)
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
	seq := s.seqOf(packetID)
	if s.isReleased(seq) { // a repeated PUBREC is answered again
		fx.Sends = append(fx.Sends, Send{PacketID: packetID, AfterCommit: s.Durable()})
		s.check()
		return true
	}
	i := s.find(packetID)
	if i < 0 || s.queue[i].QoS != 2 {
		return false
	}
	s.endProbe(seq)
	if reason >= 0x80 {
		s.inflight--
		s.finish(i, fx)
		s.pump(now, fx)
		s.check()
		return true
	}
	s.progress.release(seq)
	s.queueBytes -= int64(s.queue[i].bytes())
	s.window.forget(i)
	fx.State = fx.State || s.Durable()
	fx.Sends = append(fx.Sends, Send{PacketID: packetID, AfterCommit: s.Durable()})
	s.check()
	return true
}

// ReceivePubcomp completes a QoS 2 delivery and reports whether there was one.
func (s *Session) ReceivePubcomp(packetID uint16, now time.Time, fx *Effects) (found bool) {
	if s.deliverState == nil {
		return false
	}
	seq := s.seqOf(packetID)
	i, found := slices.BinarySearch(s.released, seq)
	if !found {
		return false
	}
	s.released = slices.Delete(s.released, i, i+1)
	s.inflight--
	s.queueLen--
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

// finish ends the delivery of queue[i].
func (s *Session) finish(i int, fx *Effects) {
	seq := s.queue[i].Seq
	s.queueLen--
	s.queueBytes -= int64(s.queue[i].bytes())
	s.window.forget(i)
	s.markDone(seq, fx)
}

// markDone notes that a delivery has ended.
func (s *Session) markDone(seq uint64, fx *Effects) {
	if s.Durable() {
		fx.Removed = append(fx.Removed, seq)
		s.done.add(seq)
	}
	if s.freeID(seq) && s.Durable() {
		fx.State = true
	}
	s.advanceFloor()
	if s.Durable() && seq >= s.floor {
		if gone := s.progress.noteBehind(seq); len(gone) > 0 {
			fx.DiscardedRanges = append(fx.DiscardedRanges, gone...)
			fx.State = true
		}
	}
}

// advanceFloor moves floor to the first entry that is not done.
func (s *Session) advanceFloor() {
	s.progress.advance(s.window.front(s.diskFrom))
	s.freeBelow(s.floor)
	if s.queueLen == 0 {
		s.queueBytes = 0
	}
}

// Floor is of a Durable Session: every queue entry with a lower Seq is done and
// may be removed.
func (s *Session) Floor() uint64 { return s.floor }

// TakeShared removes and returns the entries of these Shared Subscriptions
// (nil: of any) that may still go to another member: those never sent and,
// if sentToo, the QoS 1 messages that were sent and not acknowledged. A QoS 2
// message whose delivery has started stays. [MQTT-4.8.2-4] [MQTT-4.8.2-5]
// Only entries in memory are seen.
func (s *Session) TakeShared(shares map[string]bool, sentToo bool, fx *Effects) []Entry {
	if s.deliverState == nil {
		return nil
	}
	var taken []Entry
	for i := 0; i < len(s.queue); i++ {
		q := &s.queue[i]
		if q.Message == nil || q.Share == "" || (shares != nil && !shares[q.Share]) {
			continue
		}
		if q.sentBefore && (q.QoS == 2 || !sentToo) {
			continue
		}
		taken = append(taken, q.Entry)
	}
	for _, e := range taken {
		i := s.window.index(e.Seq)
		if s.attached && i < s.cursor {
			s.inflight--
		}
		s.finish(i, fx)
	}
	s.check()
	return taken
}

// publishBytes is the size of the entry's PUBLISH packet without Topic Alias.
func publishBytes(e *Entry, v codec.Version, now time.Time) int {
	p := codec.Publish{
		QoS: e.QoS, PacketID: 1, Topic: codec.View(e.Message.Topic), Payload: e.Message.Payload,
		SubscriptionIDs: e.SubscriptionIDs, Forward: codec.ForwardBytes(e.Message.Forward),
	}
	p.MessageExpirySeconds, p.HasMessageExpiry = e.Message.RemainingExpirySeconds(now)
	return codec.PublishSize(&p, v)
}
