package topics

const (
	// crowdIndexMin is how many subscribers of one filter are searched one
	// by one before an index is made.
	crowdIndexMin = 16

	// A list with room for more than crowdShrinkMin is halved when a
	// quarter of it is used.
	crowdShrinkMin = 16
)

// A crowd is a set of keys with values: a slice, so that a match copies it at
// once, with an index when it is long.
type crowd[K comparable, V any] struct {
	list  []Match[K, V]
	byKey map[K]int
}

func (c *crowd[K, V]) index(key K) int {
	if c.byKey != nil {
		if i, ok := c.byKey[key]; ok {
			return i
		}
		return -1
	}
	for i := range c.list {
		if c.list[i].Key == key {
			return i
		}
	}
	return -1
}

func (c *crowd[K, V]) get(key K) (value V, ok bool) {
	if i := c.index(key); i >= 0 {
		return c.list[i].Value, true
	}
	return value, false
}

func (c *crowd[K, V]) set(key K, value V) (replaced bool) {
	if i := c.index(key); i >= 0 {
		c.list[i].Value = value
		return true
	}
	c.list = append(c.list, Match[K, V]{key, value})
	switch {
	case c.byKey != nil:
		c.byKey[key] = len(c.list) - 1
	case len(c.list) >= crowdIndexMin:
		c.makeIndex()
	}
	return false
}

func (c *crowd[K, V]) makeIndex() {
	c.byKey = make(map[K]int, 2*len(c.list))
	for i := range c.list {
		c.byKey[c.list[i].Key] = i
	}
}

func (c *crowd[K, V]) delete(key K) (existed bool) {
	i := c.index(key)
	if i < 0 {
		return false
	}
	last := len(c.list) - 1
	c.list[i] = c.list[last]
	c.list[last] = Match[K, V]{}
	c.list = c.list[:last]
	if c.byKey != nil {
		if i < last {
			c.byKey[c.list[i].Key] = i
		}
		delete(c.byKey, key)
	}
	if cap(c.list) > crowdShrinkMin && last <= cap(c.list)/4 {
		c.shrink()
	}
	return true
}

// shrink gives memory back, which neither slices nor maps do by themselves.
func (c *crowd[K, V]) shrink() {
	c.list = append(make([]Match[K, V], 0, cap(c.list)/2), c.list...)
	if c.byKey = nil; len(c.list) >= crowdIndexMin {
		c.makeIndex()
	}
}
