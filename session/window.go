package session

import "sort"

// window is the part of the queue that is in memory.
type window struct {
	ring        []queued // the memory that queue moves through
	queue       []queued // ascending Seq; a nil Message is done. queue[0] is not. What is behind it is zero.
	cursor      int      // index in queue of the next entry to send on the connection attached now
	windowBytes int      // bytes of queue
	holes       int      // the done ones in queue
}

type queued struct {
	Entry
	sentBefore bool   // on this or an earlier connection
	maybeSent  bool   // before a crash
	packetID   uint16 // 0: none yet
	// notKeptBytes are those of the message that sentNotKept stands for.
	notKeptBytes int
}

// bytes is what the entry counts towards the queue limits.
func (q *queued) bytes() int { return q.Entry.Bytes() + q.notKeptBytes }

// full reports whether one more entry would be more than the window may hold.
func (w *window) full(bytes int, l *Limits) bool {
	if len(w.queue) == 0 {
		return false
	}
	messagesMax, bytesMax := l.WindowMessages, l.WindowBytes
	if l.Scarce != nil && l.Scarce.Load() {
		messagesMax, bytesMax = messagesMax/scarceShare, bytesMax/scarceShare
	}
	return len(w.queue)-w.holes >= messagesMax || w.windowBytes+bytes > bytesMax
}

// scarceShare: see Limits.Scarce.
const scarceShare = 16

// front returns the Seq of the first entry; otherwise if there is none.
func (w *window) front(otherwise uint64) uint64 {
	if len(w.queue) > 0 {
		return w.queue[0].Seq
	}
	return otherwise
}

// index returns where the entry with this Seq stands; len(w.queue): nowhere, or it
// is done.
func (w *window) index(seq uint64) int {
	if len(w.queue) == 0 || seq < w.queue[0].Seq {
		return len(w.queue)
	}
	i := int(min(seq-w.queue[0].Seq, uint64(len(w.queue)-1))) // nearly always, if nothing is missing before it
	if w.queue[i].Seq == seq && w.queue[i].Message != nil {
		return i
	}
	i = sort.Search(len(w.queue), func(i int) bool { return w.queue[i].Seq >= seq })
	if i < len(w.queue) && (w.queue[i].Seq != seq || w.queue[i].Message == nil) {
		return len(w.queue)
	}
	return i
}

// holesMax is how many done entries may stand in the queue behind one that is not,
// if they are not more than half of it.
const holesMax = 32

// forget drops queue[i] from memory and returns its bytes.
func (w *window) forget(i int) (bytes int) {
	q := &w.queue[i]
	bytes = q.bytes()
	w.windowBytes -= bytes
	if i > 0 {
		*q = queued{Entry: Entry{Seq: q.Seq}}
		if w.holes++; w.holes > holesMax && 2*w.holes > len(w.queue) {
			w.compact()
		}
		return bytes
	}
	*q = queued{}
	w.leave(1)
	if w.holes > 0 {
		w.leaveHoles()
	}
	if len(w.queue) == 0 {
		w.queue = w.ring[:0]
	}
	return bytes
}

// leave takes the first n out of the queue, which are zero.
func (w *window) leave(n int) {
	w.queue = w.queue[n:]
	w.cursor = max(0, w.cursor-n)
}

// leaveHoles takes the done ones out that are first now.
func (w *window) leaveHoles() {
	n := 0
	for n < len(w.queue) && w.queue[n].Message == nil {
		n++
	}
	clear(w.queue[:n])
	w.holes -= n
	w.leave(n)
}

// compact takes the done entries out of the queue, so that one that stays in front
// for long does not let it grow with each that passes.
func (w *window) compact() {
	to, sent := 0, 0
	for from := range w.queue {
		if w.queue[from].Message == nil {
			continue
		}
		if from < w.cursor {
			sent++
		}
		w.queue[to] = w.queue[from]
		to++
	}
	clear(w.queue[to:])
	w.queue, w.cursor, w.holes = w.queue[:to], sent, 0
}

// push appends a zero entry to queue, to be filled in, which will have these bytes.
func (w *window) push(bytes int) *queued {
	w.windowBytes += bytes
	n := len(w.queue)
	if n == cap(w.queue) {
		w.grow()
	}
	w.queue = w.queue[:n+1]
	return &w.queue[n]
}

// grow makes room behind queue. Finished entries leave at the front, so the slice
// moves up; it is moved down again when at most half of its memory is in use,
// which makes a steady flow free of allocation and of long copies.
func (w *window) grow() {
	ring := w.ring
	if cap(ring) == 0 || 2*len(w.queue) > cap(ring) {
		ring = make([]queued, max(4, 2*len(w.queue)))
	}
	n := copy(ring[:cap(ring)], w.queue)
	clear(ring[n:cap(ring)])
	w.ring, w.queue = ring[:0], ring[:n]
}

// drop drops queue[i], which nearly always follows the few entries under way: these
// move up, so that they do not let the queue grow with each entry dropped.
func (w *window) drop(i int) {
	w.windowBytes -= w.queue[i].bytes()
	to, sent := i+1, 0
	for from := i - 1; from >= 0; from-- {
		if w.queue[from].Message == nil {
			w.holes--
			continue
		}
		if to--; from < w.cursor {
			sent++
		}
		w.queue[to] = w.queue[from]
	}
	clear(w.queue[:to])
	w.queue, w.cursor = w.queue[to:], sent
	if len(w.queue) == 0 {
		w.queue = w.ring[:0]
	}
}

// WindowBytes is the size, in bytes, of the messages of the queue that are in memory.
func (s *Session) WindowBytes() int {
	if s.deliverState == nil {
		return 0
	}
	return s.windowBytes
}
