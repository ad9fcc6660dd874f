package main

import (
	"os"
	"strconv"
	"syscall"
)

// behindPriority is the nice value of work that must not hold up a broker on the same machine.
const behindPriority = 15

// stepBehind lowers the priority of this process: what reads a whole database would otherwise
// take a processor from the broker that it reads it for. Where the system refuses it the work
// goes on as it is. Linux has a priority for each thread; later ones inherit theirs.
func stepBehind() {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for _, t := range threads {
		if id, err := strconv.Atoi(t.Name()); err == nil {
			_ = syscall.Setpriority(syscall.PRIO_PROCESS, id, behindPriority)
		}
	}
}
