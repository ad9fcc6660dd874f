package metrics

import (
	"io"
	"os"

	vm "github.com/VictoriaMetrics/metrics"
)

// processHelp is the help text of each metric family of the Go runtime and of the process that
// is shown. What the package that reads them has besides is left out: it has names that
// Prometheus advises against (go_cgo_calls_count), or says what others say too.
var processHelp = map[string]string{
	"go_gc_cpu_seconds_total":                       "CPU seconds that garbage collection took, as the Go runtime estimates.",
	"go_gc_duration_seconds":                        "Seconds that garbage collections stopped the program.",
	"go_gc_mark_assist_cpu_seconds_total":           "CPU seconds in which goroutines helped the garbage collector.",
	"go_gomaxprocs":                                 "Processors that goroutines may use at a time.",
	"go_goroutines":                                 "Goroutines of the process.",
	"go_info":                                       "Always 1; the label is the version of Go.",
	"go_memlimit_bytes":                             "GOMEMLIMIT, or what limits.memory has set in its place.",
	"go_memstats_alloc_bytes_total":                 "Bytes allocated on the heap since the start.",
	"go_memstats_heap_alloc_bytes":                  "Bytes of the heap in use, with garbage.",
	"go_memstats_heap_idle_bytes":                   "Bytes of the heap in no use.",
	"go_memstats_heap_inuse_bytes":                  "Bytes in spans of the heap that are in use.",
	"go_memstats_heap_objects":                      "Objects on the heap, with garbage.",
	"go_memstats_heap_released_bytes":               "Bytes of the heap given back to the system.",
	"go_memstats_mallocs_total":                     "Objects allocated on the heap since the start.",
	"go_memstats_next_gc_bytes":                     "Size of the heap at which the next garbage collection begins.",
	"go_memstats_stack_inuse_bytes":                 "Bytes of the stacks of goroutines.",
	"go_memstats_sys_bytes":                         "Bytes that the Go runtime has from the system.",
	"go_mutex_wait_seconds_total":                   "Seconds that goroutines waited for locks.",
	"go_sched_latencies_seconds":                    "Seconds that goroutines were ready and waited for a processor.",
	"go_threads":                                    "Threads of the process.",
	"process_cpu_seconds_total":                     "CPU seconds of the process, user and system.",
	"process_io_storage_read_bytes_total":           "Bytes that the process had read from disks.",
	"process_io_storage_written_bytes_total":        "Bytes that the process had written to disks.",
	"process_major_pagefaults_total":                "Page faults that needed the disk.",
	"process_max_fds":                               "Files and sockets that the process may have open.",
	"process_open_fds":                              "Files and sockets that the process has open.",
	"process_pressure_cpu_waiting_seconds_total":    "Seconds in which some task of the control group waited for a processor.",
	"process_pressure_io_stalled_seconds_total":     "Seconds in which all tasks of the control group waited for I/O.",
	"process_pressure_io_waiting_seconds_total":     "Seconds in which some task of the control group waited for I/O.",
	"process_pressure_memory_waiting_seconds_total": "Seconds in which some task of the control group waited for memory.",
	"process_resident_memory_bytes":                 "Resident memory of the process.",
	"process_start_time_seconds":                    "When the process started, in Unix seconds.",
	"process_virtual_memory_bytes":                  "Virtual memory of the process.",
}

// openFiles is how many files and sockets the process has open, as Linux tells it since 6.2 by
// the size of a directory: to list it takes long where there are many. 0: it is not known.
func openFiles() int64 {
	info, err := os.Stat("/proc/self/fd")
	if err != nil {
		return 0
	}
	return info.Size()
}

// writeOpenFiles writes process_open_fds and process_max_fds where they are known.
func writeOpenFiles(w io.Writer) {
	limit := OpenFilesMax()
	if limit == 0 {
		return
	}
	vm.WriteGaugeUint64(w, "process_max_fds", limit)
	if n := openFiles(); n > 0 {
		vm.WriteGaugeUint64(w, "process_open_fds", uint64(n))
		return
	}
	if dir, err := os.Open("/proc/self/fd"); err == nil { // before Linux 6.2
		defer dir.Close()
		if names, err := dir.Readdirnames(-1); err == nil {
			vm.WriteGaugeUint64(w, "process_open_fds", uint64(len(names)-1)) // dir is none of them
		}
	}
}
