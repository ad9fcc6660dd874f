package broker_test

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// seeds calls run for -sim.seed, or for -sim.seeds seeds, or for few. On one
// processor a seed gives the same course of events each time; the race detector
// gets more, to see more.
func seeds(t *testing.T, few int, run func(seed uint64) error) {
	t.Helper()
	if raceSlowdown == 1 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	}
	if *simSeed != 0 {
		if err := run(*simSeed); err != nil {
			t.Errorf("-sim.seed=%d: %v", *simSeed, err)
		}
		return
	}
	n := max(1, few/raceSlowdown)
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

// TestSimWills: the Wills of Sessions that end with their connections come after a
// power cut too, as soon as anything was acknowledged after their CONNACK, and none
// after the close that follows DISCONNECT.
func TestSimWills(t *testing.T) {
	root := simRoot(t)
	cuts, owed := 0, 0
	seeds(t, 30, func(seed uint64) error {
		w, err := simulate(t, root, seed, simConfig{wills: true})
		if w != nil {
			cuts += w.cuts
			for _, m := range w.messages {
				if m.will && m.owed && !m.from.durable {
					owed++
				}
			}
		}
		return err
	})
	t.Logf("%d cuts, %d Wills of Sessions that ended with their connections", cuts, owed)
}

// TestSimFsyncFail: one to three syncs fail; the broker tries again, or is
// killed and starts again with what the page cache shows, and then the power
// goes, also while the start reads it.
func TestSimFsyncFail(t *testing.T) {
	root := simRoot(t)
	faults, acked := 0, 0
	seeds(t, 40, func(seed uint64) error {
		w, err := simulate(t, root, seed, simConfig{failSyncs: true, kills: true})
		if w != nil {
			faults, acked = faults+w.disk.faults, acked+w.acked
		}
		return err
	})
	t.Logf("%d syncs failed, %d messages acknowledged", faults, acked)
}

// TestSimStartCut: a sync fails, the process dies, and the power goes while the
// next one reads what the page cache shows.
func TestSimStartCut(t *testing.T) {
	root := simRoot(t)
	seeds(t, 20, func(seed uint64) error {
		_, err := simulate(t, root, seed, simConfig{failSyncs: true, startCuts: true})
		return err
	})
}

// TestSimDiskFull: one to three writes find no space, and later the power goes.
func TestSimDiskFull(t *testing.T) {
	root := simRoot(t)
	faults, acked, refused := 0, 0, 0
	seeds(t, 20, func(seed uint64) error {
		w, err := simulate(t, root, seed, simConfig{failWrites: true})
		if w != nil {
			faults, acked, refused = faults+w.disk.faults, acked+w.acked, refused+w.refusals
		}
		return err
	})
	t.Logf("%d writes failed, %d messages acknowledged, %d refused", faults, acked, refused)
}

// TestSimBitFlip: bits of the files turn over. What is lost then is lost, and
// the broker may refuse to start; but it never delivers what nobody sent, and
// never panics.
func TestSimBitFlip(t *testing.T) {
	root := simRoot(t)
	refused := 0
	seeds(t, 20, func(seed uint64) error {
		w, err := simulate(t, root, seed, simConfig{flips: true})
		if err == nil {
			return nil
		}
		if strings.HasPrefix(err.Error(), "start ") {
			refused++
		}
		if w != nil {
			for _, f := range w.faults {
				for _, bad := range []string{"nobody sent", "altered", "panics"} {
					if strings.Contains(f, bad) && !strings.Contains(f, " 0 panics") {
						return errors.New(f)
					}
				}
			}
		}
		return nil
	})
	t.Logf("%d starts were refused", refused)
}
