package topics

// childrenSliceMax is how many children are searched one by one before a map
// is made.
const childrenSliceMax = 8

// children are the literal levels below a node. Few are a slice: most nodes of
// a topic tree have one or two, and a map for each would be most of the memory.
type children[N any] struct {
	few  []child[N]
	many map[string]*N
}

type child[N any] struct {
	level string
	node  *N
}

func (c *children[N]) get(level []byte) *N {
	if c.many != nil {
		return c.many[string(level)]
	}
	for i := range c.few {
		if c.few[i].level == string(level) {
			return c.few[i].node
		}
	}
	return nil
}

func (c *children[N]) set(level string, n *N) {
	if c.many == nil && len(c.few) < childrenSliceMax {
		c.few = append(c.few, child[N]{level, n})
		return
	}
	if c.many == nil {
		c.many = make(map[string]*N, 2*childrenSliceMax)
		for _, ch := range c.few {
			c.many[ch.level] = ch.node
		}
		c.few = nil
	}
	c.many[level] = n
}

func (c *children[N]) delete(level string) {
	if c.many != nil {
		delete(c.many, level)
		if len(c.many) == 0 { // a map does not shrink by itself
			c.many = nil
		}
		return
	}
	for i := range c.few {
		if c.few[i].level == level {
			last := len(c.few) - 1
			c.few[i] = c.few[last]
			c.few[last] = child[N]{}
			c.few = c.few[:last]
			return
		}
	}
}

func (c *children[N]) len() int { return len(c.few) + len(c.many) }
