package session

import (
	"sort"
	"time"
)

// A Sweep removes messages from a queue that have been there for too long,
// whether or not the Client ever returns: in memory with SweepWindow, on disk
// by a walk through what is stored, with SweepFrom and SweepPage. What was sent
// stays, as in pump.

// stale reports whether e is to be removed, and counts why. maxAge 0: no limit.
func (e *Entry) stale(now time.Time, maxAge time.Duration, fx *Effects) bool {
	switch {
	case e.Message.Expired(now): // [MQTT-3.3.2-5]
		fx.Expired++
	case maxAge > 0 && !e.QueuedAt.IsZero() && now.Sub(e.QueuedAt) >= maxAge:
		fx.TooOld++
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
		s.finish(sort.Search(len(s.queue), func(i int) bool { return s.queue[i].Seq >= seq }), fx)
	}
	s.noteLost(fx.TooOld - old)
	s.discard(gone, fx)
	s.wantPage(fx)
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
	old := fx.TooOld
	for i := range entries {
		e := &entries[i]
		s.missing(from, e.Seq)
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
	s.noteLost(fx.TooOld - old)
	s.discard(gone, fx)
	s.advanceFloor()
}

// settled reports whether the entry, on disk only, is done or was removed.
func (s *Session) settled(seq uint64) bool {
	return s.done.has(seq) || s.gaps.has(seq) || s.isReleased(seq)
}

// missing notes that no Seq from <= seq < to is stored: after a crash, entries
// that were never written are taken for stored until then.
func (s *Session) missing(from, to uint64) {
	for seq := max(from, s.diskFrom); seq < min(to, s.next); seq++ {
		if last, ok := s.gaps.rangeOf(seq); ok {
			seq = last
		} else if last, ok := s.done.rangeOf(seq); ok {
			seq = last
		} else if !s.isReleased(seq) {
			s.gaps.add(seq)
			s.queueLen--
		}
	}
}

// discard asks for the removal of entries from disk. The State is written with
// it, for the Seqs to be known as used.
func (s *Session) discard(seqs []uint64, fx *Effects) {
	if s.Durable() && len(seqs) > 0 {
		fx.Discarded = append(fx.Discarded, seqs...)
		fx.State = true
	}
}

// behindMax is how many entries that are done may be stored behind one that is not,
// beside those that are stored in one run with such a one.
const behindMax = 512

// behind is about the entries that are done and stand behind one that is not. While
// floor does not move they leave the disk in ranges.
type behind struct {
	count   int    // since it was last looked at
	from    uint64 // the first of those not discarded
	cleared uint64 // those below were discarded, but for some from from on
}

// noteBehind counts an entry that is done and not below floor, and discards all such
// when there are many.
func (s *Session) noteBehind(seq uint64, fx *Effects) {
	b := &s.behind
	b.from = min(b.from, seq)
	if b.count++; b.count < max(behindMax, len(s.done)) {
		return
	}
	b.count = int(s.done.within(max(s.floor, b.cleared), s.next)) // floor has passed the others
	if b.count < max(behindMax, len(s.done)) {
		return
	}
	fx.DiscardedRanges = append(fx.DiscardedRanges, s.done[s.done.from(b.from):]...)
	fx.State = true
	cleared := s.done[len(s.done)-1].Last + 1
	*b = behind{from: cleared, cleared: cleared}
}
