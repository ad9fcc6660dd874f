package link

import "sync"

// KeptBufferMax is the largest buffer that is used again.
const KeptBufferMax = 64 << 10

// A BufferPool keeps buffers for reuse without an allocation for each return. Its
// zero value is ready.
type BufferPool struct {
	full    sync.Pool // of *[]byte
	headers sync.Pool // of *[]byte without a buffer
}

// ReadBuffers are what connections read into, OutBuffers what they write from.
var ReadBuffers, OutBuffers BufferPool

// Get returns an empty buffer with room for size bytes or more. It belongs to the
// caller until Put.
func (p *BufferPool) Get(size int) []byte {
	h, ok := p.full.Get().(*[]byte)
	if !ok {
		return make([]byte, 0, size)
	}
	b := *h
	*h = nil
	p.headers.Put(h)
	if cap(b) < size {
		return make([]byte, 0, size)
	}
	return b[:0]
}

// Put takes b back, unless it has become so large that it is better forgotten.
func (p *BufferPool) Put(b []byte) {
	if cap(b) > KeptBufferMax {
		return
	}
	h, ok := p.headers.Get().(*[]byte)
	if !ok {
		h = new([]byte)
	}
	*h = b
	p.full.Put(h)
}
