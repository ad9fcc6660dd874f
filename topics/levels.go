package topics

import "strings"

// Levels calls fn with the next levels that names have right below a prefix, limit at most:
// "" is above all names, any other prefix ends with a slash. It begins at a place, which is
// math.MaxInt for the first call, and returns the place of the next call, 0 when there is
// none, and how many levels there are. They come in no particular order. Names may change
// between two calls: a level that was there before the first and is there after the last
// comes once at least.
func (n *Names[V]) Levels(prefix string, from, limit int, fn func(level string)) (next, all int) {
	at := n.below(prefix)
	if at == nil {
		return 0, 0
	}
	// From the last to the first: the last takes the place of one that is deleted.
	list := at.children.list
	next = min(from, len(list))
	for ; next > 0 && limit > 0; limit-- {
		next--
		fn(list[next].level)
	}
	return next, len(list)
}

// below is the node that has what is below a prefix; nil: nothing is.
func (n *Names[V]) below(prefix string) *nameNode[V] {
	if prefix == "" {
		return &n.root
	}
	return n.find([]byte(strings.TrimSuffix(prefix, "/")))
}

// Below counts the names below another, which need not be one, with so many visits of nodes.
// whole says that they were enough. exists: there is one, or the name itself is one.
func (n *Names[V]) Below(name string, visits int) (count int, whole, exists bool) {
	at := n.find([]byte(name))
	if at == nil {
		return 0, true, false
	}
	_, whole = at.walk("#", false, visits, func(V) bool {
		count++
		return true
	})
	return count, whole, true
}
