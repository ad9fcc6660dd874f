package broker

import (
	"cmp"
	"slices"
)

// A history is the retained messages in the order of their versions, which is
// the same after a restart: a version is all that must be remembered of how far
// somebody has come. Neither a change nor to go on from a version depends much on
// how many there are.
type history struct {
	// from has for each block a version that none in it is below, and all in those
	// before it are.
	from   []uint64
	blocks [][]change // in order; none is empty
}

// A change is a retained message with its version, for searches that look at
// nothing else.
type change struct {
	version uint64
	at      *retained
}

// historyBlock is the most messages of a block.
const historyBlock = 256

func changeOf(at *retained) change { return change{at.version, at} }

func byVersion(c change, version uint64) int { return cmp.Compare(c.version, version) }

// fill replaces all by messages in any order.
func (h *history) fill(all []*retained) {
	slices.SortFunc(all, func(a, b *retained) int { return cmp.Compare(a.version, b.version) })
	*h = history{}
	for _, at := range all {
		h.add(at)
	}
}

// add puts in a message whose version is higher than all others.
func (h *history) add(at *retained) {
	last := len(h.blocks) - 1
	if last < 0 || len(h.blocks[last]) == historyBlock {
		h.from, h.blocks = append(h.from, at.version), append(h.blocks, nil)
		last++
	}
	h.blocks[last] = append(h.blocks[last], changeOf(at))
}

// remove takes out the message with this version.
func (h *history) remove(version uint64) {
	i := h.blockOf(version)
	if i < 0 {
		return
	}
	block := h.blocks[i]
	j, found := slices.BinarySearchFunc(block, version, byVersion)
	if !found {
		return
	}
	h.blocks[i] = slices.Delete(block, j, j+1)
	switch {
	case len(block) == 1:
		h.drop(i)
	case len(block) < historyBlock/2: // else it joins nothing
		h.join(i)
		h.join(i - 1)
	}
}

// join makes one of a block and the next, if both are nearly empty.
func (h *history) join(i int) {
	if i >= 0 && i+1 < len(h.blocks) && len(h.blocks[i])+len(h.blocks[i+1]) <= historyBlock/2 {
		h.blocks[i] = append(h.blocks[i], h.blocks[i+1]...)
		h.drop(i + 1)
	}
}

func (h *history) drop(i int) {
	h.from, h.blocks = slices.Delete(h.from, i, i+1), slices.Delete(h.blocks, i, i+1)
}

// get returns the message with this version; nil: it is not there any more.
func (h *history) get(version uint64) *retained {
	if at := h.after(version - 1); at != nil && at.version == version {
		return at
	}
	return nil
}

// blockOf returns the index of the only block in which version can be; -1: none.
func (h *history) blockOf(version uint64) int {
	i, found := slices.BinarySearch(h.from, version)
	if found {
		return i
	}
	return i - 1
}

// after returns the first message with a higher version; nil: there is none.
func (h *history) after(version uint64) *retained {
	i := max(0, h.blockOf(version))
	for ; i < len(h.blocks); i++ { // at most the next
		if j, _ := slices.BinarySearchFunc(h.blocks[i], version+1, byVersion); j < len(h.blocks[i]) {
			return h.blocks[i][j].at
		}
	}
	return nil
}
