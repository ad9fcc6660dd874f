package topics

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
)

// TestDeepWalk: filters of every kind as deep as they can be, on names as deep.
func TestDeepWalk(t *testing.T) {
	deep := strings.Repeat("/", bytesMax) // 65,536 levels
	half := strings.Repeat("/", bytesMax/2)
	n, f := NewNames[string](), NewFilters[string, int]()
	n.Set(deep, deep)
	n.Set(half, half)
	pluses := strings.Repeat("+/", bytesMax/2) + "+" // one level for each of half's
	for filter, want := range map[string]int{
		deep: 1, half: 1, "#": 2, "/#": 2, pluses: 1, pluses[:len(pluses)-1] + "#": 2, half + "#": 2, deep[1:] + "#": 1,
	} {
		if err := ValidFilter([]byte(filter), 0); err != nil {
			t.Fatalf("%.20q, %d bytes: %v", filter, len(filter), err)
		}
		found := 0
		n.Walk(filter, math.MaxInt, func(name string) bool {
			if !MatchString(filter, name) {
				t.Errorf("%.20q, %d bytes: Walk finds what MatchString does not", filter, len(filter))
			}
			found++
			return true
		})
		f.Set(filter, filter, 0)
		if found != want {
			t.Errorf("%.20q, %d bytes: %d names, want %d", filter, len(filter), found, want)
		}
	}
	for _, name := range []string{deep, half} {
		matches := f.AppendMatches(nil, []byte(name))
		for _, m := range matches {
			if !MatchString(m.Key, name) {
				t.Errorf("%.20q, %d bytes, matches in the trie only", m.Key, len(m.Key))
			}
		}
		if len(matches) != 6 { // all but two
			t.Errorf("%d bytes: %d filters", len(name), len(matches))
		}
	}
	if f.Delete(deep+"/", "") || f.Delete(deep, "other") || f.Len() != 8 {
		t.Error("Delete of what is not there")
	}
	for _, m := range append(f.AppendMatches(nil, []byte(deep)), f.AppendMatches(nil, []byte(half))...) {
		f.Delete(m.Key, m.Key)
	}
	n.Delete(deep)
	n.Delete(half)
	if !nothingLeft(f) || !n.root.empty() || f.Len()+n.Len() != 0 {
		t.Errorf("%d filters and %d names are left", f.Len(), n.Len())
	}
}

// TestConcurrentReadersWide has readers where matches spill from the stack to
// the heap, through maps and indexes; only -race makes it say much.
func TestConcurrentReadersWide(t *testing.T) {
	f, n := NewFilters[int, int](), NewNames[int]()
	key := 0
	for mask := range 128 { // all mixes of + and a on seven levels: 128 nodes at the last
		levels := make([]string, 7)
		for l := range levels {
			levels[l] = []string{"a", "+"}[mask>>l&1]
		}
		for range 20 {
			f.Set(strings.Join(levels, "/"), key, key)
			key++
		}
		n.Set(fmt.Sprintf("a/%d", mask), mask)
	}
	for i := range 2 * splitAbove { // tables in shards
		f.Set(fmt.Sprint("b/", i), i, i)
		f.Set(fmt.Sprintf("+/%d/c", i), i, i)
	}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range 20 {
				found := 0
				n.Walk("a/#", math.MaxInt, func(int) bool { found++; return true })
				v, ok := n.Get([]byte("a/7"))
				_, set := f.Get("a/a/a/a/a/a/a", i%20)
				if len(f.AppendMatches(nil, []byte("a/a/a/a/a/a/a"))) != 2560 || found != 128 || v != 7 || !ok || !set {
					t.Error("wrong matches")
				}
				if len(f.AppendMatches(nil, []byte("b/77"))) != 1 || len(f.AppendMatches(nil, []byte("b/77/c"))) != 1 {
					t.Error("wrong matches in shards")
				}
			}
		})
	}
	wg.Wait()
}

// TestAllocationsOfWildcards goes where TestAllocations does not: long levels,
// wildcards, shared filters, a full frontier.
func TestAllocationsOfWildcards(t *testing.T) {
	f, n := NewFilters[int, int](), NewNames[int]()
	long := strings.Repeat("a-level-of-more-than-thirty-two-bytes/", 8) + "x"
	for mask := range frontierSize { // all mixes on five levels
		levels := strings.Split(long, "/")
		for l := range 5 {
			if mask>>l&1 == 1 {
				levels[l] = "+"
			}
		}
		f.Set(strings.Join(levels, "/"), mask, mask)
	}
	n.Set(long, 1)
	name, dst := []byte(long), make([]Match[int, int], 0, frontierSize)
	wild, shared := []byte("a/+/caf\u00e9/#"), []byte("$share/group/a/+/#")
	for what, fn := range map[string]func(){
		"AppendMatches": func() { dst = f.AppendMatches(dst[:0], name) },
		"Names.Get":     func() { n.Get(name) },
		"ValidName":     func() { _ = ValidName(name, 0) },
		"ValidFilter":   func() { _ = ValidFilter(wild, 8) },
		"invalid":       func() { _, _ = ValidFilter(shared[:3], 1), ValidName(wild, 0) },
		"ParseShare":    func() { _, _, _, _ = ParseShare(shared) },
		"no share":      func() { _, _, _, _ = ParseShare(shared[:7]) },
		"MatchString":   func() { _ = MatchString("+/+/#", long) },
	} {
		if allocs := testing.AllocsPerRun(100, fn); allocs != 0 {
			t.Errorf("%s: %v allocations", what, allocs)
		}
	}
	if len(dst) != frontierSize {
		t.Errorf("%d matches", len(dst))
	}
}

// A walk ends when it has visited as many nodes as it may, and says so.
func TestWalkVisits(t *testing.T) {
	n := NewNames[int]()
	for i := range 100 {
		n.Set(fmt.Sprint("a/", i), i)
	}
	for _, c := range []struct {
		filter        string
		visits, found int
		whole         bool
	}{{"a/#", 101, 100, true}, {"a/#", 100, 99, false}, {"+/none", 1, 0, true}, {"a/7", 2, 1, true}, {"#", 0, 0, false}} {
		found := 0
		_, whole := n.Walk(c.filter, c.visits, func(int) bool { found++; return true })
		if found != c.found || whole != c.whole {
			t.Errorf("%s with %d visits: %d found, whole %v; expected %d, %v", c.filter, c.visits, found, whole, c.found, c.whole)
		}
	}
}
