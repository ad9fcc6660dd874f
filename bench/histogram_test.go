package bench

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestHistogramQuantiles(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var h, other histogram
	var all []int64
	for i := range 20000 {
		v := random.Int64N(1 << (1 + i%36))
		all = append(all, v)
		if i%2 == 0 {
			h.record(time.Duration(v))
		} else {
			other.record(time.Duration(v))
		}
	}
	h.merge(&other)
	slices.Sort(all)
	for _, q := range []float64{0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[max(0, int(q*float64(len(all)))-1)]
		got := int64(h.quantile(q))
		if got < want || float64(got-want) > 0.008*float64(want)+1 {
			t.Errorf("quantile %v: %d, exactly %d", q, got, want)
		}
	}
	if h.max != all[len(all)-1] {
		t.Errorf("max %d", h.max)
	}
}

func TestHistogramBuckets(t *testing.T) {
	for i := 1; i < buckets; i++ {
		low, high := highest(i-1)+1, highest(i)
		if bucketOf(low) != i || bucketOf(high) != i {
			t.Fatalf("bucket %d holds %d to %d, which fall into %d and %d", i, low, high, bucketOf(low), bucketOf(high))
		}
	}
	if bucketOf(1<<62) != buckets-1 || bucketOf(-1) != 0 {
		t.Error("extremes")
	}
}
