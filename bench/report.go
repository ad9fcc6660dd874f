package bench

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A sitting is all results of a Comparison, which become one table.
type sitting struct {
	*Comparison
	title, command string // what is compared, and what does it
	suffix         string // of the name of the file
	reference      string // the contender to which others are compared

	contenders []contender
	rows       []row
	began      time.Time
	results    map[cell][]*Result
}

type cell struct{ row, contender int }

// units are how figures are called in the table.
var units = map[string]string{
	"broker_cpu_us_per_message":      "CPU per delivered message, µs",
	"runner_cpu_us_per_message":      "(the runner's own CPU per message, µs)",
	"delivered_per_s":                "delivered per second",
	"latency_p50_us":                 "latency p50, µs",
	"latency_p99_us":                 "latency p99, µs",
	"latency_p999_us":                "latency p99.9, µs",
	"runner_late_p99_us":             "(how late the runner sent, p99, µs)",
	"broker_cpu_us_per_connect":      "CPU per connect and disconnect, µs",
	"connects_per_s":                 "connects per second",
	"broker_cpu_us_per_handshake":    "CPU per TLS handshake, with TCP, µs",
	"handshakes_per_s":               "TLS handshakes per second",
	"runner_cpu_us_per_handshake":    "(the runner's own CPU per handshake, µs)",
	"broker_bytes_per_connection":    "resident bytes per connection",
	"broker_cpu_us_per_publish":      "CPU per publish (two deliveries), µs",
	"broker_cpu_us_per_subscribe":    "CPU per subscribe, µs",
	"broker_bytes_per_filter":        "resident bytes per filter",
	"published_per_s":                "published per second",
	"acknowledged_per_s":             "acknowledged per second",
	"broker_cpu_us_per_acknowledged": "CPU per acknowledged message, µs",
	"drained_per_s":                  "drained per second",
	"lost":                           "acknowledged and lost",
}

// write writes the table as it stands.
func (s *sitting) write() error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s on %s\n\n", s.title, s.began.Format("2006-01-02 15:04"))
	fmt.Fprintf(&b, "Medians of up to %d rounds by `%s`; what a figure means is in docs/performance.md. In parentheses the ratio to %s in this sitting.\n",
		s.Rounds, s.command, s.reference)
	fmt.Fprintf(&b, "Compare only within a table: figures move with the load on the machine.\n")
	if s.Note != "" {
		fmt.Fprintf(&b, "%s\n", s.Note)
	}
	b.WriteByte('\n')
	s.writeMachine(&b)
	s.writeTable(&b)
	s.writeCommands(&b)
	return os.WriteFile(s.Out, []byte(b.String()), 0o644)
}

func (s *sitting) writeMachine(b *strings.Builder) {
	fmt.Fprintf(b, "- machine: %d cores, %s, %s/%s, kernel %s\n", runtime.NumCPU(), processor(), runtime.GOOS, runtime.GOARCH, firstLine("/proc/sys/kernel/osrelease"))
	fmt.Fprintf(b, "- load average at the last round's end: %s\n", firstLine("/proc/loadavg"))
	fmt.Fprintf(b, "- PromptMQ %s, %s\n", s.Version, runtime.Version())
	for _, c := range s.contenders {
		fmt.Fprintf(b, "- %s: durability: %s%s\n", c.name, c.durability, versionOf(c.name))
	}
	b.WriteByte('\n')
}

func (s *sitting) writeTable(b *strings.Builder) {
	b.WriteString("| row | figure |")
	for _, c := range s.contenders {
		fmt.Fprintf(b, " %s |", c.name)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(s.contenders)) + "\n")
	base := slices.IndexFunc(s.contenders, func(c contender) bool { return c.name == s.reference })
	var notes []string
	for i, r := range s.rows {
		for n, figure := range r.figures {
			name := r.name
			if n > 0 {
				name = ""
			}
			fmt.Fprintf(b, "| %s | %s |", name, units[figure])
			for j := range s.contenders {
				text, note := s.show(cell{i, j}, figure, base)
				if note != "" && n == 0 {
					notes = append(notes, fmt.Sprintf("%s, %s: %s", r.name, s.contenders[j].name, note))
				}
				fmt.Fprintf(b, " %s |", text)
			}
			b.WriteByte('\n')
		}
	}
	b.WriteByte('\n')
	for _, note := range notes {
		fmt.Fprintf(b, "- %s\n", note)
	}
	if len(notes) > 0 {
		b.WriteByte('\n')
	}
}

// show gives the text of one cell, and what failed in it.
func (s *sitting) show(c cell, figure string, base int) (text, note string) {
	results := s.results[c]
	if len(results) == 0 {
		return "", ""
	}
	failures := 0
	for _, res := range results {
		if res.Failure != "" {
			failures++
			note = res.Failure
		}
	}
	if failures > 0 {
		note = fmt.Sprintf("%d of %d runs failed: %s", failures, len(results), note)
	}
	v, ok := median(results, figure)
	if !ok {
		if failures > 0 {
			return "failed", note
		}
		return "", ""
	}
	text = format(v)
	if base >= 0 && base != c.contender && !strings.HasPrefix(units[figure], "(") {
		if of, ok := median(s.results[cell{c.row, base}], figure); ok && of > 0 {
			text += fmt.Sprintf(" (%.3g)", v/of)
		}
	}
	return text, note
}

// median is of the runs that did not fail.
func median(results []*Result, figure string) (float64, bool) {
	var all []float64
	for _, res := range results {
		if v, ok := res.Figures.Get(figure); ok {
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		return 0, false
	}
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2, true
}

func (s *sitting) writeCommands(b *strings.Builder) {
	b.WriteString("## Commands\n\nEach run has a fresh broker on {port} of 127.0.0.1 and an empty {dir}:\n\n```\n")
	for _, c := range s.contenders {
		fmt.Fprintf(b, "%s: %s\n", c.name, strings.ReplaceAll(c.command, shellQuote(s.Binary), "promptmq"))
		if c.before != "" {
			fmt.Fprintf(b, "    before: %s\n", strings.ReplaceAll(c.before, shellQuote(s.Binary), "promptmq"))
		}
		for line := range strings.Lines(c.config) {
			fmt.Fprintf(b, "    broker.conf: %s", line)
		}
	}
	b.WriteString("```\n\nand a runner (--url, --ca-file, --protocol, --pid, --durability and --json are added; MQTT 5 where the broker has it")
	for _, c := range s.contenders {
		if len(c.flags) > 0 {
			fmt.Fprintf(b, "; for %q %s as well", c.name, strings.Join(c.flags, " "))
		}
	}
	b.WriteString("):\n\n```\n")
	for _, r := range s.rows {
		fmt.Fprintf(b, "%s: promptmq bench %s\n", r.name, strings.Join(r.args, " "))
	}
	b.WriteString("```\n")
}

// versionOf asks a broker that we know for its version.
func versionOf(name string) string {
	if name != "mosquitto" {
		return ""
	}
	out, _ := exec.Command(name, "-h").Output() // it exits with 3 after its help
	line, _, _ := strings.Cut(string(out), "\n")
	return ", " + line
}

func processor() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for line := range strings.Lines(string(b)) {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				return strings.TrimLeft(strings.TrimSpace(name), ": \t")
			}
		}
	}
	return "unknown processor"
}

func firstLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return line
}
