package topics

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// checkTable compares a table with its entries, by hash, and checks that it is
// no larger than they need.
func checkTable(t *testing.T, tab *table[int], model map[*int]uint64) {
	t.Helper()
	if tab.len != len(model) || (tab.len == 0) != (tab.shards == nil) {
		t.Fatalf("len %d of %d, %d shards", tab.len, len(model), len(tab.shards))
	}
	slots, used := 0, 0
	for i := range tab.shards {
		s := &tab.shards[i]
		slots, used = slots+len(s.slots), used+s.len
		if s.len > len(s.slots)/4*3 || (s.len == 0) != (s.slots == nil) || (len(s.slots) > slotsMin && s.len < len(s.slots)/8) {
			t.Fatalf("shard %d: %d entries in %d slots", i, s.len, len(s.slots))
		}
	}
	if used != tab.len || tab.len > splitAbove && len(tab.shards) == 1 || tab.len < joinBelow && len(tab.shards) > 1 {
		t.Fatalf("%d entries, %d in %d slots of %d shards", tab.len, used, slots, len(tab.shards))
	}
	for e, hash := range model {
		if !inTable(tab, hash, e) {
			t.Fatalf("entry %d with hash %x is not found", *e, hash)
		}
	}
}

func inTable(tab *table[int], hash uint64, want *int) bool {
	slots := tab.slotsOf(hash)
	e, at := seek(slots, hash, hash)
	for e != nil && e != want {
		e, at = seek(slots, hash, at)
	}
	return e != nil
}

// TestTableAgainstModel grows and shrinks tables whose entries meet in all the
// ways there are: seldom, in one slot, in one shard, with one hash.
func TestTableAgainstModel(t *testing.T) {
	rng := randomSource(t)
	for what, c := range map[string]struct {
		entries int
		hash    func() uint64
	}{
		"spread":      {3 * splitAbove, rng.Uint64},
		"one slot":    {500, func() uint64 { return rng.Uint64() << 32 }},
		"last slots":  {500, func() uint64 { return rng.Uint64() | 0xffffe }}, // probes that wrap around
		"one shard":   {2 * splitAbove, func() uint64 { return rng.Uint64() >> shardBits }},
		"few hashes":  {300, func() uint64 { return rng.Uint64N(5) }},
		"one and all": {100, func() uint64 { return 0 }},
	} {
		t.Run(what, func(t *testing.T) {
			var tab table[int]
			model := make(map[*int]uint64)
			var there []*int
			for round := range 4 {
				for target := c.entries * (1 - round%2); len(there) != target; { // up, to none, up, to none
					if more := len(there) < target; rng.IntN(4) == 0 != more {
						e, hash := new(len(there)), c.hash()
						tab.add(hash, e)
						model[e] = hash
						there = append(there, e)
					} else if len(there) > 0 {
						i := rng.IntN(len(there))
						tab.remove(model[there[i]], there[i])
						if inTable(&tab, model[there[i]], there[i]) {
							t.Fatal("found after its removal")
						}
						delete(model, there[i])
						there[i] = there[len(there)-1]
						there = there[:len(there)-1]
					}
					if rng.IntN(c.entries/4) == 0 {
						checkTable(t, &tab, model)
					}
				}
				checkTable(t, &tab, model)
			}
		})
	}
}

// FuzzTable: each byte adds or removes one of 128 entries, with few hashes.
func FuzzTable(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x80\x03\x82\x81"), uint64(3))
	f.Add([]byte("abcdefghijklmnop\xe1\xe2\xe3"), uint64(0))
	f.Fuzz(func(t *testing.T, ops []byte, mask uint64) {
		var tab table[int]
		var entries [128]int
		model := make(map[*int]uint64)
		for _, op := range ops {
			e, hash := &entries[op&127], uint64(op&127)*0x9e3779b97f4a7c15&mask
			if _, there := model[e]; !there && op < 128 {
				tab.add(hash, e)
				model[e] = hash
			} else if there && op >= 128 {
				tab.remove(hash, e)
				delete(model, e)
			}
			checkTable(t, &tab, model)
		}
	})
}

// TestFiltersOfOneHash forces what happens once in 2^64 pairs: filters, and
// edges of the trie, whose hashes are the same.
func TestFiltersOfOneHash(t *testing.T) {
	f := NewFilters[int, int]()
	f.Set("b", 1, 1)
	for i := range 3 { // others where b is looked for
		f.exact.add(maphash.String(f.seed, "b"), &exactFilter[int, int]{filter: fmt.Sprint("not b ", i)})
	}
	f.Set("b", 2, 2)
	if f.exact.len != 4 || len(f.AppendMatches(nil, []byte("b"))) != 2 || len(f.AppendMatches(nil, []byte("not b 1"))) != 0 {
		t.Error("filters of one hash are mixed up")
	}
	if !f.Delete("b", 1) || !f.Delete("b", 2) || f.exact.len != 3 || f.AppendMatches(nil, []byte("b")) != nil {
		t.Error("another filter of the same hash was deleted")
	}

	f.Set("+/b", 1, 1)
	plus, _ := f.wild.find("+", false)
	f.wild.edges.add(plus.edge(maphash.String(f.seed, "c")), f.wild.child(plus, "b", false))
	if n := len(f.AppendMatches(nil, []byte("a/b"))); n != 1 || len(f.AppendMatches(nil, []byte("a/c"))) != 0 {
		t.Error("levels of one hash are mixed up")
	}

	w := NewFilters[string, int]()
	var filters []string
	for i := range 40 {
		parent := fmt.Sprintf("+/%d", i)
		w.Set(parent, parent, 0)
		n, _ := w.wild.find(parent, false)
		n.salt = 0 // so that the edges x below all of them have one hash
		filters = append(filters, parent, parent+"/x", parent+"/x/#", parent+"/y")
	}
	for _, filter := range filters {
		w.Set(filter, filter, 0)
	}
	rng := randomSource(t)
	rng.Shuffle(len(filters), func(i, j int) { filters[i], filters[j] = filters[j], filters[i] })
	for ; len(filters) > 0; filters = filters[1:] {
		for range 3 {
			name := fmt.Sprintf("a/%d", rng.IntN(41)) + []string{"", "/x", "/y", "/x/z"}[rng.IntN(4)]
			var want, got []string
			for _, filter := range filters {
				if naiveMatch(filter, name) {
					want = append(want, filter)
				}
			}
			for _, m := range w.AppendMatches(nil, []byte(name)) {
				got = append(got, m.Key)
			}
			equalSets(t, name, got, want)
		}
		if !w.Delete(filters[0], filters[0]) {
			t.Fatalf("%s is not there", filters[0])
		}
	}
	if !nothingLeft(w) || w.Len() != 0 {
		t.Error("something is left")
	}
}

// TestMemoryReturns: of 100,000 filters and a filter with 10,000 subscribers
// little is left when they are deleted, though one of each stays.
func TestMemoryReturns(t *testing.T) {
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	f := NewFilters[int, int]()
	change := func(from int, fn func(filter string, key int)) {
		for i := from; i < 100000; i++ {
			fn(benchmarkFilter(i, 2), i)
			if i < 10000 {
				fn("+/all", i)
			}
		}
	}
	change(0, func(filter string, key int) { f.Set(filter, key, key) })
	full := heap() - before
	change(2, func(filter string, key int) { f.Delete(filter, key) })
	left := heap() - before
	if f.Len() != 4 || full < 5e6 || left > 100000 {
		t.Errorf("%d bytes when full; %d are left of %d subscriptions", full, left, f.Len())
	}
	if _, subs := f.wild.find("+/all", false); cap((*subs).more.list) > crowdShrinkMin || (*subs).more.byKey != nil {
		t.Errorf("room for %d subscribers, index %v", cap((*subs).more.list), (*subs).more.byKey != nil)
	}
	change(0, func(filter string, key int) { f.Delete(filter, key) })
	if !nothingLeft(f) || f.Len() != 0 {
		t.Error("something is left of an empty trie")
	}
}

// TestManyFiltersAgainstNaive has enough filters for tables in shards.
func TestManyFiltersAgainstNaive(t *testing.T) {
	rng := randomSource(t)
	f := NewFilters[string, int]()
	random := func() string {
		levels := make([]string, 1+rng.IntN(4))
		for l := range levels {
			levels[l] = fmt.Sprint(rng.IntN(20))
		}
		return strings.Join(levels, "/")
	}
	wild := func(filter string) string {
		levels := strings.Split(filter, "/")
		levels[rng.IntN(len(levels))] = "+"
		if filter = strings.Join(levels, "/"); rng.IntN(2) == 0 {
			filter += "/#"
		}
		return filter
	}
	model := make(map[string]bool)
	for len(model) < 30000 {
		filter := random()
		if rng.IntN(2) == 0 {
			filter = wild(filter)
		}
		f.Set(filter, filter, 0)
		model[filter] = true
	}
	if len(f.exact.shards) == 1 || len(f.wild.edges.shards) == 1 {
		t.Fatalf("%d filters without wildcards, %d edges", f.exact.len, f.wild.edges.len)
	}
	for len(model) > 0 {
		name := random()
		var want, got []string
		for filter := range model {
			if naiveMatch(filter, name) {
				want = append(want, filter)
			}
		}
		for _, m := range f.AppendMatches(nil, []byte(name)) {
			got = append(got, m.Key)
		}
		equalSets(t, name, got, want)
		deletions := 1500
		for filter := range model {
			if !f.Delete(filter, filter) || f.Delete(filter, filter) {
				t.Fatalf("Delete(%q)", filter)
			}
			delete(model, filter)
			if deletions--; deletions == 0 {
				break
			}
		}
	}
	if !nothingLeft(f) || f.Len() != 0 {
		t.Error("something is left of an empty trie")
	}
}

// FuzzFilters sets, matches and deletes several filters, split at each line.
func FuzzFilters(f *testing.F) {
	f.Add("a/b\na/+\n+/b/#\n#\na/b/#", "a/b", uint64(1))
	f.Add("$a\n+\n$a/#\n\n/", "$a", uint64(2))
	f.Fuzz(func(t *testing.T, lines, name string, order uint64) {
		if ValidName([]byte(name), 0) != nil {
			return
		}
		set := NewFilters[string, int]()
		var filters []string
		for _, filter := range strings.Split(lines, "\n") {
			if ValidFilter([]byte(filter), 0) == nil && !set.Set(filter, filter, 0) {
				filters = append(filters, filter)
			}
		}
		rng := rand.New(rand.NewPCG(order, 0))
		rng.Shuffle(len(filters), func(i, j int) { filters[i], filters[j] = filters[j], filters[i] })
		for len(filters) > 0 {
			var want, got []string
			for _, filter := range filters {
				if naiveMatch(filter, name) {
					want = append(want, filter)
				}
			}
			for _, m := range set.AppendMatches(nil, []byte(name)) {
				got = append(got, m.Key)
			}
			slices.Sort(got)
			if slices.Sort(want); !slices.Equal(got, want) || set.Len() != len(filters) {
				t.Fatalf("%q: got %q of %q", name, got, filters)
			}
			if !set.Delete(filters[0], filters[0]) {
				t.Fatalf("%q is not there", filters[0])
			}
			filters = filters[1:]
		}
		if !nothingLeft(set) {
			t.Error("something is left of an empty trie")
		}
	})
}
