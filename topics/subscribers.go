package topics

// subscribers are those of one filter, at least one. Most filters have only
// one: it needs no memory of its own, and a match no second look.
type subscribers[K comparable, V any] struct {
	only Match[K, V]  // if more is nil
	more *crowd[K, V] // two or more
}

func newSubscribers[K comparable, V any](key K, value V) subscribers[K, V] {
	return subscribers[K, V]{only: Match[K, V]{key, value}}
}

func (s *subscribers[K, V]) appendTo(dst []Match[K, V]) []Match[K, V] {
	if s.more != nil {
		return append(dst, s.more.list...)
	}
	return append(dst, s.only)
}

func (s *subscribers[K, V]) get(key K) (value V, ok bool) {
	switch {
	case s.more != nil:
		return s.more.get(key)
	case s.only.Key == key:
		return s.only.Value, true
	}
	return value, false
}

func (s *subscribers[K, V]) set(key K, value V) (replaced bool) {
	switch {
	case s.more != nil:
		return s.more.set(key, value)
	case s.only.Key == key:
		s.only.Value = value
		return true
	}
	s.more = &crowd[K, V]{list: []Match[K, V]{s.only, {key, value}}}
	s.only = Match[K, V]{}
	return false
}

// delete reports also whether nobody is left: s is then of no use.
func (s *subscribers[K, V]) delete(key K) (existed, empty bool) {
	if s.more == nil {
		is := s.only.Key == key
		return is, is
	}
	existed = s.more.delete(key)
	if len(s.more.list) == 1 {
		s.only, s.more = s.more.list[0], nil
	}
	return existed, false
}
