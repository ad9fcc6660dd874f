package topics

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
)

var seed = flag.Uint64("seed", 0, "seed of the randomised tests; 0: a new one")

// naive is the specification's text as plainly as it can be said. Section 4.7.
func naive(filter, name string) bool {
	f, n := strings.Split(filter, "/"), strings.Split(name, "/")
	if strings.HasPrefix(name, "$") && (f[0] == "+" || f[0] == "#") {
		return false
	}
	for i, level := range f {
		switch {
		case level == "#":
			return true
		case i == len(n):
			return false
		case level != "+" && level != n[i]:
			return false
		}
	}
	return len(f) == len(n) || (len(f) == len(n)+1 && f[len(f)-1] == "#")
}

// naiveHash adds what naive's loop cannot see: a/# matches a.
func naiveMatch(filter, name string) bool {
	parent, ok := strings.CutSuffix(filter, "/#")
	return naive(filter, name) || (ok && naive(parent, name))
}

func TestMatchExamples(t *testing.T) {
	for _, c := range []struct {
		filter, name string
		want         bool
	}{
		{"sport/tennis/player1/#", "sport/tennis/player1", true},
		{"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
		{"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
		{"sport/#", "sport", true},
		{"#", "a/b", true},
		{"sport/tennis/+", "sport/tennis/player1", true},
		{"sport/tennis/+", "sport/tennis/player1/ranking", false},
		{"sport/+", "sport", false},
		{"sport/+", "sport/", true},
		{"+/+", "/finance", true},
		{"/+", "/finance", true},
		{"+", "/finance", false},
		{"+/#", "a", true},
		{"#", "$SYS/x", false},
		{"+/monitor/Clients", "$SYS/monitor/Clients", false},
		{"$SYS/#", "$SYS/x", true},
		{"$SYS/monitor/+", "$SYS/monitor/Clients", true},
		{"ACCOUNTS", "Accounts", false},
		{"a//b", "a//b", true},
		{"a/+/b", "a//b", true},
	} {
		f := NewFilters[int, int]()
		f.Set(c.filter, 1, 0)
		n := NewNames[string]()
		n.Set(c.name, c.name)
		got := []bool{
			MatchString(c.filter, c.name), naiveMatch(c.filter, c.name),
			len(f.AppendMatches(nil, []byte(c.name))) == 1, len(n.AppendMatches(nil, c.filter, 0)) == 1,
		}
		if slices.Contains(got, !c.want) {
			t.Errorf("%s, %s: string, naive, filters, names: %v, expected %v", c.filter, c.name, got, c.want)
		}
	}
}

func TestValid(t *testing.T) {
	for s, want := range map[string][2]error{ // as a name, as a filter
		"a/b":                           {nil, nil},
		"/":                             {nil, nil},
		"":                              {ErrEmpty, ErrEmpty},
		"a/+/b":                         {ErrWildcardInName, nil},
		"#":                             {ErrWildcardInName, nil},
		"a/#":                           {ErrWildcardInName, nil},
		"a#":                            {ErrWildcardInName, ErrWildcardPlacement},
		"a/#/b":                         {ErrWildcardInName, ErrWildcardPlacement},
		"a+":                            {ErrWildcardInName, ErrWildcardPlacement},
		"+a":                            {ErrWildcardInName, ErrWildcardPlacement},
		"a/+b/c":                        {ErrWildcardInName, ErrWildcardPlacement},
		"a\x00":                         {ErrNull, ErrNull},
		"1/2/3/4":                       {nil, nil},
		"1/2/3/4/5":                     {ErrTooDeep, ErrTooDeep},
		"$SYS/x":                        {nil, nil},
		"ünï/cödé/✓":                    {nil, nil},
		strings.Repeat("x", bytesMax+1): {ErrTooLong, ErrTooLong},
	} {
		if got := [2]error{ValidName([]byte(s), 4), ValidFilter([]byte(s), 4)}; got != want {
			t.Errorf("%.20q: %v, expected %v", s, got, want)
		}
	}
}

func TestParseShare(t *testing.T) {
	for s, want := range map[string]string{
		"$share/g/a/+": "g|a/+|true|<nil>",
		"$share/g//x":  "g|/x|true|<nil>",
		"a/b":          "|a/b|false|<nil>",
		"$shared/g/a":  "|$shared/g/a|false|<nil>",
		"$share":       "|$share|false|<nil>",
		"$share/":      "||true|" + ErrShare.Error(),
		"$share//x":    "||true|" + ErrShare.Error(),
		"$share/g":     "||true|" + ErrShare.Error(),
		"$share/g/":    "||true|" + ErrShare.Error(),
		"$share/+/a":   "||true|" + ErrShare.Error(),
		"$share/a#/a":  "||true|" + ErrShare.Error(),
	} {
		share, rest, shared, err := ParseShare([]byte(s))
		if got := fmt.Sprintf("%s|%s|%v|%v", share, rest, shared, err); got != want {
			t.Errorf("%s: %s, expected %s", s, got, want)
		}
	}
}

func randomSource(t *testing.T) *rand.Rand {
	t.Helper()
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("replay with -seed=%d", s)
	return rand.New(rand.NewPCG(s, 0))
}

// randomTopic makes topics from few levels, so that they meet often.
func randomTopic(rng *rand.Rand, filter bool) string {
	levels := make([]string, 1+rng.IntN(5))
	for i := range levels {
		levels[i] = []string{"a", "b", "c", "", "$x", "dd"}[rng.IntN(6)]
		if filter && rng.IntN(3) == 0 {
			levels[i] = "+"
		}
	}
	if filter && rng.IntN(4) == 0 {
		levels[len(levels)-1] = "#"
	}
	if s := strings.Join(levels, "/"); s != "" {
		return s
	}
	return "a"
}

// nothingLeft reports whether a set holds no memory but its own.
func nothingLeft[K comparable, V any](f *Filters[K, V]) bool {
	return f.exact.shards == nil && f.exact.len == 0 && f.wild.edges.shards == nil && f.wild.edges.len == 0 && f.wild.root.empty()
}

func TestFiltersAgainstNaive(t *testing.T) {
	rng := randomSource(t)
	f := NewFilters[int, int]()
	type pair struct {
		filter string
		key    int
	}
	model := make(map[pair]int)
	for step := range 3000 {
		p := pair{randomTopic(rng, true), rng.IntN(40)}
		switch rng.IntN(3) {
		case 0:
			_, known := model[p]
			if f.Set(p.filter, p.key, step) != known {
				t.Fatalf("step %d: Set(%q, %d)", step, p.filter, p.key)
			}
			model[p] = step
		case 1:
			_, known := model[p]
			if f.Delete(p.filter, p.key) != known {
				t.Fatalf("step %d: Delete(%q, %d)", step, p.filter, p.key)
			}
			delete(model, p)
		case 2:
			name := randomTopic(rng, false)
			var want, got []string
			for p, v := range model {
				if naiveMatch(p.filter, name) {
					want = append(want, fmt.Sprint(p.key, v))
				}
			}
			for _, m := range f.AppendMatches(nil, []byte(name)) {
				got = append(got, fmt.Sprint(m.Key, m.Value))
			}
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(want, got) {
				t.Fatalf("step %d: %q: got %v, expected %v", step, name, got, want)
			}
		}
		if v, ok := f.Get(p.filter, p.key); ok != (model[p] != 0 || ok && v == model[p]) || f.Len() != len(model) {
			t.Fatalf("step %d: Get %d %v, Len %d of %d", step, v, ok, f.Len(), len(model))
		}
	}
	for p := range model {
		f.Delete(p.filter, p.key)
	}
	if !nothingLeft(f) || f.Len() != 0 {
		t.Error("something is left of an empty trie")
	}
}

func TestNamesAgainstNaive(t *testing.T) {
	rng := randomSource(t)
	n := NewNames[string]()
	model := make(map[string]bool)
	for step := range 3000 {
		name := randomTopic(rng, false)
		switch rng.IntN(3) {
		case 0:
			if _, replaced := n.Set(name, name); replaced != model[name] {
				t.Fatalf("step %d: Set(%q)", step, name)
			}
			model[name] = true
		case 1:
			if _, existed := n.Delete(name); existed != model[name] {
				t.Fatalf("step %d: Delete(%q)", step, name)
			}
			delete(model, name)
		case 2:
			filter := randomTopic(rng, true)
			var want []string
			for name := range model {
				if naiveMatch(filter, name) {
					want = append(want, name)
				}
			}
			got := n.AppendMatches(nil, filter, 0)
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(want, got) {
				t.Fatalf("step %d: %q: got %v, expected %v", step, filter, got, want)
			}
			if limit := 1 + rng.IntN(3); len(n.AppendMatches(nil, filter, limit)) != min(limit, len(want)) {
				t.Fatalf("step %d: %q: limit %d", step, filter, limit)
			}
		}
		if _, ok := n.Get([]byte(name)); ok != model[name] || n.Len() != len(model) {
			t.Fatalf("step %d: Get(%q) %v, Len %d of %d", step, name, ok, n.Len(), len(model))
		}
	}
	for name := range model {
		n.Delete(name)
	}
	if n.root.children.len() != 0 || n.Len() != 0 {
		t.Error("something is left of an empty trie")
	}
}

// TestDeep: as many levels as a topic can have neither overflow the stack nor
// take long.
func TestDeep(t *testing.T) {
	deep := strings.Repeat("/", bytesMax)
	f := NewFilters[int, int]()
	n := NewNames[int]()
	f.Set(deep, 1, 0)
	f.Set(strings.Repeat("+/", bytesMax/2)+"#", 2, 0)
	n.Set(deep, 1)
	if got := len(f.AppendMatches(nil, []byte(deep))); got != 2 {
		t.Errorf("%d matches", got)
	}
	if got := len(n.AppendMatches(nil, "#", 0)) + len(n.AppendMatches(nil, deep, 0)); got != 2 {
		t.Errorf("%d matches", got)
	}
	f.Delete(deep, 1)
	f.Delete(strings.Repeat("+/", bytesMax/2)+"#", 2)
	n.Delete(deep)
	if !nothingLeft(f) || n.root.children.len() != 0 {
		t.Error("something is left of an empty trie")
	}
}

// TestWildBomb: many mixes of wildcards cost at most a visit of each node.
func TestWildBomb(t *testing.T) {
	rng := randomSource(t)
	f := NewFilters[int, int]()
	for i := range 10000 {
		levels := make([]string, 20)
		for l := range levels {
			levels[l] = []string{"+", "a"}[rng.IntN(2)]
		}
		f.Set(strings.Join(levels[:1+rng.IntN(20)], "/")+"/#", i, 0)
	}
	name := strings.TrimSuffix(strings.Repeat("a/", 20), "/")
	matches := f.AppendMatches(nil, []byte(name))
	if len(matches) != 10000 { // each filter once: no node was visited twice
		t.Errorf("%d matches of 10000", len(matches))
	}
}

func TestConcurrentReaders(t *testing.T) {
	f, n := NewFilters[int, int](), NewNames[int]()
	for i := range 100 {
		f.Set(fmt.Sprintf("a/+/%d", i%10), i, i)
		n.Set(fmt.Sprintf("a/b/%d", i), i)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				if len(f.AppendMatches(nil, []byte("a/x/3"))) != 10 || len(n.AppendMatches(nil, "a/+/+", 0)) != 100 {
					t.Error("wrong matches")
				}
			}
		})
	}
	wg.Wait()
}

func TestAllocations(t *testing.T) {
	f, n := NewFilters[int, int](), NewNames[int]()
	for i := range 1000 {
		f.Set(fmt.Sprintf("a/%d/c", i), i, i)
		n.Set(fmt.Sprintf("a/%d/c", i), i)
	}
	f.Set("a/+/c", 1, 1)
	f.Set("#", 1, 1)
	name, dst := []byte("a/7/c"), make([]Match[int, int], 0, 16)
	for what, fn := range map[string]func(){
		"AppendMatches": func() { dst = f.AppendMatches(dst[:0], name) },
		"Names.Get":     func() { n.Get(name) },
		"ValidName":     func() { _ = ValidName(name, 8) },
		"ValidFilter":   func() { _ = ValidFilter(name, 8) },
		"ParseShare":    func() { _, _, _, _ = ParseShare(name) },
		"MatchString":   func() { _ = MatchString("a/+/c", "a/7/c") },
	} {
		if allocs := testing.AllocsPerRun(100, fn); allocs != 0 {
			t.Errorf("%s: %v allocations", what, allocs)
		}
	}
	if len(dst) != 3 {
		t.Errorf("%d matches", len(dst))
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("a/+/#", "a/b")
	f.Add("$share/x/#", "$x")
	f.Add("+/+", "/")
	f.Fuzz(func(t *testing.T, filter, name string) {
		if ValidFilter([]byte(filter), 0) != nil || ValidName([]byte(name), 0) != nil {
			return
		}
		filters, names := NewFilters[int, int](), NewNames[int]()
		filters.Set(filter, 1, 0)
		names.Set(name, 1)
		want := naiveMatch(filter, name)
		if MatchString(filter, name) != want || (len(filters.AppendMatches(nil, []byte(name))) == 1) != want ||
			(len(names.AppendMatches(nil, filter, 0)) == 1) != want {
			t.Errorf("%q, %q: expected %v", filter, name, want)
		}
	})
}

func FuzzParseShare(f *testing.F) {
	f.Add([]byte("$share/g/a"))
	f.Add([]byte("$share//"))
	f.Fuzz(func(t *testing.T, whole []byte) {
		share, rest, shared, err := ParseShare(whole)
		if err == nil && shared && string(whole) != "$share/"+string(share)+"/"+string(rest) {
			t.Errorf("%q: %q %q", whole, share, rest)
		}
		if !shared && string(rest) != string(whole) {
			t.Errorf("%q: %q", whole, rest)
		}
	})
}
