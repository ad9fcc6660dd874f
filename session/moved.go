package session

import "fmt"

// NewState is the State of a Session that another Server had, by Packet Identifiers: those
// of messages from the Client that were received, and those at the head of its queue, which
// await PUBCOMP (released, of which no entry need be stored), or were sent and await PUBACK
// or PUBREC. next is the Seq of the next new entry. An identifier that is 0, or there twice,
// is an error.
func NewState(received, released, sent []uint16, next uint64) (*State, error) {
	s := &State{Floor: 1, Sent: 1 + uint64(len(released)+len(sent)), Next: next}
	for _, id := range received {
		if id == 0 || s.Received.Has(id) {
			return nil, fmt.Errorf("the Packet Identifier %d of a received message is 0 or there twice", id)
		}
		if s.Received == nil {
			s.Received = new(PacketIDs)
		}
		s.Received.add(id, 0)
	}
	var used PacketIDs
	seq := uint64(0)
	for _, ids := range [][]uint16{released, sent} {
		for _, id := range ids {
			seq++
			if id == 0 || used.Has(id) {
				return nil, fmt.Errorf("the Packet Identifier %d of a sent message is 0 or there twice", id)
			}
			used.add(id, 0)
			if id != derivedFrom(seq) {
				s.identified = append(s.identified, exception{seq, id})
			}
		}
	}
	for n := range uint64(len(released)) {
		s.Released = append(s.Released, n+1)
	}
	return s, nil
}

// PacketID is the Packet Identifier of an entry that was sent.
func (s *State) PacketID(seq uint64) uint16 {
	x := exceptions{list: s.identified}
	if i, found := x.find(seq); found {
		return x.list[i].id
	}
	return derivedFrom(seq)
}
