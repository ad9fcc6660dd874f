package session

import "sort"

// window is the part of the queue that is in memory.
type window struct {
	queue       []queued // ascending Seq; a nil Message is done. queue[0] is not.
	ring        []queued // the memory that queue moves through
	holes       int      // the done ones in queue
	windowBytes int      // bytes of queue

	// On the connection attached now.
	cursor int // index in queue of the next entry to send
}

type queued struct {
	Entry
	sentBefore bool   // on this or an earlier connection
	maybeSent  bool   // before a crash
	packetID   uint16 // 0: none yet
	// unkeptBytes are those of a message that stands here as unkept.
	unkeptBytes int
}

// bytes is what the entry counts towards the queue limits.
func (q *queued) bytes() int { return q.Entry.Bytes() + q.unkeptBytes }

// full reports whether one more entry would be more than the window may hold.
func (w *window) full(bytes int, l *Limits) bool {
	return len(w.queue) > 0 &&
		(len(w.queue)-w.holes >= l.WindowMessages || w.windowBytes+bytes > l.WindowBytes)
}

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

// forget drops queue[i] from memory.
func (w *window) forget(i int) {
	w.windowBytes -= w.queue[i].bytes()
	w.queue[i] = queued{Entry: Entry{Seq: w.queue[i].Seq}}
	w.holes++
	n := 0
	for n < len(w.queue) && w.queue[n].Message == nil {
		n++
	}
	if n == 0 {
		if w.holes > holesMax && 2*w.holes > len(w.queue) {
			w.compact()
		}
		return
	}
	w.holes -= n
	w.cursor = max(0, w.cursor-n)
	clear(w.queue[:n])
	w.queue = w.queue[n:]
	if len(w.queue) == 0 {
		w.queue = w.ring[:0]
	}
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

// push appends to queue. Finished entries leave at the front, so the slice
// moves up; it is moved down again when at most half of its memory is in use,
// which makes a steady flow free of allocation and of long copies.
func (w *window) push(q queued) {
	w.windowBytes += q.bytes()
	if len(w.queue) == cap(w.queue) {
		ring := w.ring
		if cap(ring) == 0 || 2*len(w.queue) > cap(ring) {
			ring = make([]queued, max(4, 2*len(w.queue)))
		}
		n := copy(ring[:cap(ring)], w.queue)
		clear(ring[n:cap(ring)])
		w.ring, w.queue = ring[:0], ring[:n]
	}
	w.queue = append(w.queue, q)
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
