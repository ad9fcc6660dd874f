package session

import "time"

// wantPage asks for stored entries when those in memory run out.
func (s *Session) wantPage(fx *Effects) {
	if s.attached && !s.paging && s.diskFrom < s.next && len(s.queue)-s.cursor <= s.limits.WindowMessages/2 {
		s.paging, fx.Page = true, true
	}
}

// PageFrom returns what Paged must be given next: entries with from <= Seq <
// upTo, all of which were handed to the commit group before this call.
func (s *Session) PageFrom() (from, upTo uint64) { return s.diskFrom, s.next }

// PageSize is how much to read for Paged: a window, and what makeRoom let in beyond the
// limits, so that dropping keeps up with publishers however long a read takes.
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
		q := s.window.push(e.Bytes())
		q.Entry, q.sentBefore = *e, e.Seq < s.sent
		if s.maybeSent > 0 && e.Seq < s.restored {
			s.maybeSent--
			q.maybeSent = e.QoS == 1 // sent tells which with QoS 2 may have been
		}
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

// skipDisk corrects the length for Seqs below seq that turned out not to be stored.
func (s *Session) skipDisk(seq uint64) {
	if seq > s.diskFrom {
		s.freeMissing(s.diskFrom, seq)
		s.queueLen -= s.progress.unsettled(s.diskFrom, seq)
	}
}
