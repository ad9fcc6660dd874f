package topics

import (
	"bytes"
	"hash/maphash"
	"strings"
)

// A wildTrie holds the Topic Filters with wildcards.
type wildTrie[K comparable, V any] struct {
	root wildNode[K, V]
	// edges has the literal children of all nodes: most have one or two, and
	// a map for each would cost a match more cache misses.
	edges table[wildNode[K, V]]
	seed  maphash.Seed
}

type wildNode[K comparable, V any] struct {
	parent   *wildNode[K, V]    // nil: the root
	level    string             // as its parent knows it
	salt     uint64             // of the hashes of its children, see edge
	literals int                // children in edges
	plus     *wildNode[K, V]    // the child for the level +
	subs     *subscribers[K, V] // of the filter that ends here; nil: none
	rest     *subscribers[K, V] // of the filter that goes on with /# here; nil: none
}

func (n *wildNode[K, V]) empty() bool {
	return n.literals == 0 && n.plus == nil && n.subs == nil && n.rest == nil
}

// edge is the hash of a literal child: of its level and of a number that its
// parent drew, so that the same level below many nodes is not one hash.
func (n *wildNode[K, V]) edge(level uint64) uint64 { return level ^ n.salt }

// newSalt returns a random number: what a random seed makes of nothing.
func newSalt() uint64 { return maphash.String(maphash.MakeSeed(), "") }

func (t *wildTrie[K, V]) literal(n *wildNode[K, V], hash uint64, level []byte) *wildNode[K, V] {
	if n.literals == 0 {
		return nil
	}
	hash = n.edge(hash)
	slots := t.edges.slotsOf(hash)
	for c, at := seek(slots, hash, hash); ; c, at = seek(slots, hash, at) {
		if c == nil || c.parent == n && c.level == string(level) {
			return c
		}
	}
}

// child is the node of a level below n, or nil; with grow it makes one.
func (t *wildTrie[K, V]) child(n *wildNode[K, V], level string, grow bool) *wildNode[K, V] {
	if level == "+" {
		if n.plus == nil && grow {
			n.plus = &wildNode[K, V]{parent: n, level: "+", salt: newSalt()}
		}
		return n.plus
	}
	hash := maphash.String(t.seed, level)
	c := t.literal(n, hash, []byte(level))
	if c == nil && grow {
		c = &wildNode[K, V]{parent: n, level: strings.Clone(level), salt: newSalt()}
		t.edges.add(n.edge(hash), c)
		n.literals++
	}
	return c
}

// find returns the node where a filter ends, or nil, and the filter's
// subscribers there; with grow it makes the node.
func (t *wildTrie[K, V]) find(filter string, grow bool) (n *wildNode[K, V], subs **subscribers[K, V]) {
	n = &t.root
	for more := true; more; {
		var level string
		level, filter, more = strings.Cut(filter, "/")
		if level == "#" {
			return n, &n.rest
		}
		if n = t.child(n, level, grow); n == nil {
			return nil, nil
		}
	}
	return n, &n.subs
}

func (t *wildTrie[K, V]) set(filter string, key K, value V) (replaced bool) {
	_, subs := t.find(filter, true)
	if *subs == nil {
		only := newSubscribers(key, value)
		*subs = &only
		return false
	}
	return (*subs).set(key, value)
}

func (t *wildTrie[K, V]) get(filter string, key K) (value V, ok bool) {
	n, subs := t.find(filter, false)
	if n == nil || *subs == nil {
		return value, false
	}
	return (*subs).get(key)
}

func (t *wildTrie[K, V]) delete(filter string, key K) (existed bool) {
	n, subs := t.find(filter, false)
	if n == nil || *subs == nil {
		return false
	}
	existed, empty := (*subs).delete(key)
	if empty {
		*subs = nil
		t.prune(n)
	}
	return existed
}

// prune frees a node that nothing needs any more, and those above it that only
// it needed.
func (t *wildTrie[K, V]) prune(n *wildNode[K, V]) {
	for ; n.empty() && n.parent != nil; n = n.parent {
		if n.level == "+" {
			n.parent.plus = nil
			continue
		}
		t.edges.remove(n.parent.edge(maphash.String(t.seed, n.level)), n)
		n.parent.literals--
	}
}

// frontierSize is how many nodes of one depth are walked without allocating.
const frontierSize = 32

// appendMatches walks down as long as one node of each depth matches, which is
// nearly always; a frontier would first have to be cleared.
func (t *wildTrie[K, V]) appendMatches(dst []Match[K, V], name []byte) []Match[K, V] {
	n, wild := &t.root, len(name) == 0 || name[0] != '$' // [MQTT-4.7.2-1]
	for more := true; more; wild = true {
		var level []byte
		level, name, more = cutLevel(name)
		if wild && n.rest != nil {
			dst = n.rest.appendTo(dst)
		}
		plus := n.plus
		if !wild {
			plus = nil
		}
		literal := t.literal(n, maphash.Bytes(t.seed, level), level)
		switch {
		case plus != nil && literal != nil:
			return t.appendForked(dst, plus, literal, name, more)
		case plus != nil:
			n = plus
		case literal != nil:
			n = literal
		default:
			return dst
		}
	}
	return n.appendEnd(dst)
}

// appendForked goes on with two nodes, where there is more of the name.
func (t *wildTrie[K, V]) appendForked(dst []Match[K, V], plus, literal *wildNode[K, V], name []byte, more bool) []Match[K, V] {
	var here, below [frontierSize]*wildNode[K, V]
	at, next := append(here[:0], plus, literal), below[:0]
	for more && len(at) > 0 {
		var level []byte
		level, name, more = cutLevel(name)
		next = next[:0]
		hash := maphash.Bytes(t.seed, level)
		for _, n := range at {
			if n.rest != nil {
				dst = n.rest.appendTo(dst)
			}
			next = t.appendNext(next, n, hash, level)
		}
		at, next = next, at
	}
	for _, n := range at {
		dst = n.appendEnd(dst)
	}
	return dst
}

// appendNext appends the nodes below n, at most two, that match a level.
func (t *wildTrie[K, V]) appendNext(next []*wildNode[K, V], n *wildNode[K, V], hash uint64, level []byte) []*wildNode[K, V] {
	if n.plus != nil {
		next = append(next, n.plus)
	}
	if c := t.literal(n, hash, level); c != nil {
		next = append(next, c)
	}
	return next
}

// appendEnd appends the subscribers of filters that match a name which ends at
// n; a/# matches a.
func (n *wildNode[K, V]) appendEnd(dst []Match[K, V]) []Match[K, V] {
	if n.subs != nil {
		dst = n.subs.appendTo(dst)
	}
	if n.rest != nil {
		dst = n.rest.appendTo(dst)
	}
	return dst
}

func cutLevel(name []byte) (level, rest []byte, more bool) {
	if i := bytes.IndexByte(name, '/'); i >= 0 {
		return name[:i], name[i+1:], true
	}
	return name, nil, false
}
