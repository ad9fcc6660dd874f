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
	b.mu.Lock()
	onScrape, distributed := b.onScrape, b.distributed // they are only ever appended to
	b.mu.Unlock()
	for _, f := range onScrape {
		f()
	}
	vm.ExposeMetadata(true)
	var text bytes.Buffer
	b.set.WritePrometheus(&text)
	out := bufio.NewWriter(w)
	for line := range strings.Lines(text.String()) {
		if family, ok := strings.CutPrefix(line, "# HELP "); ok {
			family = strings.TrimSpace(family)
			line = helpLine(family, help[family])
		}
		out.WriteString(line)
	}
	for _, d := range distributed {
		out.WriteString(helpLine(d.name, help[d.name]))
		fmt.Fprintf(out, "# TYPE %s histogram\n", d.name)
		d.of().write(out, d.name)
	}
	writeProcess(out)
	out.Flush()
}

func helpLine(family, text string) string { return fmt.Sprintf("# HELP %s %s\n", family, text) }

// writeProcess writes what processHelp lists of the Go runtime and of the process.
func writeProcess(out *bufio.Writer) {
	var text bytes.Buffer
	vm.WriteProcessMetrics(&text)
	writeOpenFiles(&text)
	listed := false
	for line := range strings.Lines(text.String()) {
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
			family := strings.TrimSpace(rest)
			text := processHelp[family]
			if listed = text != ""; listed {
				line = helpLine(family, text)
			}
		} else if name, ok := strings.CutPrefix(line, "# TYPE "); ok && strings.HasSuffix(name, "_total gauge\n") {
			line = strings.TrimSuffix(line, "gauge\n") + "counter\n" // as the package has it wrong for what /proc/self/io tells
		}
		if listed {
			out.WriteString(line)
		}
	}
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
