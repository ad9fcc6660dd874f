package topics

import (
	"math"
	"strings"
)

// AppendMatches appends the values of the names that a valid filter matches, at
// most limit if that is positive, in no particular order.
func (n *Names[V]) AppendMatches(dst []V, filter string, limit int) []V {
	found := 0
	n.Walk(filter, math.MaxInt, func(v V) bool {
		dst = append(dst, v)
		found++
		return found != limit
	})
	return dst
}

// cursor is a place among the siblings of one level that match the filter's.
type cursor[V any] struct {
	list       []child[nameNode[V]] // still to visit
	filter     string               // for what is below them
	ends       bool                 // a name may end with this level
	more       bool                 // a name may go on below
	skipDollar bool
}

// cursorsSize is how deep a walk goes without allocating.
const cursorsSize = 16

// Walk calls fn with the value of each name that a valid filter matches, in no
// particular order, until it returns false or so many nodes were visited that
// visits are used up. It reports how many of them are left, and whether the walk
// came to its end. fn must not change n.
//
// It goes depth first, visits a node at most once and holds one cursor for each
// level: its memory does not depend on how many names there are, nor does a
// walk of # that fn stops early.
func (n *Names[V]) Walk(filter string, visits int, fn func(v V) bool) (left int, whole bool) {
	return n.root.walk(filter, true, visits, fn)
}

// walk is Walk for what is below a node.
func (n *nameNode[V]) walk(filter string, first bool, visits int, fn func(v V) bool) (left int, whole bool) {
	var array [cursorsSize]cursor[V]
	way := append(array[:0], n.matching(filter, first))
	for len(way) > 0 {
		c := &way[len(way)-1]
		if len(c.list) == 0 {
			way = way[:len(way)-1]
			continue
		}
		if visits == 0 {
			return 0, false
		}
		visits--
		at := c.list[0]
		c.list = c.list[1:]
		if c.skipDollar && strings.HasPrefix(at.level, "$") {
			continue
		}
		if c.ends && at.node.has && !fn(at.node.value) {
			return visits, false
		}
		if c.more && at.node.children.len() > 0 {
			way = append(way, at.node.matching(c.filter, false))
		}
	}
	return visits, true
}

// matching returns the nodes below n that the first level of filter matches.
func (n *nameNode[V]) matching(filter string, first bool) cursor[V] {
	level, below, more := strings.Cut(filter, "/")
	c := cursor[V]{filter: below, more: more, ends: !more || below == "#"} // a/# matches a
	switch level {
	case "#":
		c.list, c.filter, c.more = n.children.list, "#", true
	case "+":
		c.list = n.children.list
	default:
		if i := n.children.position([]byte(level)); i >= 0 {
			c.list = n.children.list[i : i+1]
		}
		return c
	}
	c.skipDollar = first // [MQTT-4.7.2-1]
	return c
}
