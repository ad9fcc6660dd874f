package topics

import (
	"hash/maphash"
	"strings"
)

// A Match is one subscription whose filter matches.
type Match[K comparable, V any] struct {
	Key   K
	Value V
}

// Filters is a set of Topic Filters, each with its subscribers K and a value V
// for each pair of filter and subscriber. Those without wildcards are in a hash
// table, the others in a trie.
type Filters[K comparable, V any] struct {
	exact table[exactFilter[K, V]]
	wild  wildTrie[K, V]
	seed  maphash.Seed
	len   int
}

// NewFilters returns an empty set.
func NewFilters[K comparable, V any]() *Filters[K, V] {
	seed := maphash.MakeSeed()
	return &Filters[K, V]{seed: seed, wild: wildTrie[K, V]{seed: seed}}
}

// Len is the number of pairs of filter and subscriber.
func (f *Filters[K, V]) Len() int { return f.len }

// Set subscribes key to a valid filter, or replaces its value. It may keep the
// string, which had better not be a piece of a longer one.
func (f *Filters[K, V]) Set(filter string, key K, value V) (replaced bool) {
	if isWild(filter) {
		replaced = f.wild.set(filter, key, value)
	} else {
		replaced = f.setExact(filter, key, value)
	}
	if !replaced {
		f.len++
	}
	return replaced
}

// Get returns the value of a pair of filter and subscriber.
func (f *Filters[K, V]) Get(filter string, key K) (value V, ok bool) {
	if isWild(filter) {
		return f.wild.get(filter, key)
	}
	return f.getExact(filter, key)
}

// Delete ends a subscription and frees what it alone needed.
func (f *Filters[K, V]) Delete(filter string, key K) (existed bool) {
	if isWild(filter) {
		existed = f.wild.delete(filter, key)
	} else {
		existed = f.deleteExact(filter, key)
	}
	if existed {
		f.len--
	}
	return existed
}

func isWild(filter string) bool {
	return strings.IndexByte(filter, '+') >= 0 || strings.IndexByte(filter, '#') >= 0
}

// AppendMatches appends every subscription whose filter matches the Topic Name;
// a subscriber with several such filters comes several times. Nothing is
// allocated while dst has room and at most frontierSize nodes of one depth match.
func (f *Filters[K, V]) AppendMatches(dst []Match[K, V], name []byte) []Match[K, V] {
	if f.exact.len > 0 {
		if e := f.findExact(maphash.Bytes(f.seed, name), name); e != nil {
			dst = e.subs.appendTo(dst)
		}
	}
	if !f.wild.root.empty() {
		dst = f.wild.appendMatches(dst, name)
	}
	return dst
}
