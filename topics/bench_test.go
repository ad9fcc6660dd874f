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

func BenchmarkSubscribe(b *testing.B) {
	f := benchmarkFilters(200000, 10)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		filter := benchmarkFilter(i%200000, 10)
		f.Set(filter, -1, 0)
		f.Delete(filter, -1)
		i++
	}
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
