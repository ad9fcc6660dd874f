package broker_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"
	"time"
)

// controlSeeds is within how many seeds a broken promise is noticed, by the same
// seed each time where a process has a processor for itself. The race detector and
// a busy machine change the order of events in a seed: for them there are more.
const (
	controlSeeds    = 200
	controlSeedsMax = 10 * controlSeeds
)

// skipControl leaves a control out with -short: that the simulation notices what it is
// to notice does not depend on the race detector or on checked invariants.
func skipControl(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("a control is shown once, without -short")
	}
}

// TestSimControlDisk: with settings that do not keep the promise, or a disk
// that does not, the simulation must say so; else it could not say anything.
func TestSimControlDisk(t *testing.T) {
	skipControl(t)
	root := simRoot(t)
	if raceSlowdown == 1 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // as in seeds
	}
	for name, cfg := range map[string]simConfig{
		"synchronous NORMAL":        {synchronous: "NORMAL"},
		"synchronous OFF":           {synchronous: "OFF"},
		"a disk that ignores syncs": {lying: true},
		"journal DELETE with FULL":  {journal: "DELETE", synchronous: "FULL"},
		"journal TRUNCATE with OFF": {journal: "TRUNCATE", synchronous: "OFF"},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := uint64(1); seed <= controlSeedsMax; seed++ {
				if _, err := simulate(t, root, seed, cfg); err != nil {
					t.Logf("caught by seed %d: %.200v", seed, err)
					return
				}
			}
			t.Errorf("not noticed within %d seeds", controlSeedsMax)
		})
	}
}

// TestSimControlBroker runs simulations of brokers that break one rule each,
// which only a build with the tag control does.
func TestSimControlBroker(t *testing.T) {
	skipControl(t)
	binary := filepath.Join(t.TempDir(), "broker.test")
	if out, err := exec.Command("go", "test", "-c", "-tags", "control", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("building the control: %v\n%s", err, out)
	}
	caught := regexp.MustCompile(`-sim\.seed=\d+: (at|start) .*`)
	for _, control := range []struct{ rule, test string }{
		{"ack-before-commit", "TestSimPowerCut"},
		{"ack-at-delivery", "TestSimPowerCut"},
		{"connack-before-commit", "TestSimPowerCut"},
		{"pubcomp-before-removal", "TestSimPowerCut"},
		{"qos2-before-commit", "TestSimPowerCut"},
		{"identifier-not-durable", "TestSimPowerCut"},
		{"pubrel-before-commit", "TestSimPowerCut"},
		{"no-checkpoint-at-start,wal-not-rewritten-at-start", "TestSimFsyncFail"},
		{"wal-not-rewritten-at-start", "TestSimStartCut"},
		{"checksums", "TestSimBitFlip"},
		{"torn-wal-refused", "TestSimPowerCut"},
		{"busy-taken", "TestSimLocked"},
		{"ack-before-commit", "TestSimLocked"},
		{"ack-before-commit", "TestSimDiskStall"},
		{"qos2-before-commit", "TestSimDiskStall"},
		{"qos1-before-commit", "TestSimStuck"},
		{"packet-identifier-in-use", "TestSimStuck"},
		{"owed-not-stored", "TestSimRetainedFetch"},
		{"owed-progress-lost", "TestSimRetainedFetch"},
		{"wall-clock", "TestSimTimers"},
		{"clock-forgotten", "TestSimTimers"},
		{"jump-counted", "TestSimTimers"},
		{"will-not-kept", "TestSimWills"},
		{"session-expiry-ignored", "TestSimTimers"},
		{"end-not-marked", "TestSimTimers"},
		{"keep-alive-ignored", "TestSimTimers"},
	} {
		t.Run(control.rule, func(t *testing.T) {
			c := exec.Command(binary, "-test.run", "^"+control.test+"$", fmt.Sprint("-sim.seeds=", controlSeedsMax), "-test.timeout=15m")
			c.Env = append(os.Environ(), "BREAK_RULES="+control.rule)
			began := time.Now()
			out, err := c.CombinedOutput()
			what := caught.Find(out)
			if err == nil || what == nil {
				t.Fatalf("not noticed within %d seeds: %v\n%s", controlSeedsMax, err, out)
			}
			t.Logf("caught in %v: %s", time.Since(began).Round(time.Millisecond), what)
		})
	}
}
