package session

import "slices"

// progress is how far the queue has come: what is done, what was sent, and what is
// on disk only.
type progress struct {
	floor    uint64
	sent     uint64
	diskFrom uint64
	next     uint64
	paging   bool // a page was asked for, on the connection attached now
	// oldestOnDisk is when the first entry was queued if all are on disk only, in Unix
	// seconds; 0: not known.
	oldestOnDisk uint32
	released     []uint64 // await PUBCOMP; ascending
	done         ranges   // from floor on; only kept while Durable
	gaps         ranges   // not stored any more, or never; only from diskFrom on
	// sentNoted is what a stored State says of sent: more, if entries wait to be sent.
	sentNoted uint64
	behind    behind

	// maybeSent is how many of the next paged entries below restored may have been
	// sent before a crash, so that they must carry DUP. No QoS 2 message was, that
	// sent does not tell of.
	maybeSent int
	// anyMaybeSent says that entries in memory may be such too.
	anyMaybeSent bool
	restored     uint64
}

// onDisk counts the entries not done that are on disk only, as far as known.
func (p *progress) onDisk() int { return p.unsettled(p.diskFrom, p.next) }

// unsettled counts the Seqs from from to below to that are neither done, nor gone,
// nor await PUBCOMP.
func (p *progress) unsettled(from, to uint64) int {
	n := to - from - p.done.within(from, to) - p.gaps.within(from, to)
	for _, seq := range p.released {
		if seq >= from && seq < to {
			n--
		}
	}
	return int(n)
}

// release notes that an entry awaits PUBCOMP.
func (p *progress) release(seq uint64) {
	if n := len(p.released); n == 0 || seq > p.released[n-1] { // nearly always
		p.released = append(p.released, seq)
		return
	}
	at, _ := slices.BinarySearch(p.released, seq)
	p.released = slices.Insert(p.released, at, seq)
}

// complete notes that an entry does not await PUBCOMP any more, and reports whether it did.
func (p *progress) complete(seq uint64) bool {
	i, found := 0, len(p.released) > 0 && p.released[0] == seq // nearly always
	if !found {
		if i, found = slices.BinarySearch(p.released, seq); !found {
			return false
		}
	}
	p.released = append(p.released[:i], p.released[i+1:]...)
	return true
}

// isReleased reports whether the entry awaits PUBCOMP.
func (p *progress) isReleased(seq uint64) bool {
	n := len(p.released)
	if n == 0 || seq > p.released[n-1] { // nearly always so when a PUBREC comes
		return false
	}
	_, found := slices.BinarySearch(p.released, seq)
	return found
}

// settled reports whether the entry, on disk only, is done or was removed.
func (p *progress) settled(seq uint64) bool {
	return p.done.has(seq) || p.gaps.has(seq) || p.isReleased(seq)
}

// missing notes that no Seq from <= seq < to is stored, and returns how many were
// taken for stored: after a crash, entries that were never written are until then.
func (p *progress) missing(from, to uint64) (n int) {
	for seq := max(from, p.diskFrom); seq < min(to, p.next); seq++ {
		if last, ok := p.gaps.rangeOf(seq); ok {
			seq = last
		} else if last, ok := p.done.rangeOf(seq); ok {
			seq = last
		} else if !p.isReleased(seq) {
			p.gaps.add(seq)
			n++
		}
	}
	return n
}

// advance moves floor to the first entry that is not done. front is the first in
// memory, or diskFrom.
func (p *progress) advance(front uint64) {
	p.floor = front
	if len(p.released) > 0 {
		p.floor = min(p.floor, p.released[0])
	}
	p.done.trim(p.floor)
	p.gaps.trim(p.diskFrom)
	for { // on disk only, done or not there, and the first
		switch {
		case len(p.done) > 0 && p.done[0].First == p.floor:
			p.floor = p.done[0].Last + 1
		case len(p.gaps) > 0 && p.gaps[0].First == p.floor:
			p.floor = p.gaps[0].Last + 1
		default:
			p.diskFrom = max(p.diskFrom, p.floor)
			p.gaps.trim(p.diskFrom)
			return
		}
		p.done.trim(p.floor)
		p.gaps.trim(p.floor)
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

// noteBehind counts an entry that is done and not below floor. When there are many
// such it returns where they stand, for all to be discarded.
func (p *progress) noteBehind(seq uint64) []SeqRange {
	b := &p.behind
	b.from = min(b.from, seq)
	if b.count++; b.count < max(behindMax, len(p.done)) {
		return nil
	}
	b.count = int(p.done.within(max(p.floor, b.cleared), p.next)) // floor has passed the others
	if b.count < max(behindMax, len(p.done)) {
		return nil
	}
	gone := p.done[p.done.from(b.from):]
	cleared := p.done[len(p.done)-1].Last + 1
	*b = behind{from: cleared, cleared: cleared}
	return gone
}
