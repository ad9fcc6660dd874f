package session

// A Stage is how far the delivery of a queued message has come.
type Stage byte

const (
	Gone     Stage = iota // it is not in the queue, or not any more
	Queued                // it was not sent
	Sent                  // on the connection attached now or on one before, as far as known
	Received              // PUBREC has come, and PUBCOMP is awaited; the message is not kept for it
)

// A Waiting is an entry of the queue that is in memory. Its Message is nil if it is not kept:
// because it was received, or need not be sent again.
type Waiting struct {
	Entry
	Stage Stage
}

// Waiting returns up to entriesMax entries with Seq >= from that are in memory, in order. All
// others have a Seq that is at least that of PageFrom.
func (s *Session) Waiting(from uint64, entriesMax int) []Waiting {
	if s.deliverState == nil {
		return nil
	}
	var list []Waiting
	released := s.released
	for len(released) > 0 && released[0] < from {
		released = released[1:]
	}
	for i := range s.queue {
		q := &s.queue[i]
		if q.Message == nil || q.Seq < from {
			continue
		}
		for len(released) > 0 && released[0] < q.Seq && len(list) < entriesMax {
			list, released = append(list, received(released[0])), released[1:]
		}
		if len(list) == entriesMax {
			return list
		}
		w := Waiting{Entry: q.Entry, Stage: s.stageInMemory(i)}
		if q.Message == sentNotKept {
			w.Message = nil
		}
		list = append(list, w)
	}
	for len(released) > 0 && len(list) < entriesMax {
		list, released = append(list, received(released[0])), released[1:]
	}
	return list
}

func received(seq uint64) Waiting {
	return Waiting{Entry: Entry{Seq: seq, QoS: 2}, Stage: Received}
}

func (s *Session) stageInMemory(i int) Stage {
	if i < s.cursor || s.queue[i].sentBefore {
		return Sent
	}
	return Queued
}

// StageOf is how far the entry with this Seq is, which was in the queue.
func (s *Session) StageOf(seq uint64) Stage {
	switch {
	case s.deliverState == nil || seq < s.floor:
		return Gone
	case s.isReleased(seq):
		return Received
	case seq < s.diskFrom:
		if i := s.window.index(seq); i < len(s.queue) {
			return s.stageInMemory(i)
		}
		return Gone
	case s.settled(seq):
		return Gone
	case seq < s.sent:
		return Sent
	}
	return Queued
}
