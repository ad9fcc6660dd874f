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
	plus     *filterNode[K, V]  // the level +
	subs     *subscribers[K, V] // of the filter that ends here; nil: none
	rest     *subscribers[K, V] // of the filter that goes on with /# here; nil: none
}

// ways is how many reasons there are to keep a node.
func (n *filterNode[K, V]) ways() int {
	ways := n.children.len()
	for _, has := range [...]bool{n.plus != nil, n.subs != nil, n.rest != nil} {
		if has {
			ways++
		}
	}
	return ways
}

func (n *filterNode[K, V]) empty() bool { return n.ways() == 0 }

// next is the node of a level below n, or nil.
func (n *filterNode[K, V]) next(level string) *filterNode[K, V] {
	if level == "+" {
		return n.plus
	}
	return n.children.get([]byte(level))
}

// drop forgets the node of a level below n, with all that is below it.
func (n *filterNode[K, V]) drop(level string) {
	if level == "+" {
		n.plus = nil
		return
	}
	n.children.delete(level)
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
			return f.count(setSubscriber(&n.rest, key, value))
		}
		n = n.grow(level)
	}
	return f.count(setSubscriber(&n.subs, key, value))
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

// Get returns the value of a pair of filter and subscriber.
func (f *Filters[K, V]) Get(filter string, key K) (value V, ok bool) {
	n := &f.root
	for more := true; more; {
		var level string
		level, filter, more = strings.Cut(filter, "/")
		if level == "#" {
			return n.rest.get(key)
		}
		if n = n.next(level); n == nil {
			return value, false
		}
	}
	return n.subs.get(key)
}

// Delete ends a subscription and frees the nodes that it alone needed.
func (f *Filters[K, V]) Delete(filter string, key K) (existed bool) {
	n := &f.root
	keep, branch := n, "" // the deepest node that others need too, and the level below it that they do not
	set := &n.subs
	for more := true; more; {
		var level string
		level, filter, more = strings.Cut(filter, "/")
		if level == "#" {
			set = &n.rest
			break
		}
		if n == &f.root || n.ways() > 1 {
			keep, branch = n, level
		}
		if n = n.next(level); n == nil {
			return false
		}
		set = &n.subs
	}
	if !deleteSubscriber(set, key) {
		return false
	}
	f.len--
	if n != &f.root && n.empty() {
		keep.drop(branch)
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
				dst = n.rest.appendTo(dst)
			}
			next = n.appendNext(next, level, wild)
		}
		at, next = next, at
	}
	for _, n := range at { // the name ends here; a/# matches a
		dst = n.subs.appendTo(dst)
		dst = n.rest.appendTo(dst)
	}
	return dst
}

// appendNext appends the nodes below n, at most two, that match a level.
func (n *filterNode[K, V]) appendNext(next []*filterNode[K, V], level []byte, wild bool) []*filterNode[K, V] {
	if wild && n.plus != nil {
		next = append(next, n.plus)
	}
	if c := n.children.get(level); c != nil {
		next = append(next, c)
	}
	return next
}
