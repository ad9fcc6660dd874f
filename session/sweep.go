package session

import "time"

// A Sweep removes messages from a queue that have been there for too long,
// whether or not the Client ever returns: in memory with SweepWindow, on disk
// by a walk through what is stored, with SweepFrom and SweepPage. What was sent
// stays, as in pump.

// stale reports whether e is to be removed, and counts why. maxAge 0: no limit.
func (e *Entry) stale(now time.Time, maxAge time.Duration, fx *Effects) bool {
	switch {
	case e.Message.Expired(now): // [MQTT-3.3.2-5]
		fx.dropped(e, Expired)
	case maxAge > 0 && !e.QueuedAt.IsZero() && now.Sub(e.QueuedAt) >= maxAge:
		fx.dropped(e, TooOld)
	default:
		return false
	}
	return true
}

// SweepWindow removes entries in memory that were never sent and have expired,
// or have been queued for maxAge; 0: no limit.
func (s *Session) SweepWindow(now time.Time, maxAge time.Duration, fx *Effects) {
	if s.deliverState == nil {
		return
	}
	var gone []uint64
	old := fx.TooOld
	for i := s.cursor; i < len(s.queue); i++ {
		if q := &s.queue[i]; q.Message != nil && !q.sentBefore && q.stale(now, maxAge, fx) {
			gone = append(gone, q.Seq)
		}
	}
	for _, seq := range gone {
		s.finish(s.window.index(seq), fx)
	}
	s.noteLost(fx.TooOld - old)
	s.discard(gone, fx)
	s.wantPage(fx)
	s.check()
}

// SweepFrom begins a walk: the first SweepPage gets the entries from this Seq
// on. Only a Durable Session has something on disk.
func (s *Session) SweepFrom() uint64 {
	if s.deliverState == nil {
		return 0
	}
	return s.floor
}

// SweepPage takes the next stored entries of the walk, all that are stored from
// a Seq on up to the last of them. Those that are on disk only are looked at,
// and those that are done and stand behind others that are not.
func (s *Session) SweepPage(from uint64, entries []Entry, now time.Time, maxAge time.Duration, fx *Effects) {
	var gone []uint64
	old, begins := fx.TooOld, from <= s.floor
	for i := range entries {
		e := &entries[i]
		s.queueLen -= s.progress.missing(from, e.Seq)
		from = e.Seq + 1
		switch {
		case e.Seq >= s.next:
		case s.done.has(e.Seq):
			if !s.attached || e.Seq < s.behind.cleared { // else acknowledgements remove it soon
				gone = append(gone, e.Seq)
			}
		case e.Seq < s.diskFrom || s.settled(e.Seq) || e.Seq < s.sent:
		case e.stale(now, maxAge, fx):
			gone = append(gone, e.Seq)
			s.gaps.add(e.Seq)
			s.queueLen--
			s.queueBytes -= int64(e.Bytes())
		}
	}
	if begins {
		s.noteOldest(entries)
	}
	s.noteLost(fx.TooOld - old)
	s.discard(gone, fx)
	s.advanceFloor()
	s.check()
}

// discard asks for the removal of entries from disk. The State is written with
// it, for the Seqs to be known as used.
func (s *Session) discard(seqs []uint64, fx *Effects) {
	if s.Durable() && len(seqs) > 0 {
		fx.Discarded = append(fx.Discarded, seqs...)
		fx.State = true
	}
}
