//go:build invariants

package lock

import (
	"fmt"
	"sync"
)

// A Mutex is a sync.Mutex with a place in the order.
type Mutex[P Place] struct{ mu sync.Mutex }

func (m *Mutex[P]) Lock() {
	take(placeOf[P]())
	m.mu.Lock()
}

func (m *Mutex[P]) Unlock() {
	m.mu.Unlock()
	give(placeOf[P]())
}

// A RWMutex is a sync.RWMutex with a place in the order.
type RWMutex[P Place] struct{ mu sync.RWMutex }

func (m *RWMutex[P]) Lock() {
	take(placeOf[P]())
	m.mu.Lock()
}

func (m *RWMutex[P]) Unlock() {
	m.mu.Unlock()
	give(placeOf[P]())
}

func (m *RWMutex[P]) RLock() {
	take(placeOf[P]())
	m.mu.RLock()
}

func (m *RWMutex[P]) RUnlock() {
	m.mu.RUnlock()
	give(placeOf[P]())
}

func (m *RWMutex[P]) TryLock() bool {
	if !m.mu.TryLock() {
		return false
	}
	take(placeOf[P]())
	return true
}

// NoneHeld panics, in a build with -tags invariants, if the goroutine holds any of the
// mutexes: it is called by what waits.
func NoneHeld() {
	if h := heldHere(); h.n > 0 {
		panic(fmt.Sprintf("lock: waiting with %d held", h.places[:h.n]))
	}
}

func placeOf[P Place]() place {
	var p P
	return p.place()
}

// A held is what one goroutine holds. Nobody else uses it.
type held struct {
	places [8]place
	n      int
}

// all has the held of each goroutine that ever had one, in parts with a mutex each.
// Goroutines that end leave theirs, empty, to those that come after them.
var all [64]struct {
	mu sync.Mutex
	of map[uintptr]*held
}

func heldHere() *held {
	g := goroutine()
	part := &all[(g>>8^g)%uintptr(len(all))]
	part.mu.Lock()
	defer part.mu.Unlock()
	h := part.of[g]
	if h == nil {
		if part.of == nil {
			part.of = make(map[uintptr]*held)
		}
		h = new(held)
		part.of[g] = h
	}
	return h
}

func take(p place) {
	h := heldHere()
	for _, at := range h.places[:h.n] {
		if p <= at {
			panic(fmt.Sprintf("lock: %d is taken with %d held", p, h.places[:h.n]))
		}
	}
	h.places[h.n] = p
	h.n++
}

// give lets go of a place, which need not be the one that was taken last.
func give(p place) {
	h := heldHere()
	for i, at := range h.places[:h.n] {
		if at == p {
			h.n--
			copy(h.places[i:], h.places[i+1:])
			return
		}
	}
}
