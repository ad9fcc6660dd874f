package session

import (
	"encoding/binary"
	"errors"
	"slices"
)

// A State is the part of a Session's delivery state that must survive a
// restart beside its queue. Encoded, it is one small value per Session, written
// at most once per commit however many messages moved.
type State struct {
	// Floor: every entry with a lower Seq is done. Starts at 1.
	Floor uint64
	// Sent: entries with a lower Seq may have been sent to the Client. No other
	// with QoS 2 was.
	Sent uint64
	// Next is the Seq of the next new entry, as far as it was known.
	Next uint64
	// MaybeSent is how many of the first entries that are not done may have
	// been sent before a crash although Sent does not say so.
	MaybeSent uint64
	// Lost is what TakeLost is to return.
	Lost uint64
	// Done are the entries above Floor that are done.
	Done ranges
	// Released are the entries whose PUBREC was received and PUBCOMP was
	// not, ascending: PUBREL is to be sent for them.
	Released []uint64
	// identified are the entries, not done, whose Packet Identifiers do not follow
	// from their Seqs.
	identified []exception
	// Received are the Packet Identifiers of QoS 2 messages received from
	// the Client for which no PUBREL came yet.
	Received *PacketIDs
}

// IsDone reports whether an entry is done, so that it is not sent again.
func (s *State) IsDone(seq uint64) bool { return seq < s.Floor || s.Done.has(seq) }

// IsReleased reports whether PUBREC came for an entry and PUBCOMP did not.
func (s *State) IsReleased(seq uint64) bool {
	_, found := slices.BinarySearch(s.Released, seq)
	return found
}

var errState = errors.New("session: stored state is damaged")

// The formats of an encoded State: without and with MaybeSent, which is not 0, and
// with both MaybeSent and Lost, which is not 0; all with Received as a list behind
// its length. The next has MaybeSent, Lost, and Received as PacketIDs.append has it,
// and the last identified too, which is not empty, behind Lost.
const (
	stateFormat           = 1
	stateFormatMaybeSent  = 2
	stateFormatLost       = 3
	stateFormatReceived   = 4
	stateFormatIdentified = 5
	// listedMax is how many Received are written as a list.
	listedMax = 32
)

// Append appends the encoding of s to dst.
func (s *State) Append(dst []byte) []byte {
	switch {
	case len(s.identified) > 0:
		dst = append(dst, stateFormatIdentified)
		dst = binary.AppendUvarint(dst, s.MaybeSent)
		dst = binary.AppendUvarint(dst, s.Lost)
		dst = s.appendIdentified(dst)
	case s.Received.Len() > listedMax:
		dst = append(dst, stateFormatReceived)
		dst = binary.AppendUvarint(dst, s.MaybeSent)
		dst = binary.AppendUvarint(dst, s.Lost)
	case s.Lost > 0:
		dst = append(dst, stateFormatLost)
		dst = binary.AppendUvarint(dst, s.MaybeSent)
		dst = binary.AppendUvarint(dst, s.Lost)
	case s.MaybeSent > 0:
		dst = append(dst, stateFormatMaybeSent)
		dst = binary.AppendUvarint(dst, s.MaybeSent)
	default:
		dst = append(dst, stateFormat)
	}
	dst = binary.AppendUvarint(dst, s.Floor)
	dst = binary.AppendUvarint(dst, s.Sent)
	dst = binary.AppendUvarint(dst, s.Next)
	dst = binary.AppendUvarint(dst, uint64(len(s.Done)))
	from := s.Floor
	for _, r := range s.Done {
		dst = binary.AppendUvarint(dst, r.First-from)
		dst = binary.AppendUvarint(dst, r.Last-r.First)
		from = r.Last
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.Released)))
	from = s.Floor
	for _, seq := range s.Released {
		dst = binary.AppendUvarint(dst, seq-from)
		from = seq
	}
	if len(s.identified) > 0 || s.Received.Len() > listedMax {
		return s.Received.append(dst)
	}
	return s.Received.appendList(dst)
}

// Decode replaces s by what b encodes; an empty b is a fresh Session's State.
func (s *State) Decode(b []byte) error {
	*s = State{Floor: 1, Sent: 1, Next: 1}
	if len(b) == 0 {
		return nil
	}
	r := stateReader{b: b[1:]}
	switch b[0] {
	case stateFormat:
	case stateFormatMaybeSent:
		if s.MaybeSent = r.uvarint(); s.MaybeSent == 0 || s.MaybeSent > packetIDs {
			return errState
		}
	case stateFormatLost, stateFormatReceived, stateFormatIdentified:
		s.MaybeSent, s.Lost = r.uvarint(), r.uvarint()
		if s.MaybeSent > packetIDs || s.Lost == 0 && b[0] == stateFormatLost {
			return errState
		}
	default:
		return errState
	}
	if b[0] == stateFormatIdentified {
		s.identified = r.exceptions()
	}
	s.Floor, s.Sent, s.Next = r.uvarint(), r.uvarint(), r.uvarint()
	s.Done = r.ranges(s.Floor)
	s.Released = r.seqs(s.Floor)
	if b[0] >= stateFormatReceived {
		s.Received = r.packetIDs()
	} else {
		s.Received = r.packetIDList()
	}
	if r.failed {
		return errState
	}
	if s.Floor == 0 || s.Sent < s.Floor || s.Next < s.Sent {
		return errState
	}
	if n := len(s.identified); n > 0 && (s.identified[0].seq < s.Floor || s.identified[n-1].seq >= s.Sent) {
		return errState
	}
	return nil
}

// appendIdentified appends the number of exceptions, and then each stretch of
// consecutive Seqs that have consecutive identifiers: how far from the stretch
// before, its length less one, and its first identifier.
func (s *State) appendIdentified(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s.identified)))
	from := uint64(0)
	for rest := s.identified; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].seq == rest[0].seq+uint64(n) && int(rest[n].id) == int(rest[0].id)+n {
			n++
		}
		dst = binary.AppendUvarint(dst, rest[0].seq-from)
		dst = binary.AppendUvarint(dst, uint64(n-1))
		dst = binary.AppendUvarint(dst, uint64(rest[0].id))
		from, rest = rest[n-1].seq, rest[n:]
	}
	return dst
}

// exceptions reads what appendIdentified wrote: at least one.
func (r *stateReader) exceptions() []exception {
	count := r.uvarint()
	if count == 0 || count > packetIDs {
		r.failed = true
		return nil
	}
	var list []exception
	var used PacketIDs
	for seq := uint64(0); uint64(len(list)) < count; {
		delta, n, id := r.uvarint(), r.uvarint(), r.uvarint()
		first := seq + delta
		last := first + n
		if r.failed || delta == 0 || first < seq || last < first || id == 0 || id > packetIDs ||
			n >= count-uint64(len(list)) || id+n > packetIDs {
			r.failed = true
			return nil
		}
		for i := range n + 1 {
			at := uint16(id + i)
			if used.Has(at) {
				r.failed = true
				return nil
			}
			used.add(at, 0)
			list = append(list, exception{first + i, at})
		}
		seq = last
	}
	return list
}

type stateReader struct {
	b      []byte
	failed bool
}

func (r *stateReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.failed, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads a number of items that each take at least one byte.
func (r *stateReader) count() uint64 {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.failed = true
		return 0
	}
	return n
}

// packetIDList reads the rest, a list behind its length.
func (r *stateReader) packetIDList() *PacketIDs {
	n := r.uvarint()
	if r.failed || n > packetIDs || n*2 != uint64(len(r.b)) {
		r.failed = true
		return nil
	}
	if n == 0 {
		return nil
	}
	p := new(PacketIDs)
	for ; len(r.b) > 0; r.b = r.b[2:] {
		id := binary.BigEndian.Uint16(r.b)
		if id == 0 || p.Has(id) {
			r.failed = true
			return nil
		}
		p.add(id, 0)
	}
	return p
}

func (r *stateReader) seqs(from uint64) []uint64 {
	var seqs []uint64
	for range r.count() {
		seq := from + r.uvarint()
		if seq < from {
			r.failed = true
			return nil
		}
		seqs, from = append(seqs, seq), seq
	}
	return seqs
}

func (r *stateReader) ranges(from uint64) ranges {
	var done ranges
	for range r.count() {
		first := from + r.uvarint()
		last := first + r.uvarint()
		if first < from || last < first {
			r.failed = true
			return nil
		}
		done, from = append(done, SeqRange{first, last}), last
	}
	return done
}
