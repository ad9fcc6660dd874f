package topics

// subscribersIndexMin is how many subscribers of one filter are searched one by
// one before an index is made.
const subscribersIndexMin = 16

// subscribers is a set of keys with values: a slice, so that a match copies it
// at once, with an index when it is long.
type subscribers[K comparable, V any] struct {
	list  []Match[K, V]
	byKey map[K]int
}

func (s *subscribers[K, V]) index(key K) int {
	if s.byKey != nil {
		if i, ok := s.byKey[key]; ok {
			return i
		}
		return -1
	}
	for i := range s.list {
		if s.list[i].Key == key {
			return i
		}
	}
	return -1
}

// get works on nil, the empty set; so does appendTo.
func (s *subscribers[K, V]) get(key K) (value V, ok bool) {
	if s == nil {
		return value, false
	}
	if i := s.index(key); i >= 0 {
		return s.list[i].Value, true
	}
	return value, false
}

func (s *subscribers[K, V]) appendTo(dst []Match[K, V]) []Match[K, V] {
	if s == nil {
		return dst
	}
	return append(dst, s.list...)
}

// setSubscriber adds to *set, which it makes if it is nil.
func setSubscriber[K comparable, V any](set **subscribers[K, V], key K, value V) (replaced bool) {
	if *set == nil {
		*set = new(subscribers[K, V])
	}
	return (*set).set(key, value)
}

// deleteSubscriber removes from *set, and the set itself with its last member.
func deleteSubscriber[K comparable, V any](set **subscribers[K, V], key K) (existed bool) {
	if *set == nil || !(*set).delete(key) {
		return false
	}
	if len((*set).list) == 0 {
		*set = nil
	}
	return true
}

func (s *subscribers[K, V]) set(key K, value V) (replaced bool) {
	if i := s.index(key); i >= 0 {
		s.list[i].Value = value
		return true
	}
	s.list = append(s.list, Match[K, V]{key, value})
	switch {
	case s.byKey != nil:
		s.byKey[key] = len(s.list) - 1
	case len(s.list) >= subscribersIndexMin:
		s.byKey = make(map[K]int, 2*len(s.list))
		for i := range s.list {
			s.byKey[s.list[i].Key] = i
		}
	}
	return false
}

func (s *subscribers[K, V]) delete(key K) (existed bool) {
	i := s.index(key)
	if i < 0 {
		return false
	}
	last := len(s.list) - 1
	s.list[i] = s.list[last]
	s.list[last] = Match[K, V]{}
	s.list = s.list[:last]
	if s.byKey != nil {
		if i < last {
			s.byKey[s.list[i].Key] = i
		}
		delete(s.byKey, key)
	}
	return true
}
