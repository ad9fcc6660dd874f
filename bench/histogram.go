package bench

import (
	"math/bits"
	"time"
)

// A histogram counts durations in buckets of which each power of two has 128:
// a value is off by less than 0.8 %, whether it is a microsecond or a minute.
// It is not safe for use by several goroutines; each has its own, and they are
// merged in the end.
type histogram struct {
	counts [buckets]uint32
	total  uint64
	max    int64
}

const (
	linearBits = 7
	linear     = 1 << linearBits
	// durations of 2^42 ns (73 minutes) and more share the last bucket.
	buckets = (42 - linearBits + 1) * linear
)

func bucketOf(ns int64) int {
	if ns < linear {
		return int(max(ns, 0))
	}
	octave := bits.Len64(uint64(ns)) - linearBits // at least 1
	return min(octave*linear+int(ns>>(octave-1))-linear, buckets-1)
}

// highest returns the largest duration that falls into a bucket.
func highest(bucket int) int64 {
	if bucket < linear {
		return int64(bucket)
	}
	octave := bucket / linear
	return int64(bucket%linear+linear+1)<<(octave-1) - 1
}

func (h *histogram) record(d time.Duration) {
	h.counts[bucketOf(int64(d))]++
	h.total++
	h.max = max(h.max, int64(d))
}

func (h *histogram) merge(o *histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.total += o.total
	h.max = max(h.max, o.max)
}

// quantile returns the duration that a share q of all values does not exceed.
func (h *histogram) quantile(q float64) time.Duration {
	rank := uint64(q * float64(h.total))
	if float64(rank) < q*float64(h.total) || rank == 0 {
		rank++ // the smallest rank that covers the share
	}
	var seen uint64
	for i, n := range h.counts {
		seen += uint64(n)
		if seen >= rank {
			return time.Duration(min(highest(i), h.max))
		}
	}
	return time.Duration(h.max)
}

// add puts the percentiles that are of interest into a Result.
func (h *histogram) add(r *Result, name string) {
	if h.total == 0 {
		return
	}
	r.add(name+"_p50_us", micros(h.quantile(0.50)))
	r.add(name+"_p99_us", micros(h.quantile(0.99)))
	r.add(name+"_p999_us", micros(h.quantile(0.999)))
	r.add(name+"_max_us", micros(time.Duration(h.max)))
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
