package session

import (
	"cmp"
	"slices"
)

// packetIDs is the number of Packet Identifiers.
const packetIDs = 65535

// identifiers gives each message under way to the Client its Packet Identifier.
//
// It follows from the Seq, so that storing the entry stores the identifier too,
// unless an older message under way has that one: then the message gets another
// that is free, an exception, which the State holds until the delivery is done.
//
// After a crash the State must tell which identifier each message was sent with,
// for it is sent again with the same one. [MQTT-4.4.0-1] So what has an exception
// awaits its commit, and so does whatever has an identifier that, as far as the
// disk knows, another message may still have.
type identifiers struct {
	// safe is a floor that is on disk: all below it are known to be done.
	safe uint64
	// plain is the Seq below which all is ordinary: the identifier follows from the Seq
	// and is known to be free on disk too. Above before it is seq - before. Both are
	// within one turn of the identifiers. See notePlain.
	before, plain uint64
	// probe is a message that awaited a commit; its acknowledgement tells that
	// probeFloor, the floor when it was sent, is on disk. 0: there is none.
	probe, probeFloor uint64
	// x is nil in the ordinary case: no message has an exception, and all under
	// way are within one turn of the identifiers.
	x *exceptions
}

// exceptions are the Packet Identifiers in use, in the case that is not ordinary.
type exceptions struct {
	list  []exception       // ascending Seq
	users map[uint16]uint64 // the Seq that has each identifier in use
	inUse PacketIDs         // the keys of users
	after uint64            // above every Seq that has had an exception
}

// An exception is a Packet Identifier that does not follow from the Seq.
type exception struct {
	seq uint64
	id  uint16
}

// turn is the number of Packet Identifiers: 65,535 but in tests.
func (l *Limits) turn() uint64 {
	if l.packetIDs > 0 {
		return uint64(l.packetIDs)
	}
	return packetIDs
}

// SetPacketIDs lets Sessions use so few Packet Identifiers, in tests.
func (l *Limits) SetPacketIDs(n int) { l.packetIDs = n }

// derivedID is the Packet Identifier that follows from a Seq.
func (s *Session) derivedID(seq uint64) uint16 {
	if s.limits.packetIDs > 0 {
		return uint16((seq-1)%uint64(s.limits.packetIDs)) + 1
	}
	return derivedFrom(seq)
}

// derivedFrom is derivedID but in tests: by a constant, which is much faster.
func derivedFrom(seq uint64) uint16 { return uint16((seq-1)%packetIDs) + 1 }

// notePlain works before and plain out again, when what they follow from has changed.
func (s *Session) notePlain() {
	d, next := &s.ids, max(s.sent, s.floor)
	d.before = next - uint64(s.derivedID(next))
	switch {
	case d.x != nil:
		d.plain = 0
	case s.durable: // while no probe is due
		d.plain = d.safe + s.limits.turn()/2
	default:
		d.plain = s.floor + s.limits.turn()
	}
	d.plain = min(d.plain, d.before+s.limits.turn()+1)
}

// identify returns the Packet Identifier of an entry that has none and is not plain. It
// reports false if all are in use. [MQTT-2.2.1-4] exceptional says that it is a new
// exception.
func (s *Session) identify(seq uint64) (id uint16, exceptional, ok bool) {
	turn, id := s.limits.turn(), s.derivedID(seq)
	x := s.ids.x
	if x == nil {
		if seq-s.floor < turn {
			s.notePlain()
			return id, false, true
		}
		x = s.widen(nil)
	}
	if i, found := x.find(seq); found { // since an earlier process
		return x.list[i].id, false, true
	}
	if x.inUse.Has(id) {
		// Far from those that the next messages will have, or these would need others too.
		if id = x.inUse.freeFrom(uint16((uint64(id)-1+turn/2)%turn)+1, turn); id == 0 {
			return 0, false, false
		}
		i, _ := x.find(seq)
		x.list = slices.Insert(x.list, i, exception{seq, id})
		x.after = max(x.after, seq+1)
		exceptional = true
	}
	x.use(id, seq)
	return id, exceptional, true
}

// widen leaves the ordinary case, with the exceptions of a stored State.
func (s *Session) widen(list []exception) *exceptions {
	x := &exceptions{users: make(map[uint16]uint64), list: list}
	s.ids.x = x
	for _, e := range list {
		x.use(e.id, e.seq)
		x.after = e.seq + 1
	}
	for i := range s.queue {
		if q := &s.queue[i]; q.Message != nil && q.packetID != 0 {
			x.use(q.packetID, q.Seq)
		}
	}
	for _, seq := range s.released {
		x.use(s.packetIDOf(seq), seq)
	}
	s.notePlain()
	return x
}

// narrow returns to the ordinary case if it is one again.
func (s *Session) narrow() {
	x := s.ids.x
	if x == nil || len(x.list) > 0 || max(s.sent, s.floor)-s.floor >= s.limits.turn()/2 ||
		(s.durable && s.ids.safe < x.after) {
		return
	}
	s.ids.x = nil
	s.notePlain()
}

// packetIDOf returns the Packet Identifier of an entry that was sent.
func (s *Session) packetIDOf(seq uint64) uint16 {
	if x := s.ids.x; x != nil {
		if i, found := x.find(seq); found {
			return x.list[i].id
		}
	}
	return s.derivedID(seq)
}

// seqOf returns the Seq of the only message under way that may have this Packet
// Identifier; 0: there is none.
func (s *Session) seqOf(packetID uint16) uint64 {
	if x := s.ids.x; x != nil {
		return x.users[packetID]
	}
	turn := s.limits.turn()
	if packetID == 0 || uint64(packetID) > turn {
		return 0
	}
	first := s.derivedID(s.floor)
	if packetID >= first {
		return s.floor + uint64(packetID-first)
	}
	return s.floor + turn - uint64(first-packetID)
}

// freeID takes the Packet Identifier of an entry back, if it has one, and reports
// whether it was an exception.
func (s *Session) freeID(seq uint64) (exceptional bool) {
	if s.ids.probe == seq {
		s.ids.probe = 0
	}
	x := s.ids.x
	if x == nil {
		return false
	}
	id := s.derivedID(seq)
	i, exceptional := x.find(seq)
	switch {
	case exceptional && i == 0: // nearly always: acknowledgements come in order
		id, x.list = x.list[0].id, x.list[1:]
	case exceptional:
		id = x.list[i].id
		x.list = slices.Delete(x.list, i, i+1)
	}
	if x.users[id] == seq {
		delete(x.users, id)
		x.inUse.remove(id)
	}
	s.narrow()
	return exceptional
}

// freeBelow takes back the exceptions of entries below floor, which were never
// stored: their acknowledgement came before their commit.
func (s *Session) freeBelow(floor uint64) {
	for x := s.ids.x; x != nil && len(x.list) > 0 && x.list[0].seq < floor; x = s.ids.x {
		s.freeID(x.list[0].seq)
	}
}

// freeMissing does the same for the entries from from to below to that turned out
// not to be stored.
func (s *Session) freeMissing(from, to uint64) {
	x := s.ids.x
	if x == nil {
		return
	}
	var gone []uint64
	for i, _ := x.find(from); i < len(x.list) && x.list[i].seq < to; i++ {
		if seq := x.list[i].seq; !s.isReleased(seq) {
			gone = append(gone, seq)
		}
	}
	for _, seq := range gone {
		s.freeID(seq)
	}
}

// restoreIDs takes over the exceptions of a State, whose floor is on disk.
func (s *Session) restoreIDs(list []exception) {
	s.ids = identifiers{safe: s.floor}
	n := len(s.released)
	if len(list) > 0 || n > 0 && s.released[n-1]-s.floor >= s.limits.turn() {
		s.widen(list)
	}
	s.notePlain()
}

// mustWait reports whether a QoS 1 message that is sent for the first time awaits
// its commit, since the disk may not tell that its identifier is free.
func (s *Session) mustWait(seq uint64) bool {
	return seq >= s.ids.plain && s.mayBeTaken(seq)
}

// mayBeTaken is mustWait beyond the ordinary case.
func (s *Session) mayBeTaken(seq uint64) bool {
	return s.ids.x != nil || seq-s.ids.safe >= s.limits.turn() || s.probeDue(seq)
}

// probeDue reports whether a message should await a commit to find out that a higher
// floor is on disk: once in half a turn, so that in the ordinary case no other needs to.
func (s *Session) probeDue(seq uint64) bool {
	return s.ids.probe == 0 && s.floor > s.ids.safe && (s.ids.x != nil || seq-s.ids.safe >= s.limits.turn()/2)
}

// startProbe notes a message that awaits its commit.
func (s *Session) startProbe(seq uint64) {
	if s.probeDue(seq) {
		s.ids.probe, s.ids.probeFloor = seq, s.floor
	}
}

// endProbe notes that the Client has got the message that is the probe.
func (s *Session) endProbe() {
	s.ids.safe, s.ids.probe = s.ids.probeFloor, 0
	s.narrow()
	s.notePlain()
}

func (x *exceptions) find(seq uint64) (i int, found bool) {
	if n := len(x.list); n == 0 || seq > x.list[n-1].seq { // nearly always
		return n, false
	}
	return slices.BinarySearchFunc(x.list, seq, func(e exception, seq uint64) int { return cmp.Compare(e.seq, seq) })
}

// use notes who has an identifier.
func (x *exceptions) use(id uint16, seq uint64) {
	if _, taken := x.users[id]; !taken {
		x.inUse.add(id, 0)
	}
	x.users[id] = seq
}
