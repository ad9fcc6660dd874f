//go:build invariants

package codec

// poison overwrites the previous packet, so that a View kept too long shows.
func (r *Reader) poison() {
	for i := range r.previous {
		r.previous[i] = 0xDB
	}
	r.previous = nil
}
