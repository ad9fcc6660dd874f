//go:build !invariants

package codec

func (r *Reader) poison() {}
