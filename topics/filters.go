package topics

import (
	"bytes"
	"strings"
)

// A Match is one subscription whose filter matches.
type Match[K comparable, V any] struct {
	Key   K
	Value V
}

// Filters is a trie of Topic Filters, each with its subscribers K and a value V
// for each pair of filter and subscriber.
type Filters[K comparable, V any] struct {
	root filterNode[K, V]
	len  int
}

type filterNode[K comparable, V any] struct {
	children children[filterNode[K, V]]
	plus     *filterNode[K, V] // the level +
	subs     subscribers[K, V] // of the filter that ends here
	rest     subscribers[K, V] // of the filter that goes on with /# here
}

func (n *filterNode[K, V]) empty() bool {
	return n.plus == nil && n.children.len() == 0 && len(n.subs.list) == 0 && len(n.rest.list) == 0
}

// NewFilters returns an empty trie.
func NewFilters[K comparable, V any]() *Filters[K, V] { return new(Filters[K, V]) }

// Len is the number of pairs of filter and subscriber.
func (f *Filters[K, V]) Len() int { return f.len }

// Set subscribes key to a valid filter, or replaces its value.
func (f *Filters[K, V]) Set(filter string, key K, value V) (replaced bool) {
	n := &f.root
	for more := true; more; {
		var level string
		level, filter, more = strings.Cut(filter, "/")
		if level == "#" {
			return f.count(n.rest.set(key, value))
		}
		n = n.grow(level)
	}
	return f.count(n.subs.set(key, value))
}

func (f *Filters[K, V]) count(replaced bool) bool {
	if !replaced {
		f.len++
	}
	return replaced
}

func (n *filterNode[K, V]) grow(level string) *filterNode[K, V] {
	if level == "+" {
		if n.plus == nil {
			n.plus = new(filterNode[K, V])
		}
		return n.plus
	}
	next := n.children.get([]byte(level))
	if next == nil {
		next = new(filterNode[K, V])
		n.children.set(strings.Clone(level), next)
	}
	return next
}

// step is one level on the way to a filter's node.
type step[K comparable, V any] struct {
	from  *filterNode[K, V]
	level string
}

// find returns the subscribers of a filter and the way to their node.
func (f *Filters[K, V]) find(filter string, path []step[K, V]) (*subscribers[K, V], []step[K, V]) {
	n := &f.root
	for more := true; more; {
		var level string
		level, filter, more = strings.Cut(filter, "/")
		if level == "#" {
			return &n.rest, path
		}
		path = append(path, step[K, V]{n, level})
		if level == "+" {
			n = n.plus
		} else {
			n = n.children.get([]byte(level))
		}
		if n == nil {
			return nil, path
		}
	}
	return &n.subs, path
}

// Get returns the value of a pair of filter and subscriber.
func (f *Filters[K, V]) Get(filter string, key K) (value V, ok bool) {
	s, _ := f.find(filter, nil)
	if s == nil {
		return value, false
	}
	if i := s.index(key); i >= 0 {
		return s.list[i].Value, true
	}
	return value, false
}

// Delete ends a subscription and frees the nodes that it alone needed.
func (f *Filters[K, V]) Delete(filter string, key K) (existed bool) {
	s, path := f.find(filter, make([]step[K, V], 0, 16))
	if s == nil || !s.delete(key) {
		return false
	}
	f.len--
	for i := len(path) - 1; i >= 0; i-- {
		p := path[i]
		if p.level == "+" {
			if !p.from.plus.empty() {
				break
			}
			p.from.plus = nil
			continue
		}
		if !p.from.children.get([]byte(p.level)).empty() {
			break
		}
		p.from.children.delete(p.level)
	}
	return true
}

// frontierSize is how many nodes of one depth are walked without allocating.
const frontierSize = 32

// AppendMatches appends every subscription whose filter matches the Topic Name;
// a subscriber with several such filters comes several times. Nothing is
// allocated while dst has room and at most frontierSize nodes of one depth match.
func (f *Filters[K, V]) AppendMatches(dst []Match[K, V], name []byte) []Match[K, V] {
	var here, below [frontierSize]*filterNode[K, V]
	at, next := here[:0], below[:0]
	at = append(at, &f.root)
	wild := len(name) == 0 || name[0] != '$' // [MQTT-4.7.2-1]
	for more := true; more && len(at) > 0; wild = true {
		level := name
		i := bytes.IndexByte(name, '/')
		if more = i >= 0; more {
			level, name = name[:i], name[i+1:]
		}
		next = next[:0]
		for _, n := range at {
			if wild {
				dst = append(dst, n.rest.list...)
				if n.plus != nil {
					next = append(next, n.plus)
				}
			}
			if c := n.children.get(level); c != nil {
				next = append(next, c)
			}
		}
		at, next = next, at
	}
	for _, n := range at { // the name ends here; a/# matches a
		dst = append(dst, n.subs.list...)
		dst = append(dst, n.rest.list...)
	}
	return dst
}
