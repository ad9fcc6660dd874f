package broker_test

import (
	"testing"

	"github.com/x0a1b/promptmq/metrics"
)

// TestSimDropOldest: the power goes while queues with little room drop their oldest
// messages, many of which are on disk only. What is missing afterwards was
// followed by as many as there is room for.
func TestSimDropOldest(t *testing.T) {
	root := simRoot(t)
	cuts, acked, dropped := 0, 0, uint64(0)
	seeds(t, 30, func(seed uint64) error {
		room := []int{60, 300}[seed%2] // less, and more than what stays in memory
		w, err := simulate(t, root, seed, simConfig{room: room, promised: room, stuck: seed%4 == 0})
		if w != nil {
			cuts, acked = cuts+w.cuts, acked+w.acked
			dropped += w.m.Dropped[metrics.DropQueueOldest].Get() // since the last start
		}
		return err
	})
	t.Logf("%d cuts, %d messages acknowledged, %d dropped after the last start", cuts, acked, dropped)
}

// TestSimControlDropOldest: a queue that has less room than it should must be noticed.
func TestSimControlDropOldest(t *testing.T) {
	skipControl(t)
	root := simRoot(t)
	for seed := uint64(1); seed <= controlSeedsMax; seed++ {
		if _, err := simulate(t, root, seed, simConfig{room: 10, promised: 60}); err != nil {
			t.Logf("caught by seed %d: %.200v", seed, err)
			return
		}
	}
	t.Errorf("not noticed within %d seeds", controlSeedsMax)
}
