package metrics

import (
	"slices"
	"sync"

	vm "github.com/VictoriaMetrics/metrics"
)

// A Histogram counts observations by upper bound.
type Histogram struct {
	exposed *vm.PrometheusHistogram
	bounds  []float64

	mu   sync.Mutex // guards the following
	seen Observed
}

// Observed is what a Histogram has counted by some time.
type Observed struct {
	ByBound []uint64 // by upper bound, and above all of them
	Sum     float64
}

func newHistogram(set *vm.Set, name string, bounds []float64) *Histogram {
	return &Histogram{
		exposed: set.NewPrometheusHistogramExt(name, bounds), bounds: bounds, seen: Observed{ByBound: make([]uint64, len(bounds)+1)},
	}
}

// Update counts an observation, which is 0 or more.
func (h *Histogram) Update(v float64) {
	h.exposed.Update(v)
	i, _ := slices.BinarySearch(h.bounds, v)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen.ByBound[i]++
	h.seen.Sum += v
}

// Observed returns what was counted so far.
func (h *Histogram) Observed() Observed {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Observed{slices.Clone(h.seen.ByBound), h.seen.Sum}
}

// Quantile returns the upper bound of the part q of what was counted since before, which may
// be nothing; above all bounds it is the last. 0: nothing was counted.
func (h *Histogram) Quantile(q float64, before, now Observed) float64 {
	since := slices.Clone(now.ByBound)
	total := uint64(0)
	for i := range since {
		if i < len(before.ByBound) {
			since[i] -= before.ByBound[i]
		}
		total += since[i]
	}
	if total == 0 {
		return 0
	}
	below := uint64(0)
	for i, n := range since {
		if below += n; float64(below) >= q*float64(total) {
			return h.bounds[min(i, len(h.bounds)-1)]
		}
	}
	return 0
}
