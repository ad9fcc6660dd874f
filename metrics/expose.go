package metrics

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	vm "github.com/VictoriaMetrics/metrics"
)

// WritePrometheus writes every metric of b, of the Go runtime and of the
// process in the Prometheus text format.
func (b *Broker) WritePrometheus(w io.Writer) {
	vm.ExposeMetadata(true)
	var text bytes.Buffer
	b.set.WritePrometheus(&text)
	out := bufio.NewWriter(w)
	for line := range strings.Lines(text.String()) {
		if family, ok := strings.CutPrefix(line, "# HELP "); ok {
			family = strings.TrimSpace(family)
			line = fmt.Sprintf("# HELP %s %s\n", family, help[family])
		}
		out.WriteString(line)
	}
	vm.WriteProcessMetrics(out)
	out.Flush()
}

// residentBytes is what the kernel counts as this process's memory, or where
// it does not say, what the Go runtime holds.
func residentBytes() float64 {
	if statm, err := os.ReadFile("/proc/self/statm"); err == nil {
		var size, resident float64
		if _, err := fmt.Sscan(string(statm), &size, &resident); err == nil {
			return resident * float64(os.Getpagesize())
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.Sys - m.HeapReleased)
}
