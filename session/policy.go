package session

// A QueuePolicy says what becomes of a QoS 1 or 2 message for a Session whose
// queue is Full.
type QueuePolicy string

const (
	// Reject queues it all the same: the broker asks Full before it routes, and
	// refuses the message to its publisher, or lets Refuse count it.
	Reject QueuePolicy = "reject"
	// DropNewest does not queue it.
	DropNewest QueuePolicy = "drop-newest"
	// DropOldest removes the oldest entries that were never sent.
	DropOldest QueuePolicy = "drop-oldest"
)

// A Limit is what the length of a queue is bounded by.
type Limit uint32

const (
	NoLimit Limit = iota
	ByMessages
	ByBytes
)

// Refuse counts a message that a full queue does not take, whatever the policy.
func (s *Session) Refuse(fx *Effects) {
	fx.DroppedNewest++
	s.noteLost(1)
	s.check()
}

// noteLost counts messages that were dropped although they had not expired: for
// want of room, or because of their age.
func (s *Session) noteLost(n int) {
	if s.durable {
		s.lost += uint64(n)
	}
}

// TakeLost returns how many messages were dropped, since it was last called, for
// want of room or because of their age. What is not Durable is told nothing: it
// cannot be resumed.
func (s *Session) TakeLost() (n uint64) {
	if s.deliverState != nil {
		n, s.lost = s.lost, 0
	}
	s.check()
	return n
}

// overshootWindows bounds, in windows, what DropOldest queues beyond the limits
// while the oldest entries, which are on disk only, are being read.
const overshootWindows = 16

// mayQueue makes room for an entry where the policy asks for it, and reports
// whether the entry is to be queued.
func (s *Session) mayQueue(bytes int, fx *Effects) bool {
	switch {
	case !s.Full(), s.limits.Policy != DropNewest && s.limits.Policy != DropOldest:
		return true
	case s.limits.Policy == DropOldest && s.makeRoom(bytes, fx):
		return true
	}
	s.Refuse(fx)
	return false
}

// makeRoom drops the oldest entries of a full queue. Those on disk only cannot
// be dropped before they were read, for nothing else tells which are there and
// how large they are; until then the queue may exceed its limits.
func (s *Session) makeRoom(bytes int, fx *Effects) bool {
	for s.Full() && s.dropOldest(fx) {
	}
	full := s.Full()
	if s.Spilled() && !s.paging && (full || len(s.queue)-s.cursor <= s.limits.WindowMessages/2) {
		s.paging, fx.Page = true, true
	}
	if !full {
		return true
	}
	if !s.Spilled() || s.beyond >= overshootWindows*s.limits.WindowMessages ||
		s.beyondBytes >= overshootWindows*s.limits.WindowBytes {
		return false
	}
	s.beyond++
	s.beyondBytes += bytes
	s.lastBytes = bytes
	return true
}

// over reports whether the limits are exceeded by what makeRoom let in. As there,
// the last entry may exceed the limit of bytes.
func (s *Session) over() bool {
	return s.beyond > 0 &&
		(s.queueLen > s.limits.QueueMessages || s.queueBytes-int64(s.lastBytes) >= s.limits.QueueBytes)
}

// trim brings the queue back within its limits when older entries have been read: makeRoom
// had let in more.
func (s *Session) trim(fx *Effects) {
	if s.beyond == 0 {
		return
	}
	for s.over() && s.dropOldest(fx) {
	}
	if s.over() && s.Spilled() {
		s.paging, fx.Page = true, true
		return
	}
	s.beyond, s.beyondBytes = 0, 0
}

// dropOldest ends the delivery of the oldest entry in memory that was never
// sent, and reports whether there was one. What was sent stays: the Client may
// have it and acknowledge it. [MQTT-4.4.0-1]
func (s *Session) dropOldest(fx *Effects) bool {
	i := s.cursor
	for i < len(s.queue) && (s.queue[i].Message == nil || s.queue[i].sentBefore) {
		i++
	}
	if i == len(s.queue) {
		return false
	}
	seq, bytes := s.queue[i].Seq, s.queue[i].bytes()
	s.queueBytes -= int64(bytes)
	fx.dropped(&s.queue[i].Entry, MadeRoom)
	s.window.drop(i)
	s.noteLost(1)
	s.markDone(seq, fx)
	return true
}
