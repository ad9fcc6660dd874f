package broker

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/x0a1b/promptmq/session"
)

// TestHistory compares a history with a sorted list while messages come and go, in
// ways that leave blocks full, nearly empty and empty.
func TestHistory(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var all []*retained // in order
	for i := range 3000 {
		all = append(all, &retained{version: uint64(2 * i), message: new(session.Message)})
	}
	var h history
	h.fill(slices.Clone(all))
	version := uint64(6000)
	check := func() {
		t.Helper()
		var got []*retained
		for i, b := range h.blocks {
			if len(b) == 0 || len(b) > historyBlock || len(h.from) != len(h.blocks) || b[0].version < h.from[i] {
				t.Fatalf("a block of %d", len(b))
			}
			for _, c := range b {
				got = append(got, c.at)
			}
		}
		if !slices.Equal(got, all) {
			t.Fatalf("%d messages or in another order than %d", len(got), len(all))
		}
		if most := 4*len(all)/historyBlock + 2; len(h.blocks) > most {
			t.Fatalf("%d blocks for %d messages", len(h.blocks), len(all))
		}
		from := rng.Uint64N(version + 2)
		i, _ := slices.BinarySearchFunc(all, from+1, func(r *retained, version uint64) int { return cmp.Compare(r.version, version) })
		if next := h.after(from); (i == len(all)) != (next == nil) || next != nil && next != all[i] {
			t.Fatalf("after %d comes %v", from, next)
		}
	}
	for round := range 60 {
		for range 200 {
			if round%3 > 0 { // more go than come
				version++
				r := &retained{version: version, message: new(session.Message)}
				h.add(r)
				all = append(all, r)
			}
			for range 1 + round%2 {
				if len(all) == 0 {
					break
				}
				i := rng.IntN(len(all))
				if round%5 == 0 {
					i = 0
				}
				h.remove(all[i].version)
				h.remove(all[i].version) // it is not there
				all = slices.Delete(all, i, i+1)
			}
		}
		check()
	}
	for len(all) > 0 {
		i := rng.IntN(len(all))
		h.remove(all[i].version)
		all = slices.Delete(all, i, i+1)
	}
	check()
	shuffled := []*retained{{version: 3}, {version: 1}, {version: 2}}
	h.fill(shuffled)
	all = slices.SortedFunc(slices.Values(shuffled), func(a, b *retained) int { return cmp.Compare(a.version, b.version) })
	check()
}
