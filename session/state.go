package session

import (
	"encoding/binary"
	"errors"
)

// A State is the part of a Session's delivery state that must survive a
// restart beside its queue. Encoded, it is one small value per Session, written
// at most once per commit however many messages moved.
type State struct {
	// Floor: every entry with a lower Seq is done. Starts at 1.
	Floor uint64
	// Sent: entries with a lower Seq may have been sent to the Client.
	Sent uint64
	// Next is the Seq of the next new entry, as far as it was known.
	Next uint64
	// Done are entries at or above Floor that are done, ascending.
	Done []uint64
	// Released are the entries whose PUBREC was received and PUBCOMP was
	// not, ascending: PUBREL is to be sent for them.
	Released []uint64
	// Received are the Packet Identifiers of QoS 2 messages received from
	// the Client for which no PUBREL came yet.
	Received []uint16
}

var errState = errors.New("session: stored state is damaged")

const stateFormat = 1

// Append appends the encoding of s to dst.
func (s *State) Append(dst []byte) []byte {
	dst = append(dst, stateFormat)
	dst = binary.AppendUvarint(dst, s.Floor)
	dst = binary.AppendUvarint(dst, s.Sent)
	dst = binary.AppendUvarint(dst, s.Next)
	dst = appendSeqs(dst, s.Floor, s.Done)
	dst = appendSeqs(dst, s.Floor, s.Released)
	dst = binary.AppendUvarint(dst, uint64(len(s.Received)))
	for _, id := range s.Received {
		dst = binary.BigEndian.AppendUint16(dst, id)
	}
	return dst
}

// appendSeqs writes ascending Seqs as differences: one byte each as a rule.
func appendSeqs(dst []byte, from uint64, seqs []uint64) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(seqs)))
	for _, seq := range seqs {
		dst = binary.AppendUvarint(dst, seq-from)
		from = seq
	}
	return dst
}

// Decode replaces s by what b encodes; an empty b is a fresh Session's State.
func (s *State) Decode(b []byte) error {
	*s = State{Floor: 1, Sent: 1, Next: 1}
	if len(b) == 0 {
		return nil
	}
	if b[0] != stateFormat {
		return errState
	}
	r := stateReader{b: b[1:]}
	s.Floor, s.Sent, s.Next = r.uvarint(), r.uvarint(), r.uvarint()
	s.Done = r.seqs(s.Floor)
	s.Released = r.seqs(s.Floor)
	n := r.uvarint()
	if r.failed || n*2 != uint64(len(r.b)) || n > 65535 {
		return errState
	}
	for ; len(r.b) > 0; r.b = r.b[2:] {
		s.Received = append(s.Received, binary.BigEndian.Uint16(r.b))
	}
	if s.Floor == 0 || s.Sent < s.Floor || s.Next < s.Sent {
		return errState
	}
	return nil
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

func (r *stateReader) seqs(from uint64) []uint64 {
	n := r.uvarint()
	if n > uint64(len(r.b)) { // at least one byte each
		r.failed = true
		return nil
	}
	var seqs []uint64
	for range n {
		seq := from + r.uvarint()
		if seq < from || (len(seqs) > 0 && seq == from) {
			r.failed = true
			return nil
		}
		seqs, from = append(seqs, seq), seq
	}
	return seqs
}
