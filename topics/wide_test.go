package topics

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"testing"
)

// TestWideAgainstModel takes nodes with many children and filters with many
// subscribers through their indexes and back, which TestFiltersAgainstNaive and
// TestNamesAgainstNaive, with their few levels, do not.
func TestWideAgainstModel(t *testing.T) {
	rng := randomSource(t)
	f, n := NewFilters[int, int](), NewNames[string]()
	model, names := make(map[string]map[int]int), make(map[string]bool)
	for step := range 30000 {
		name := fmt.Sprintf("%d/%d", rng.IntN(30), rng.IntN(30))
		filter := []string{name, "+/" + name[:1], name[:1] + "/#", "hot"}[rng.IntN(4)]
		key := rng.IntN(60)
		if model[filter] == nil {
			model[filter] = make(map[int]int)
		}
		_, known := model[filter][key]
		if rng.IntN(2) == 0 {
			if _, replaced := n.Set(name, name); f.Set(filter, key, step) != known || replaced != names[name] {
				t.Fatalf("step %d: Set(%q, %d), Set(%q)", step, filter, key, name)
			}
			model[filter][key], names[name] = step, true
		} else {
			if _, existed := n.Delete(name); f.Delete(filter, key) != known || existed != names[name] {
				t.Fatalf("step %d: Delete(%q, %d), Delete(%q)", step, filter, key, name)
			}
			delete(model[filter], key)
			delete(names, name)
		}
		if step%100 == 0 {
			checkWide(t, f, n, model, names, name)
		}
	}
	for filter, keys := range model {
		for key := range keys {
			f.Delete(filter, key)
		}
	}
	for name := range names {
		n.Delete(name)
	}
	if !nothingLeft(f) || n.root.children.byLevel != nil || f.Len()+n.Len() != 0 {
		t.Error("something is left of an empty trie")
	}
}

func checkWide(t *testing.T, f *Filters[int, int], n *Names[string], model map[string]map[int]int, names map[string]bool, name string) {
	t.Helper()
	var want, got []int
	pairs := 0
	for filter, keys := range model {
		pairs += len(keys)
		for key, value := range keys {
			if v, ok := f.Get(filter, key); !ok || v != value {
				t.Fatalf("Get(%q, %d): %d %v, expected %d", filter, key, v, ok, value)
			}
			if naiveMatch(filter, name) {
				want = append(want, value)
			}
		}
	}
	for _, m := range f.AppendMatches(nil, []byte(name)) {
		got = append(got, m.Value)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) || f.Len() != pairs || n.Len() != len(names) {
		t.Fatalf("%q: got %v, expected %v; Len %d of %d, %d of %d", name, got, want, f.Len(), pairs, n.Len(), len(names))
	}
	if all := n.AppendMatches(nil, "#", 0); len(all) != len(names) {
		t.Fatalf("# matches %d of %d", len(all), len(names))
	}
}

// TestWildBombVisits counts what TestWildBomb's filters cost: each node at most
// once, though the name matches them in up to 2^20 ways.
func TestWildBombVisits(t *testing.T) {
	rng := randomSource(t)
	f := NewFilters[int, int]()
	nodes := make(map[string]bool) // each prefix of a filter is a node
	for i := range 10000 {
		levels := make([]string, 1+rng.IntN(20))
		for l := range levels {
			levels[l] = []string{"+", "a"}[rng.IntN(2)]
			nodes[strings.Join(levels[:l+1], "/")] = true
		}
		f.Set(strings.Join(levels, "/")+"/#", i, 0)
	}
	at, visits := []*wildNode[int, int]{&f.wild.root}, 0
	hash := maphash.String(f.seed, "a")
	for range 20 {
		var next []*wildNode[int, int]
		for _, n := range at {
			next = f.wild.appendNext(next, n, hash, []byte("a"))
		}
		at, visits = next, visits+len(next)
	}
	if visits > len(nodes) {
		t.Errorf("%d visits of %d nodes", visits, len(nodes))
	}
}

// TestWalkStopsEarly: what a walk holds does not grow with the number of names.
func TestWalkStopsEarly(t *testing.T) {
	n := NewNames[int]()
	for i := range 10000 {
		n.Set(fmt.Sprintf("device%d", i), i)
		n.Set(fmt.Sprintf("site/device%d/state", i), i)
	}
	dst := make([]int, 0, 30000)
	for _, c := range []struct {
		filter      string
		limit, want int
	}{{"#", 1, 1}, {"#", 0, 20000}, {"+", 3, 3}, {"site/+/state", 0, 10000}, {"site/#", 7, 7}, {"site", 0, 0}} {
		allocs := testing.AllocsPerRun(5, func() { dst = n.AppendMatches(dst[:0], c.filter, c.limit) })
		if len(dst) != c.want || allocs > 2 { // the closure over dst
			t.Errorf("%s, limit %d: %d values, expected %d; %v allocations", c.filter, c.limit, len(dst), c.want, allocs)
		}
	}
}

func TestChangesDoNotAllocateForLookups(t *testing.T) {
	f := NewFilters[int, int]()
	long := strings.Repeat("level-with-a-long-name-of-some-40-bytes/", 5) + "+/#"
	f.Set(long, 1, 1)
	if allocs := testing.AllocsPerRun(50, func() { f.Get(long, 1); f.Set(long, 1, 2); f.Delete(long, 2) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// validNaive says [MQTT-4.7.1-1] and [MQTT-4.7.1-2] level by level.
func validNaive(filter string, levelsMax int) bool {
	levels := strings.Split(filter, "/")
	for i, level := range levels {
		if strings.Contains(level, "#") && (level != "#" || i != len(levels)-1) {
			return false
		}
		if strings.Contains(level, "+") && level != "+" {
			return false
		}
	}
	return filter != "" && len(filter) <= bytesMax && !strings.Contains(filter, "\x00") &&
		(levelsMax <= 0 || len(levels) <= levelsMax)
}

func FuzzValidFilter(f *testing.F) {
	for _, s := range []string{"a/+/#", "sport+", "sport/tennis#", "sport/#/x", "/", "", "$share//x", "__proto__", "$x", "a\x00"} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, filter []byte, levelsMax int) {
		valid := ValidFilter(filter, levelsMax) == nil
		if valid != validNaive(string(filter), levelsMax) {
			t.Errorf("%q, %d levels: %v", filter, levelsMax, valid)
		}
		if name := ValidName(filter, levelsMax) == nil; name != (valid && !bytes.ContainsAny(filter, "+#")) {
			t.Errorf("%q, %d levels, as a name: %v", filter, levelsMax, name)
		}
	})
}
