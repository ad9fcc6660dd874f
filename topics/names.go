package topics

import (
	"bytes"
	"strings"
)

// Names is a trie of Topic Names, each with a value.
type Names[V any] struct {
	root nameNode[V]
	len  int
}

type nameNode[V any] struct {
	children children[nameNode[V]]
	value    V
	has      bool
}

// NewNames returns an empty trie.
func NewNames[V any]() *Names[V] { return new(Names[V]) }

// Len is the number of names.
func (n *Names[V]) Len() int { return n.len }

// Set gives a name a value and returns the one it had.
func (n *Names[V]) Set(name string, v V) (old V, replaced bool) {
	at := &n.root
	for more := true; more; {
		var level string
		level, name, more = strings.Cut(name, "/")
		next := at.children.get([]byte(level))
		if next == nil {
			next = new(nameNode[V])
			at.children.set(strings.Clone(level), next)
		}
		at = next
	}
	old, replaced = at.value, at.has
	at.value, at.has = v, true
	if !replaced {
		n.len++
	}
	return old, replaced
}

// Get returns the value of a name.
func (n *Names[V]) Get(name []byte) (v V, ok bool) {
	at := &n.root
	for more := true; more; {
		level := name
		i := bytes.IndexByte(name, '/')
		if more = i >= 0; more {
			level, name = name[:i], name[i+1:]
		}
		if at = at.children.get(level); at == nil {
			return v, false
		}
	}
	return at.value, at.has
}

// Delete removes a name, frees the nodes that it alone needed, and returns its
// value.
func (n *Names[V]) Delete(name string) (old V, existed bool) {
	type step struct {
		from  *nameNode[V]
		level string
	}
	path := make([]step, 0, 16)
	at := &n.root
	for more := true; more; {
		var level string
		level, name, more = strings.Cut(name, "/")
		path = append(path, step{at, level})
		if at = at.children.get([]byte(level)); at == nil {
			return old, false
		}
	}
	if !at.has {
		return old, false
	}
	old, existed = at.value, true
	var none V
	at.value, at.has = none, false
	n.len--
	for i := len(path) - 1; i >= 0; i-- {
		p := path[i]
		if c := p.from.children.get([]byte(p.level)); c.has || c.children.len() > 0 {
			break
		}
		p.from.children.delete(p.level)
	}
	return old, true
}

// AppendMatches appends the values of the names that a valid filter matches, at
// most limit if that is positive, in no particular order.
func (n *Names[V]) AppendMatches(dst []V, filter string, limit int) []V {
	found := 0
	n.Walk(filter, func(v V) bool {
		dst = append(dst, v)
		found++
		return found != limit
	})
	return dst
}

// visit is a node still to be walked and what is left of the filter below it.
type visit[V any] struct {
	node   *nameNode[V]
	filter string
	all    bool // everything from here on: the filter was #
	end    bool // the filter ends here
}

// Walk calls fn with the value of each name that a valid filter matches, in no
// particular order, until it returns false. fn must not change n.
func (n *Names[V]) Walk(filter string, fn func(v V) bool) {
	stack := make([]visit[V], 0, 64)
	push := func(v visit[V]) { stack = append(stack, v) }
	n.root.expand(filter, true, push)
	for len(stack) > 0 {
		v := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		switch {
		case v.all:
			if v.node.has && !fn(v.node.value) {
				return
			}
			v.node.children.each(func(_ string, c *nameNode[V]) { push(visit[V]{node: c, all: true}) })
		case v.end || v.filter == "#": // a/# matches a
			if v.node.has && !fn(v.node.value) {
				return
			}
			if !v.end {
				v.node.expand("#", false, push)
			}
		default:
			v.node.expand(v.filter, false, push)
		}
	}
}

// expand pushes the children that the first level of filter matches.
func (n *nameNode[V]) expand(filter string, root bool, push func(visit[V])) {
	level, rest, more := strings.Cut(filter, "/")
	below := visit[V]{filter: rest, end: !more, all: level == "#"}
	if level != "#" && level != "+" {
		if c := n.children.get([]byte(level)); c != nil {
			below.node = c
			push(below)
		}
		return
	}
	n.children.each(func(level string, c *nameNode[V]) {
		if root && strings.HasPrefix(level, "$") { // [MQTT-4.7.2-1]
			return
		}
		below.node = c
		push(below)
	})
}
