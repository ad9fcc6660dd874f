package session

import (
	"encoding/binary"
	"iter"
	"math/bits"
	"slices"
)

// PacketIDs is a set of Packet Identifiers, in pages of consecutive ones. A Client
// that counts upwards has few pages however many are in use; one that takes any
// has 1,024 at most. A nil *PacketIDs is empty and cannot be added to.
type PacketIDs struct {
	pages []idPage // ascending; none is empty
	count int
	spare *digests // all zero; nil: none
}

// idPage holds the identifiers from no*idsInPage on.
type idPage struct {
	no   uint16
	bits uint64
	// digests are those of the identifiers in the page; nil: none is known.
	digests *digests
}

const (
	idsInPage = 64
	idPages   = (1 << 16) / idsInPage
	// keptPages is how many empty pages keep their memory.
	keptPages = 16
)

// digests tell messages apart that came with one Packet Identifier; 0: not known.
type digests [idsInPage]uint16

// Len is the number of identifiers.
func (p *PacketIDs) Len() int {
	if p == nil {
		return 0
	}
	return p.count
}

// Has reports whether id is in the set.
func (p *PacketIDs) Has(id uint16) bool { return p.page(id) != nil }

// All yields the identifiers in ascending order.
func (p *PacketIDs) All() iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		if p == nil {
			return
		}
		for _, page := range p.pages {
			for rest := page.bits; rest != 0; rest &= rest - 1 {
				if !yield(page.no*idsInPage + uint16(bits.TrailingZeros64(rest))) {
					return
				}
			}
		}
	}
}

// page returns the page of id if id is in the set, else nil.
func (p *PacketIDs) page(id uint16) *idPage {
	if p == nil {
		return nil
	}
	i, found := p.find(id / idsInPage)
	if !found || p.pages[i].bits>>(id%idsInPage)&1 == 0 {
		return nil
	}
	return &p.pages[i]
}

// find returns the index of a page, or where it belongs.
func (p *PacketIDs) find(no uint16) (i int, found bool) {
	i, n := 0, len(p.pages)
	for i < n {
		if h := (i + n) / 2; p.pages[h].no < no {
			i = h + 1
		} else {
			n = h
		}
	}
	return i, i < len(p.pages) && p.pages[i].no == no
}

// add puts id, which is not in the set, into it.
func (p *PacketIDs) add(id, digest uint16) {
	no, bit := id/idsInPage, id%idsInPage
	i, found := p.find(no)
	if !found {
		p.pages = slices.Insert(p.pages, i, idPage{no: no})
	}
	page := &p.pages[i]
	page.bits |= 1 << bit
	p.count++
	if digest == 0 {
		return
	}
	if page.digests == nil {
		if page.digests, p.spare = p.spare, nil; page.digests == nil {
			page.digests = new(digests)
		}
	}
	page.digests[bit] = digest
}

// remove takes id out and reports whether it was in the set.
func (p *PacketIDs) remove(id uint16) (found bool) {
	page := p.page(id)
	if page == nil {
		return false
	}
	bit := id % idsInPage
	p.count--
	if page.bits &^= 1 << bit; page.digests != nil {
		page.digests[bit] = 0
	}
	if page.bits != 0 {
		return true
	}
	if page.digests != nil {
		p.spare = page.digests
	}
	i, _ := p.find(page.no)
	if p.pages = slices.Delete(p.pages, i, i+1); p.count == 0 && cap(p.pages) > keptPages {
		p.pages = nil
	}
	return true
}

// freeFrom returns the first of the identifiers 1 to last that is not in the set,
// from id on and then from 1 on; 0: there is none.
func (p *PacketIDs) freeFrom(id uint16, last uint64) uint16 {
	for looked := uint64(0); looked < last+idsInPage; {
		no, bit := id/idsInPage, id%idsInPage
		free := ^uint64(0)
		if i, found := p.find(no); found {
			free = ^p.pages[i].bits
		}
		if free >>= bit; free != 0 {
			if at := uint64(id) + uint64(bits.TrailingZeros64(free)); at <= last {
				return uint16(at)
			}
		}
		looked += uint64(idsInPage - bit)
		if id = (no + 1) * idsInPage; id == 0 || uint64(id) > last {
			id = 1
		}
	}
	return 0
}

// forgetDigests makes all digests unknown.
func (p *PacketIDs) forgetDigests() {
	for i := range p.pages {
		p.pages[i].digests = nil
	}
	p.spare = nil
}

// full reports whether all identifiers of the page are in the set: 0 is none.
func (p *idPage) full() bool {
	if p.no == 0 {
		return p.bits == ^uint64(1)
	}
	return p.bits == ^uint64(0)
}

// append encodes the set: runs of pages, of which the first are full and the
// others follow bit by bit. Consecutive identifiers take a few bytes, any others
// about 8 kB at most.
func (p *PacketIDs) append(dst []byte) []byte {
	if p == nil {
		return dst
	}
	next := 0
	for rest := p.pages; len(rest) > 0; {
		no := rest[0].no
		full := 0
		for full < len(rest) && rest[full].no == no+uint16(full) && rest[full].full() {
			full++
		}
		end := full
		for end < len(rest) && rest[end].no == no+uint16(end) && !rest[end].full() {
			end++
		}
		dst = binary.AppendUvarint(dst, uint64(int(no)-next))
		dst = binary.AppendUvarint(dst, uint64(full))
		dst = binary.AppendUvarint(dst, uint64(end-full))
		for i := range rest[full:end] {
			dst = binary.LittleEndian.AppendUint64(dst, rest[full+i].bits)
		}
		next = int(no) + end
		rest = rest[end:]
	}
	return dst
}

// appendList encodes the set as a list behind its length.
func (p *PacketIDs) appendList(dst []byte) []byte {
	if p.Len() == 0 {
		return append(dst, 0)
	}
	dst = binary.AppendUvarint(dst, uint64(p.count))
	for id := range p.All() {
		dst = binary.BigEndian.AppendUint16(dst, id)
	}
	return dst
}

// packetIDs reads the rest as append wrote it.
func (r *stateReader) packetIDs() *PacketIDs {
	p := new(PacketIDs)
	next := uint64(0)
	for len(r.b) > 0 && !r.failed {
		gap, full, partial := r.uvarint(), r.uvarint(), r.uvarint()
		if gap > idPages || full > idPages || partial > idPages || next+gap+full+partial > idPages ||
			full+partial == 0 || partial*8 > uint64(len(r.b)) {
			r.failed = true
			return nil
		}
		next += gap
		for range full {
			p.addPage(next, ^uint64(0))
			next++
		}
		for range partial {
			p.addPage(next, binary.LittleEndian.Uint64(r.b))
			next++
			r.b = r.b[8:]
		}
	}
	return p
}

// addPage appends a page that was read; 0 is no identifier.
func (p *PacketIDs) addPage(no, set uint64) {
	if no == 0 {
		set &^= 1
	}
	if set == 0 {
		return
	}
	p.pages = append(p.pages, idPage{no: uint16(no), bits: set})
	p.count += bits.OnesCount64(set)
}
