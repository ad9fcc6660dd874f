package broker

import (
	"cmp"
	"slices"

	"github.com/x0a1b/promptmq/session"
	"github.com/x0a1b/promptmq/topics"
)

// A retainedMessage is the retained message of one Topic Name.
type retainedMessage struct {
	message *session.Message
	version uint64
	owner   *retainedShare // that of the user who published it; nil: nobody's
	timer   uint32         // its place in timers
}

// A retainedSet is all retained messages. It is data only: see retained.
type retainedSet struct {
	byName    *topics.Names[*retainedMessage]
	byVersion versions // of the same messages
	bytes     int64    // the sum over them
	shares    retainedShares
	// version is that of the last change. Each change has a higher one than those before
	// it, also after a restart.
	version uint64
}

func newRetainedSet() retainedSet {
	return retainedSet{byName: topics.NewNames[*retainedMessage](), shares: make(retainedShares)}
}

func (s *retainedSet) len() int { return s.byName.Len() }

// get returns the retained message of a Topic Name; nil: none.
func (s *retainedSet) get(topic []byte) *retainedMessage {
	r, _ := s.byName.Get(topic)
	return r
}

// set makes m, of a user or of nobody, the retained message of its Topic Name, and returns it
// and the one that it replaces; nil: none.
func (s *retainedSet) set(m *session.Message, user string) (set, old *retainedMessage) {
	s.version++
	set = &retainedMessage{message: m, version: s.version, owner: s.shares.of(user)}
	s.shares.count(set)
	old, _ = s.byName.Set(m.Topic, set)
	s.byVersion.add(set)
	s.bytes += int64(m.Bytes())
	if old != nil {
		s.forget(old)
	}
	return set, old
}

// remove removes the retained message of a Topic Name and returns it; nil: there was
// none, and nothing is changed.
func (s *retainedSet) remove(topic string) *retainedMessage {
	old, existed := s.byName.Delete(topic)
	if !existed {
		return nil
	}
	s.version++
	s.forget(old)
	return old
}

// forget takes out what is no longer by its name.
func (s *retainedSet) forget(old *retainedMessage) {
	s.byVersion.remove(old.version)
	s.bytes -= int64(old.message.Bytes())
	s.shares.uncount(old)
}

// restore puts stored messages, in any order, into an empty set. Their owners are among
// shares, and have nothing yet.
func (s *retainedSet) restore(all []*retainedMessage, shares retainedShares) {
	s.shares = shares
	for _, r := range all {
		s.shares.count(r)
		s.byName.Set(r.message.Topic, r)
		s.bytes += int64(r.message.Bytes())
		s.skipTo(r.version)
	}
	s.byVersion.fill(all)
}

// skipTo makes the next change have a higher version than this one.
func (s *retainedSet) skipTo(version uint64) { s.version = max(s.version, version) }

// fits reports whether a message of so many bytes may be retained for a Topic Name.
func (s *retainedSet) fits(topic []byte, bytes int64, messagesMax int, bytesMax int64) bool {
	bytes += s.bytes
	if old := s.get(topic); old != nil {
		return bytes-int64(old.message.Bytes()) <= bytesMax
	}
	return s.len() < messagesMax && bytes <= bytesMax
}

// mayMatch reports whether a message that filter matches may be retained, as far as
// that can be told at once.
func (s *retainedSet) mayMatch(filter string) bool {
	if s.len() == 0 {
		return false
	}
	name := viewOf(filter)
	return topics.HasWildcard(name) || s.get(name) != nil
}

// find returns the messages that filter matches with a version above after and up to
// upTo, oldest first, and how many of the visits of nodes are left; negative: they
// were not enough, or more than limit messages match.
func (s *retainedSet) find(filter string, after, upTo uint64, limit, visits int) (found []*retainedMessage, left int) {
	left, whole := s.byName.Walk(filter, visits, func(r *retainedMessage) bool {
		if after < r.version && r.version <= upTo {
			found = append(found, r)
		}
		return len(found) <= limit
	})
	if !whole {
		return nil, -1
	}
	slices.SortFunc(found, compareVersions)
	return found, left
}

// A versions is the retained messages in the order of their versions. A version is
// all that must be remembered, also on disk, of how far somebody has come in it. The
// cost of a change, and of going on from a version, hardly depends on how many there
// are.
type versions struct {
	// from has for each block a version that is above all in the blocks before it, and
	// not above any in it.
	from   []uint64
	blocks [][]versioned // in order; none is empty
}

// A versioned repeats the version of a message, so that a search looks at nothing else.
type versioned struct {
	version uint64
	message *retainedMessage
}

// versionsBlock is the most messages of a block.
const versionsBlock = 256

func compareVersions(a, b *retainedMessage) int { return cmp.Compare(a.version, b.version) }

func compareVersion(a versioned, version uint64) int { return cmp.Compare(a.version, version) }

// fill replaces all by messages in any order.
func (v *versions) fill(all []*retainedMessage) {
	slices.SortFunc(all, compareVersions)
	*v = versions{}
	for _, r := range all {
		v.add(r)
	}
}

// add puts in a message whose version is higher than all others.
func (v *versions) add(r *retainedMessage) {
	last := len(v.blocks) - 1
	if last < 0 || len(v.blocks[last]) == versionsBlock {
		v.from, v.blocks = append(v.from, r.version), append(v.blocks, nil)
		last++
	}
	v.blocks[last] = append(v.blocks[last], versioned{r.version, r})
}

// remove takes out the message with this version.
func (v *versions) remove(version uint64) {
	i := v.blockOf(version)
	if i < 0 {
		return
	}
	block := v.blocks[i]
	j, found := slices.BinarySearchFunc(block, version, compareVersion)
	if !found {
		return
	}
	v.blocks[i] = slices.Delete(block, j, j+1)
	switch {
	case len(block) == 1:
		v.dropBlock(i)
	case len(block) < versionsBlock/2: // else it joins nothing
		v.join(i)
		v.join(i - 1)
	}
}

// join makes one of a block and the next, if both are nearly empty.
func (v *versions) join(i int) {
	if i >= 0 && i+1 < len(v.blocks) && len(v.blocks[i])+len(v.blocks[i+1]) <= versionsBlock/2 {
		v.blocks[i] = append(v.blocks[i], v.blocks[i+1]...)
		v.dropBlock(i + 1)
	}
}

func (v *versions) dropBlock(i int) {
	v.from, v.blocks = slices.Delete(v.from, i, i+1), slices.Delete(v.blocks, i, i+1)
}

// get returns the message with this version; nil: it is retained no longer.
func (v *versions) get(version uint64) *retainedMessage {
	if r := v.after(version - 1); r != nil && r.version == version {
		return r
	}
	return nil
}

// after returns the first message with a higher version; nil: there is none.
func (v *versions) after(version uint64) *retainedMessage {
	for i := max(0, v.blockOf(version)); i < len(v.blocks); i++ { // at most the next
		if j, _ := slices.BinarySearchFunc(v.blocks[i], version+1, compareVersion); j < len(v.blocks[i]) {
			return v.blocks[i][j].message
		}
	}
	return nil
}

// blockOf returns the index of the only block in which version can be; -1: none.
func (v *versions) blockOf(version uint64) int {
	i, found := slices.BinarySearch(v.from, version)
	if found {
		return i
	}
	return i - 1
}
