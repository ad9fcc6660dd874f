package memory

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
)

// share is how much of the memory that there is the process may have when nothing is said,
// in percent.
const share = 80

// DefaultLimit returns how much memory the process may have in bytes, when nothing is said,
// and where that comes from; 0: it cannot be told.
func DefaultLimit() (bytes int64, of string) {
	if soft := debug.SetMemoryLimit(-1); soft < math.MaxInt64 && soft != ours.Load() {
		return soft / 100 * share, "GOMEMLIMIT"
	}
	machine, group := machineBytes(), groupBytes()
	switch {
	case group > 0 && (machine == 0 || group < machine):
		return group / 100 * share, "cgroup"
	case machine > 0:
		return machine / 100 * share, "machine"
	}
	return 0, ""
}

// SoftLimit makes the garbage collector keep the process within limit if it can, unless
// GOMEMLIMIT has said something else.
func SoftLimit(limit int64) {
	if is := debug.SetMemoryLimit(-1); is == math.MaxInt64 || is == ours.Load() {
		ours.Store(limit)
		debug.SetMemoryLimit(limit)
	}
}

// ours is what SoftLimit has set; 0: nothing.
var ours atomic.Int64

// machineBytes is the memory of the machine; 0: it is not known.
func machineBytes() int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	var kib int64
	if _, err := fmt.Sscanf(string(text), "MemTotal: %d kB", &kib); err != nil {
		return 0
	}
	return kib << 10
}

// groupBytes is the least memory limit of the control groups that the process is in; 0: none.
func groupBytes() int64 {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0
	}
	least := int64(0)
	for line := range bytes.Lines(text) {
		parts := strings.SplitN(strings.TrimSpace(string(line)), ":", 3)
		if len(parts) != 3 {
			continue
		}
		root, file := "/sys/fs/cgroup", "memory.max"
		if parts[1] != "" { // version 1
			if parts[1] != "memory" {
				continue
			}
			root, file = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
		}
		for dir := path.Clean("/" + parts[2]); ; dir = path.Dir(dir) {
			if n := fileBytes(root + path.Join(dir, file)); n > 0 && (least == 0 || n < least) {
				least = n
			}
			if dir == "/" {
				break
			}
		}
	}
	return least
}

// fileBytes is the number in a file; 0: there is none, or it stands for no limit.
func fileBytes(name string) int64 {
	text, err := os.ReadFile(name)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || n >= 1<<60 {
		return 0
	}
	return n
}

// anonymousBytes is the memory of the process that is no file; 0: it is not known.
func anonymousBytes() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, resident, shared int64
	if _, err := fmt.Sscan(string(text), &size, &resident, &shared); err != nil {
		return 0
	}
	return (resident - shared) * int64(os.Getpagesize())
}
