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
	blocks [][]*retained // in order; none is empty
}

// historyBlock is the most messages of a block.
const historyBlock = 512

func byVersion(r *retained, version uint64) int { return cmp.Compare(r.version, version) }

// fill replaces all by messages in any order.
func (h *history) fill(all []*retained) {
	slices.SortFunc(all, func(a, b *retained) int { return cmp.Compare(a.version, b.version) })
	h.blocks = nil
	for block := range slices.Chunk(all, historyBlock) {
		h.blocks = append(h.blocks, slices.Clone(block))
	}
}

// add puts in a message whose version is higher than all others.
func (h *history) add(r *retained) {
	last := len(h.blocks) - 1
	if last < 0 || len(h.blocks[last]) == historyBlock {
		h.blocks = append(h.blocks, nil)
		last++
	}
	h.blocks[last] = append(h.blocks[last], r)
}

// remove takes out the message with this version.
func (h *history) remove(version uint64) {
	i := h.blockOf(version)
	if i == len(h.blocks) {
		return
	}
	block := h.blocks[i]
	j, found := slices.BinarySearchFunc(block, version, byVersion)
	if !found {
		return
	}
	block = slices.Delete(block, j, j+1)
	h.blocks[i] = block
	if len(block) == 0 {
		h.blocks = slices.Delete(h.blocks, i, i+1)
		return
	}
	h.join(max(0, i-1))
	h.join(i)
}

// join makes one of two neighbours that are nearly empty.
func (h *history) join(i int) {
	if i+1 < len(h.blocks) && len(h.blocks[i])+len(h.blocks[i+1]) <= historyBlock/2 {
		h.blocks[i] = append(h.blocks[i], h.blocks[i+1]...)
		h.blocks = slices.Delete(h.blocks, i+1, i+2)
	}
}

// blockOf returns the index of the first block that does not end below version.
func (h *history) blockOf(version uint64) int {
	i, _ := slices.BinarySearchFunc(h.blocks, version, func(b []*retained, version uint64) int {
		return byVersion(b[len(b)-1], version)
	})
	return i
}

// after returns the first message with a higher version; nil: there is none.
func (h *history) after(version uint64) *retained {
	i := h.blockOf(version + 1)
	if i == len(h.blocks) {
		return nil
	}
	j, _ := slices.BinarySearchFunc(h.blocks[i], version+1, byVersion)
	return h.blocks[i][j]
}
