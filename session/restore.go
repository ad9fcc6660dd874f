package session

// restoreQueue takes over what is stored of a queue.
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
