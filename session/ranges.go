package session

import "sort"

// ranges is an ascending set of Seqs. Clients acknowledge nearly in order, so
// it holds few ranges even when one old message stays unacknowledged.
type ranges []SeqRange

// A SeqRange is the Seqs from First to Last.
type SeqRange struct{ First, Last uint64 }

// add puts seq, which is not in the set, into it.
func (s *ranges) add(seq uint64) {
	r := *s
	i := len(r)
	for i > 0 && r[i-1].First > seq {
		i--
	}
	joinsLeft := i > 0 && r[i-1].Last+1 == seq
	joinsRight := i < len(r) && seq+1 == r[i].First
	switch {
	case joinsLeft && joinsRight:
		r[i-1].Last = r[i].Last
		r = append(r[:i], r[i+1:]...)
	case joinsLeft:
		r[i-1].Last = seq
	case joinsRight:
		r[i].First = seq
	default:
		r = append(r, SeqRange{})
		copy(r[i+1:], r[i:])
		r[i] = SeqRange{seq, seq}
	}
	*s = r
}

// trim forgets what is below floor.
func (s *ranges) trim(floor uint64) {
	r := *s
	if len(r) == 0 || r[0].First >= floor {
		return
	}
	n := 0
	for n < len(r) && r[n].Last < floor {
		n++
	}
	r = append(r[:0], r[n:]...)
	if len(r) > 0 && r[0].First < floor {
		r[0].First = floor
	}
	*s = r
}

func (s ranges) has(seq uint64) bool {
	_, ok := s.rangeOf(seq)
	return ok
}

// rangeOf returns the last of the members that follow each other from seq on; ok
// is false if seq is not a member.
func (s ranges) rangeOf(seq uint64) (last uint64, ok bool) {
	i := s.from(seq)
	if i == len(s) || s[i].First > seq {
		return 0, false
	}
	return s[i].Last, true
}

// from returns the index of the first range that does not end below seq.
func (s ranges) from(seq uint64) int {
	return sort.Search(len(s), func(i int) bool { return s[i].Last >= seq })
}

// within counts the members in [from, to).
func (s ranges) within(from, to uint64) uint64 {
	var n uint64
	for _, r := range s[s.from(from):] {
		if r.First >= to {
			break
		}
		first, end := max(r.First, from), min(r.Last+1, to)
		if first < end {
			n += end - first
		}
	}
	return n
}
