package metrics

import (
	"fmt"
	"io"
	"slices"
)

// A Distribution says how many of something there are at a time, by upper bound. Unlike a
// Histogram, which counts since the start, it is made anew for each scrape.
type Distribution struct {
	bounds []float64 // ascending
	counts []uint64  // by bound, and those above all
	sum    float64
}

// NewDistribution returns an empty Distribution with these bounds, ascending, which it keeps.
func NewDistribution(bounds []float64) *Distribution {
	return &Distribution{bounds: bounds, counts: make([]uint64, len(bounds)+1)}
}

// Add counts one.
func (d *Distribution) Add(v float64) {
	i, _ := slices.BinarySearch(d.bounds, v)
	d.counts[i]++
	d.sum += v
}

func (d *Distribution) write(w io.Writer, name string) {
	total := uint64(0)
	for i, n := range d.counts {
		total += n
		bound := "+Inf"
		if i < len(d.bounds) {
			bound = fmt.Sprint(d.bounds[i])
		}
		fmt.Fprintf(w, "%s_bucket{le=%q} %d\n", name, bound, total)
	}
	fmt.Fprintf(w, "%s_sum %v\n%s_count %d\n", name, d.sum, name, total)
}

// A distributed is a metric that is a Distribution.
type distributed struct {
	name string
	of   func() *Distribution
}

// Distribution registers a metric that is asked for at each scrape. The name is one of
// families.go and not yet registered.
func (b *Broker) Distribution(name string, of func() *Distribution) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.distributed = append(b.distributed, distributed{name, of})
}

// OnScrape has f called when a scrape begins, before all that is asked for at each.
func (b *Broker) OnScrape(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.onScrape = append(b.onScrape, f)
}
