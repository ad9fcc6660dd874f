package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// usage is what the broker and the runner have consumed at one moment.
type usage struct {
	at          time.Time
	broker      time.Duration // CPU time, user and system, of all threads
	brokerBytes int64         // resident memory
	runner      time.Duration // CPU time of this process
}

// ticksPerSecond is the unit of CPU times in /proc: USER_HZ, which is 100 on
// every architecture that Go runs on.
const ticksPerSecond = 100

// pid returns the broker's process, 0 if nobody named it. A file is read each
// time: the broker may have been restarted.
func (r *Runner) pid() (int, error) {
	if r.PIDFile == "" {
		return r.PID, nil
	}
	b, err := os.ReadFile(r.PIDFile)
	if err != nil {
		return 0, fmt.Errorf("the broker's process: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 0 {
		return 0, fmt.Errorf("the broker's process: %s holds no process id", r.PIDFile)
	}
	return pid, nil
}

// usage reads the clocks.
func (r *Runner) usage() (u usage, err error) {
	pid, err := r.pid()
	if err != nil {
		return u, err
	}
	if pid != 0 {
		if u.broker, err = processCPU(pid); err != nil {
			return u, err
		}
		if u.brokerBytes, err = processBytes(pid); err != nil {
			return u, err
		}
	}
	u.at, u.runner = time.Now(), runnerCPU()
	return u, nil
}

// processCPU returns utime and stime of /proc/N/stat, which cover all threads
// of the process, also those that ended.
func processCPU(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("the broker's CPU time: %w", err)
	}
	// The second field is the name in parentheses and may hold anything.
	text := string(b)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	const utime, stime = 11, 12
	if len(fields) <= stime {
		return 0, fmt.Errorf("the broker's CPU time: /proc/%d/stat is too short", pid)
	}
	var ticks int64
	for _, field := range fields[utime : stime+1] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("the broker's CPU time: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}

// processAlive reports whether a process exists that has not ended; one that
// nobody has waited for yet, a zombie, has.
func processAlive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	text := string(b)
	state := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	return len(state) > 0 && state[0] != "Z" && state[0] != "X"
}

// processBytes returns VmRSS of /proc/N/status.
func processBytes(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("the broker's memory: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if text, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kB, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "kB")), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("the broker's memory: %w", err)
			}
			return kB << 10, nil
		}
	}
	return 0, fmt.Errorf("the broker's memory: process %d has none; has it ended?", pid)
}

// addCPU adds the CPU time from one moment to another, divided by n of what,
// and warns when the runner is too heavy for the scale.
func (r *Runner) addCPU(res *Result, from, to usage, n int64, what string) {
	if n <= 0 {
		return
	}
	runner := micros(to.runner-from.runner) / float64(n)
	if r.watched() {
		broker := micros(to.broker-from.broker) / float64(n)
		res.add("broker_cpu_us_per_"+what, broker)
		if ticks := (to.broker - from.broker) * ticksPerSecond / time.Second; ticks < 20 {
			res.warn("the broker's CPU time per %s stands on %d clock ticks of 10 ms: run longer", what, ticks)
		}
		if runner > broker/2 {
			res.warn("the runner took %.3g µs CPU per %s, more than half of the broker's %.3g: on a machine with few cores it slows the broker down", runner, what, broker)
		}
	}
	res.add("runner_cpu_us_per_"+what, runner)
}

func (r *Runner) addMemory(res *Result, before, after usage) {
	if r.watched() {
		res.add("broker_rss_before_kB", float64(before.brokerBytes>>10))
		res.add("broker_rss_after_kB", float64(after.brokerBytes>>10))
	}
}

// watched reports whether the broker's process is known.
func (r *Runner) watched() bool { return r.PID != 0 || r.PIDFile != "" }
