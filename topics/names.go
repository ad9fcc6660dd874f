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
	children siblings[V]
	value    V
	has      bool
}

func (n *nameNode[V]) empty() bool { return !n.has && n.children.len() == 0 }

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
			at.children.add(strings.Clone(level), next)
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
	at := n.find(name)
	if at == nil {
		return v, false
	}
	return at.value, at.has
}

// find returns the node of a name, or of the beginning of names; nil: there is none.
func (n *Names[V]) find(name []byte) *nameNode[V] {
	at := &n.root
	for more := true; more && at != nil; {
		level := name
		i := bytes.IndexByte(name, '/')
		if more = i >= 0; more {
			level, name = name[:i], name[i+1:]
		}
		at = at.children.get(level)
	}
	return at
}

// Delete removes a name, frees the nodes that it alone needed, and returns its
// value.
func (n *Names[V]) Delete(name string) (old V, existed bool) {
	at := &n.root
	keep, branch := at, "" // the deepest node that others need too, and the level below it that they do not
	for more := true; more; {
		var level string
		level, name, more = strings.Cut(name, "/")
		if at == &n.root || at.has || at.children.len() > 1 {
			keep, branch = at, level
		}
		if at = at.children.get([]byte(level)); at == nil {
			return old, false
		}
	}
	if !at.has {
		return old, false
	}
	var none V
	old, at.value, at.has = at.value, none, false
	n.len--
	if at.empty() {
		keep.children.delete(branch)
	}
	return old, true
}
