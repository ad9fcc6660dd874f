package topics

const (
	slotsMin = 8

	// A table of more than splitAbove entries has 1<<shardBits shards, one
	// of fewer than joinBelow has one.
	shardBits  = 8
	splitAbove = 4096
	joinBelow  = 1024
)

// A table finds entries by a hash, which the caller makes, keyed, so that no
// client can choose names that meet. Unlike a map it shrinks, and a look costs
// one cache miss: entries are pointers beside their whole hashes, with linear
// probing, so neither a probe nor growing reads an entry that is not meant.
//
// A large table is many small ones, told apart by the upper bits of the hash,
// that grow each at its own time: to move a million entries at once holds up the
// caller for 40 ms.
type table[E any] struct {
	shards []shard[E] // nil: empty
	shift  uint       // hash>>shift is the shard
	len    int
}

type shard[E any] struct {
	slots []slot[E] // a power of two, a quarter of them free; nil: empty
	len   int
}

type slot[E any] struct {
	hash  uint64
	entry *E // nil: free
}

// slotsOf returns the slots among which the entries of a hash are, for seek.
func (t *table[E]) slotsOf(hash uint64) []slot[E] {
	if t.len == 0 {
		return nil
	}
	return t.shards[hash>>t.shift].slots
}

// seek returns the next entry of a hash, or nil, and the place after it; it
// begins at the hash itself. There is nearly always one or none, but the caller
// compares each with what it looks for. The place is a value because a struct
// that kept it would be copied through memory: a match then takes twice as long.
func seek[E any](slots []slot[E], hash, at uint64) (e *E, next uint64) {
	mask := uint64(len(slots) - 1)
	for len(slots) > 0 {
		s := &slots[at&mask]
		at++
		if s.entry == nil || s.hash == hash {
			return s.entry, at
		}
	}
	return nil, at
}

func (t *table[E]) add(hash uint64, e *E) {
	switch {
	case t.len == 0:
		t.reshard(0)
	case t.len == splitAbove && len(t.shards) == 1:
		t.reshard(shardBits)
	}
	t.shards[hash>>t.shift].add(hash, e)
	t.len++
}

// remove removes an entry that is there.
func (t *table[E]) remove(hash uint64, e *E) {
	t.shards[hash>>t.shift].remove(hash, e)
	t.len--
	switch {
	case t.len == 0:
		t.shards = nil
	case t.len == joinBelow && len(t.shards) > 1:
		t.reshard(0)
	}
}

func (t *table[E]) reshard(bits uint) {
	old := t.shards
	t.shards, t.shift = make([]shard[E], 1<<bits), 64-bits
	for _, s := range old {
		for _, sl := range s.slots {
			if sl.entry != nil {
				t.shards[sl.hash>>t.shift].add(sl.hash, sl.entry)
			}
		}
	}
}

func (s *shard[E]) add(hash uint64, e *E) {
	if s.len == len(s.slots)/4*3 {
		s.resize(max(slotsMin, 2*len(s.slots)))
	}
	s.put(slot[E]{hash, e})
	s.len++
}

func (s *shard[E]) put(sl slot[E]) {
	mask, i := uint64(len(s.slots)-1), sl.hash
	for s.slots[i&mask].entry != nil {
		i++
	}
	s.slots[i&mask] = sl
}

func (s *shard[E]) resize(slots int) {
	old := s.slots
	s.slots = make([]slot[E], slots)
	for _, sl := range old {
		if sl.entry != nil {
			s.put(sl)
		}
	}
}

func (s *shard[E]) remove(hash uint64, e *E) {
	mask := uint64(len(s.slots) - 1)
	i := hash & mask
	for s.slots[i].entry != e {
		i = (i + 1) & mask
	}
	// What follows without a gap moves up if its probe passes the slot that
	// becomes free.
	for j := (i + 1) & mask; s.slots[j].entry != nil; j = (j + 1) & mask {
		if (j-s.slots[j].hash)&mask >= (j-i)&mask {
			s.slots[i] = s.slots[j]
			i = j
		}
	}
	s.slots[i] = slot[E]{}
	s.len--
	switch {
	case s.len == 0:
		s.slots = nil
	case len(s.slots) > slotsMin && s.len < len(s.slots)/8:
		s.resize(len(s.slots) / 2)
	}
}
