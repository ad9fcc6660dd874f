package topics

import "hash/maphash"

// An exactFilter is a filter without wildcards: it matches the name that it
// spells, which one look into a table finds, however many levels it has.
type exactFilter[K comparable, V any] struct {
	filter string
	subs   subscribers[K, V]
}

func (f *Filters[K, V]) findExact(hash uint64, name []byte) *exactFilter[K, V] {
	slots := f.exact.slotsOf(hash)
	for e, at := seek(slots, hash, hash); ; e, at = seek(slots, hash, at) {
		if e == nil || e.filter == string(name) {
			return e
		}
	}
}

func (f *Filters[K, V]) setExact(filter string, key K, value V) (replaced bool) {
	hash := maphash.String(f.seed, filter)
	if e := f.findExact(hash, []byte(filter)); e != nil {
		return e.subs.set(key, value)
	}
	f.exact.add(hash, &exactFilter[K, V]{filter, newSubscribers(key, value)})
	return false
}

func (f *Filters[K, V]) getExact(filter string, key K) (value V, ok bool) {
	e := f.findExact(maphash.String(f.seed, filter), []byte(filter))
	if e == nil {
		return value, false
	}
	return e.subs.get(key)
}

func (f *Filters[K, V]) deleteExact(filter string, key K) (existed bool) {
	hash := maphash.String(f.seed, filter)
	e := f.findExact(hash, []byte(filter))
	if e == nil {
		return false
	}
	existed, empty := e.subs.delete(key)
	if empty {
		f.exact.remove(hash, e)
	}
	return existed
}
