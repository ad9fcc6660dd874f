package session

import "time"

// OldestQueued is when the message was queued that waits longest, those that await PUBCOMP
// apart; zero: there is none, or it is not known.
func (s *Session) OldestQueued() time.Time {
	switch {
	case s.deliverState == nil || s.queueLen == 0:
	case len(s.queue) > 0:
		return s.queue[0].QueuedAt
	case s.diskFrom < s.next && s.oldestOnDisk != 0:
		return time.Unix(int64(s.oldestOnDisk), 0)
	}
	return time.Time{}
}

// noteOldest notes how old the queue is if all of it is on disk only, from stored entries of
// its beginning.
func (s *Session) noteOldest(entries []Entry) {
	if len(s.queue) > 0 {
		return
	}
	for i := range entries {
		if e := &entries[i]; e.Seq >= s.diskFrom && !s.settled(e.Seq) && !e.QueuedAt.IsZero() {
			s.oldestOnDisk = uint32(e.QueuedAt.Unix())
			return
		}
	}
}
