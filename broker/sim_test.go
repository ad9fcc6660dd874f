package broker_test

import (
	"os"
	"testing"
	"time"
)

// seeds calls run for -sim.seed, or for -sim.seeds seeds, or for few.
func seeds(t *testing.T, few int, run func(seed uint64) error) {
	t.Helper()
	if *simSeed != 0 {
		if err := run(*simSeed); err != nil {
			t.Errorf("-sim.seed=%d: %v", *simSeed, err)
		}
		return
	}
	n := few
	if *simSeeds > 0 {
		n = *simSeeds
	}
	began, failed, enough := time.Now(), 0, 5
	if os.Getenv("BREAK_RULES") != "" {
		enough = 1 // a control has shown what it is for
	}
	for seed := uint64(1); seed <= uint64(n) && failed < enough; seed++ {
		if err := run(seed); err != nil {
			failed++
			t.Errorf("-run '^%s$' -sim.seed=%d: %v", t.Name(), seed, err)
		}
	}
	t.Logf("%d seeds, %.1f ms each", n, float64(time.Since(began).Milliseconds())/float64(n))
}

// TestSimPowerCut: the power goes at any operation of the disk; after the
// restart nothing that was acknowledged is missing, and QoS 2 is exactly once.
func TestSimPowerCut(t *testing.T) {
	root := simRoot(t)
	cuts, acked := 0, 0
	seeds(t, 60, func(seed uint64) error {
		w, err := simulate(t, root, seed, simConfig{})
		if w != nil {
			cuts, acked = cuts+w.cuts, acked+w.acked
		}
		return err
	})
	t.Logf("%d cuts, %d messages acknowledged", cuts, acked)
}
