//go:build invariants

package session

import (
	"cmp"
	"fmt"
)

// check panics if an invariant of the Session does not hold. Every exported method
// that changes the delivery state ends with it.
func (s *Session) check() {
	d := s.deliverState
	if d == nil {
		return
	}
	if err := cmp.Or(d.window.check(), d.progress.check(s), d.quota.check(s), d.room.check(s)); err != nil {
		panic(fmt.Sprintf("session %d of %q: %v\n%+v", s.ID, s.ClientID, err, *d))
	}
}

// check: the entries are in order, the first is not done, what is counted is there,
// and few done ones stand among them.
func (w *window) check() error {
	holes, bytes, last := 0, 0, uint64(0)
	for i := range w.queue {
		q := &w.queue[i]
		switch {
		case q.Seq <= last:
			return fmt.Errorf("window: entry %d follows %d", q.Seq, last)
		case q.Message == nil && i == 0:
			return fmt.Errorf("window: the first entry, %d, is done", q.Seq)
		case q.Message == nil:
			holes++
		case i < w.cursor && (!q.sentBefore || q.packetID == 0):
			return fmt.Errorf("window: entry %d is before the cursor and was not sent", q.Seq)
		}
		last = q.Seq
		bytes += q.messageBytes()
	}
	if n := len(w.queue); n < cap(w.queue) {
		if q := &w.queue[:n+1][n]; q.Seq != 0 || q.Message != nil || q.packetID != 0 || q.sentBefore || q.maybeSent || q.notKeptBytes != 0 {
			return fmt.Errorf("window: memory for the next entry has %+v", *q)
		}
	}
	switch {
	case holes != w.holes:
		return fmt.Errorf("window: %d entries are done, not %d", holes, w.holes)
	case bytes != w.windowBytes:
		return fmt.Errorf("window: the entries have %d bytes, not %d", bytes, w.windowBytes)
	case w.cursor < 0 || w.cursor > len(w.queue):
		return fmt.Errorf("window: the cursor is at %d of %d", w.cursor, len(w.queue))
	case w.holes > holesMax && 2*w.holes > len(w.queue):
		return fmt.Errorf("window: %d of %d entries are done", w.holes, len(w.queue))
	}
	return nil
}

// messageBytes is bytes; 0 of an entry that is done.
func (q *queued) messageBytes() int {
	if q.Message == nil {
		return 0
	}
	return q.bytes()
}

// check: each Seq from floor on is in one place only, and floor is not done.
func (p *progress) check(s *Session) error {
	if p.floor < 1 || p.floor > p.diskFrom || p.diskFrom > p.next || p.sent > p.next {
		return fmt.Errorf("progress: floor, diskFrom, next, sent are %d, %d, %d, %d", p.floor, p.diskFrom, p.next, p.sent)
	}
	if !s.durable && (p.diskFrom != p.next || len(p.done)+len(p.gaps) > 0) {
		return fmt.Errorf("progress: it is not durable, and %d are on disk; done %v", p.next-p.diskFrom, p.done)
	}
	if err := p.done.check(p.floor, p.next); err != nil {
		return fmt.Errorf("progress: done: %w", err)
	}
	if err := p.gaps.check(p.diskFrom, p.next); err != nil {
		return fmt.Errorf("progress: gaps: %w", err)
	}
	if p.done.has(p.floor) || p.gaps.has(p.floor) {
		return fmt.Errorf("progress: floor %d is done", p.floor)
	}
	last := uint64(0)
	for _, seq := range p.released {
		if seq < p.floor || seq >= p.next || seq <= last || p.done.has(seq) || p.gaps.has(seq) {
			return fmt.Errorf("progress: %d awaits PUBCOMP after %d, and floor is %d; done %v, gaps %v", seq, last, p.floor, p.done, p.gaps)
		}
		last = seq
	}
	for i := range s.queue {
		q := &s.queue[i]
		if q.Message != nil && (q.Seq < p.floor || q.Seq >= p.diskFrom || p.settled(q.Seq)) {
			return fmt.Errorf("progress: %d is in memory, and done or on disk only", q.Seq)
		}
		if q.Message != nil && q.packetID != 0 && q.Seq >= p.sent {
			return fmt.Errorf("progress: %d was sent, and sent is %d", q.Seq, p.sent)
		}
	}
	if n := p.onDisk(); n < 0 || p.maybeSent < 0 {
		return fmt.Errorf("progress: %d entries are on disk only, %d of them maybe sent", n, p.maybeSent)
	}
	return nil
}

// check: the set is in order and has no more ranges than it needs, from from to below to.
func (s ranges) check(from, to uint64) error {
	for i, r := range s {
		if r.First > r.Last || r.First < from || r.Last >= to || i > 0 && r.First <= s[i-1].Last+1 {
			return fmt.Errorf("%v in %d to %d", s, from, to)
		}
	}
	return nil
}

// check: what is under way is counted, and each of it has an identifier of its own.
func (q *quota) check(s *Session) error {
	inflight := 0
	for _, seq := range s.released {
		inflight++
		if id := s.packetIDOf(seq); s.seqOf(id) != seq { // so no other has it
			return fmt.Errorf("quota: %d awaits PUBCOMP with Packet Identifier %d, which %d has", seq, id, s.seqOf(id))
		}
	}
	for i := range s.queue {
		e := &s.queue[i]
		if e.Message == nil {
			continue
		}
		if i < s.cursor {
			inflight++
		}
		if id := e.packetID; id != 0 && (uint64(id) > s.limits.turn() || id != s.packetIDOf(e.Seq) || s.seqOf(id) != e.Seq) {
			return fmt.Errorf("quota: %d has Packet Identifier %d; by its Seq it has %d, and %d has this one",
				e.Seq, id, s.packetIDOf(e.Seq), s.seqOf(id))
		}
	}
	if s.attached && inflight != q.inflight || !s.attached && q.inflight != 0 {
		return fmt.Errorf("quota: %d are under way, not %d", inflight, q.inflight)
	}
	return q.ids.check(s)
}

func (d *identifiers) check(s *Session) error {
	if d.safe > s.floor || d.probe != 0 && d.probeFloor > s.floor {
		return fmt.Errorf("quota: floors %d and %d are taken for stored, and floor is %d", d.safe, d.probeFloor, s.floor)
	}
	x := d.x
	if bound := d.safe + s.limits.turn()/2; d.plain > 0 && (x != nil || s.durable && d.plain > bound) || d.plain > s.floor+s.limits.turn() {
		return fmt.Errorf("quota: identifiers are plain below %d, floors are %d and %d", d.plain, d.safe, s.floor)
	}
	if seq := d.plain - 1; x == nil && seq > d.before && d.before+uint64(s.derivedID(seq)) != seq || d.before >= s.next {
		return fmt.Errorf("quota: identifiers are plain from behind %d to below %d, and next is %d", d.before, d.plain, s.next)
	}
	if x == nil {
		return nil
	}
	if len(x.users) != x.inUse.Len() {
		return fmt.Errorf("quota: %d identifiers have users and %d are in use", len(x.users), x.inUse.Len())
	}
	for id, seq := range x.users {
		if i := s.window.index(seq); i == len(s.queue) && seq < s.diskFrom && !s.isReleased(seq) {
			return fmt.Errorf("quota: Packet Identifier %d is used by %d, which is done", id, seq)
		}
	}
	last := uint64(0)
	for _, e := range x.list {
		if e.seq < s.floor || e.seq <= last || e.seq >= x.after || x.users[e.id] != e.seq {
			return fmt.Errorf("quota: exception %+v follows %d, floor is %d, and its identifier is used by %d", e, last, s.floor, x.users[e.id])
		}
		last = e.seq
	}
	return nil
}

// check: every entry that is not done is counted once, and its bytes.
func (r *room) check(s *Session) error {
	live := len(s.queue) - s.holes
	if n := live + len(s.released) + s.onDisk(); n != r.queueLen {
		return fmt.Errorf("room: %d entries, not %d: %d in memory, %d await PUBCOMP, %d on disk", n, r.queueLen, live, len(s.released), s.onDisk())
	}
	if !s.durable && r.queueBytes != int64(s.windowBytes) {
		return fmt.Errorf("room: %d bytes, not %d", s.windowBytes, r.queueBytes)
	}
	if r.beyond < 0 || r.beyondBytes < 0 {
		return fmt.Errorf("room: %d entries of %d bytes beyond the limits", r.beyond, r.beyondBytes)
	}
	return nil
}
