package topics

// childrenSliceMax is how many children are searched one by one before a map
// is made.
const childrenSliceMax = 8

type child[N any] struct {
	level string
	node  *N
}

// siblings are the nodes below a node of Names: always a list, with an index
// when it is long. A walk can stop anywhere in a list and needs no copy of it;
// with a map alone it could not.
type siblings[V any] struct {
	list    []child[nameNode[V]]
	byLevel map[string]int
}

func (s *siblings[V]) len() int { return len(s.list) }

// position is where in the list a level is, or -1.
func (s *siblings[V]) position(level []byte) int {
	if s.byLevel != nil {
		if i, ok := s.byLevel[string(level)]; ok {
			return i
		}
		return -1
	}
	for i := range s.list {
		if s.list[i].level == string(level) {
			return i
		}
	}
	return -1
}

func (s *siblings[V]) get(level []byte) *nameNode[V] {
	if i := s.position(level); i >= 0 {
		return s.list[i].node
	}
	return nil
}

// add adds a level that is not there yet.
func (s *siblings[V]) add(level string, n *nameNode[V]) {
	s.list = append(s.list, child[nameNode[V]]{level, n})
	switch {
	case s.byLevel != nil:
		s.byLevel[level] = len(s.list) - 1
	case len(s.list) > childrenSliceMax:
		s.byLevel = make(map[string]int, 2*len(s.list))
		for i := range s.list {
			s.byLevel[s.list[i].level] = i
		}
	}
}

// delete removes a level that is there.
func (s *siblings[V]) delete(level string) {
	i, last := s.position([]byte(level)), len(s.list)-1
	if last == 0 { // lists and maps do not shrink by themselves
		s.list, s.byLevel = nil, nil
		return
	}
	s.list[i] = s.list[last]
	s.list[last] = child[nameNode[V]]{}
	s.list = s.list[:last]
	if s.byLevel != nil {
		s.byLevel[s.list[min(i, last-1)].level] = min(i, last-1)
		delete(s.byLevel, level)
	}
}
