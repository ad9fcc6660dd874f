package topics

import (
	"fmt"
	"runtime"
	"testing"
)

// benchmarkFilters fills a trie with n filters for devices in rooms; one in
// wildEvery has a wildcard.
func benchmarkFilters(n, wildEvery int) *Filters[int, int] {
	f := NewFilters[int, int]()
	for i := range n {
		f.Set(benchmarkFilter(i, wildEvery), i, i)
	}
	return f
}

func benchmarkFilter(i, wildEvery int) string {
	if wildEvery > 0 && i%wildEvery == 0 {
		return fmt.Sprintf("site%d/+/device%d/#", i%100, i)
	}
	return fmt.Sprintf("site%d/room%d/device%d/temperature", i%100, i%1000, i)
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{10, 100000, 1000000} {
		for _, wild := range []int{0, 10} {
			b.Run(fmt.Sprintf("filters=%d/wild=%d", n, wild), func(b *testing.B) {
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				f := benchmarkFilters(n, wild)
				runtime.GC()
				runtime.ReadMemStats(&after)
				names := make([][]byte, 1024)
				for i := range names {
					names[i] = []byte(benchmarkFilter(i*7919%n, 0))
				}
				dst := make([]Match[int, int], 0, 64)
				i := 0
				b.ReportAllocs()
				b.ResetTimer()
				for b.Loop() {
					dst = f.AppendMatches(dst[:0], names[i&1023])
					i++
				}
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/filter")
			})
		}
	}
}

// benchmarkChanges times change alone over 100,000 filters, made beforehand;
// undo, not timed, brings the trie back after each round.
func benchmarkChanges(b *testing.B, f *Filters[int, int], change, undo func(filter string, i int)) {
	filters := make([]string, 100000)
	for i := range filters {
		filters[i] = benchmarkFilter(i, 10)
	}
	before, i := f.Len(), 0
	b.ReportAllocs()
	for b.Loop() {
		change(filters[i], i)
		if i++; i == len(filters) {
			b.StopTimer()
			for i := range filters {
				undo(filters[i], i)
			}
			if f.Len() != before {
				b.Fatalf("Len %d, was %d", f.Len(), before)
			}
			i = 0
			b.StartTimer()
		}
	}
}

// BenchmarkSubscribe makes the nodes of each filter anew.
func BenchmarkSubscribe(b *testing.B) {
	f := NewFilters[int, int]()
	benchmarkChanges(b, f,
		func(filter string, i int) { f.Set(filter, i, i) }, func(filter string, i int) { f.Delete(filter, i) })
}

// BenchmarkUnsubscribe prunes the nodes of each filter.
func BenchmarkUnsubscribe(b *testing.B) {
	f := benchmarkFilters(100000, 10)
	benchmarkChanges(b, f,
		func(filter string, i int) { f.Delete(filter, i) }, func(filter string, i int) { f.Set(filter, i, i) })
}

func BenchmarkRetainedGet(b *testing.B) {
	n := NewNames[int]()
	for i := range 100000 {
		n.Set(benchmarkFilter(i, 0), i)
	}
	name := []byte(benchmarkFilter(4711, 0))
	b.ReportAllocs()
	for b.Loop() {
		n.Get(name)
	}
}
