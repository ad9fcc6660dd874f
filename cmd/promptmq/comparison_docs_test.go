package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const (
	comparisonTable   = "2026-11-29.md" // of bench/results
	comparisonPicture = root + "/docs/pictures/comparison.svg"
)

// compared are the bars of the picture in the README: a row of the table, the figure in it,
// and what it is called.
var compared = [][3]string{
	{"1 → 1, QoS 0, 64 B, 16 per write", "CPU per delivered message, µs", "1 → 1, QoS 0: CPU per message"},
	{"1 → 1, QoS 1, 64 B, 16 per write", "CPU per delivered message, µs", "1 → 1, QoS 1"},
	{"1 → 1, QoS 2, 64 B, 16 per write", "CPU per delivered message, µs", "1 → 1, QoS 2"},
	{"50 → 50, QoS 1, 256 B, 4 per write", "CPU per delivered message, µs", "50 → 50, QoS 1"},
	{"fan-out 1 → 500, QoS 0, 64 B", "CPU per delivered message, µs", "1 → 500, QoS 0"},
	{"fan-in 500 → 1, QoS 0, 64 B", "CPU per delivered message, µs", "500 → 1, QoS 0"},
	{"5,000 msg/s over 10 → 10, QoS 1", "CPU per delivered message, µs", "at 5,000 messages a second, QoS 1"},
	{"4,000 + 4,000 connections, 4,000 msg/s, QoS 0", "CPU per delivered message, µs", "4,000 a second, 8,000 connections"},
	{"200,000 filters, 10 % with wildcards", "CPU per publish (two deliveries), µs", "a publish among 200,000 filters"},
	{"connect", "CPU per connect and disconnect, µs", "a connect: CPU"},
	{"10,000 idle connections", "resident bytes per connection", "an idle connection: memory"},
}

// comparedFigures returns what the table has for PromptMQ and Mosquitto.
func comparedFigures(t *testing.T, row, figure string) (ours, theirs float64) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "bench", "results", comparisonTable))
	if err != nil {
		t.Fatal(err)
	}
	at := ""
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 {
			continue
		}
		if name := strings.TrimSpace(cells[1]); name != "" {
			at = name
		}
		if at != row || strings.TrimSpace(cells[2]) != figure {
			continue
		}
		var figures [2]float64
		for i := range figures {
			if figures[i], err = strconv.ParseFloat(strings.Fields(cells[3+i])[0], 64); err != nil {
				t.Fatal(err)
			}
		}
		return figures[0], figures[1]
	}
	t.Fatalf("%s has no %q of %q", comparisonTable, figure, row)
	return 0, 0
}

// drawComparison draws a bar for each figure as a share of Mosquitto's.
func drawComparison(t *testing.T) string {
	t.Helper()
	const left, unit, step, top = 300, 330, 26, 56 // pixels; unit is the length of 1
	var b strings.Builder
	height := top + step*len(compared) + 40
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 %d" font-family="sans-serif" font-size="13" role="img" aria-label="What PromptMQ takes, as a share of what Mosquitto takes">`+"\n", height)
	fmt.Fprintf(&b, `<rect width="800" height="%d" fill="#fff"/>`+"\n", height)
	b.WriteString(`<text x="16" y="24" font-size="15" font-weight="bold" fill="#222">What PromptMQ takes where Mosquitto 2.1.2 takes 1: less is better</text>` + "\n")
	for i, c := range compared {
		ours, theirs := comparedFigures(t, c[0], c[1])
		y, share := top+step*i, ours/theirs
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end" fill="#222">%s</text>`+"\n", left-10, y+13, c[2])
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="18" fill="#2a6fb0"/>`+"\n", left, y, share*unit)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" fill="#222">%.2f</text>`+"\n", max(left+share*unit, left)+6, y+13, share)
	}
	fmt.Fprintf(&b, `<line x1="%d" y1="40" x2="%d" y2="%d" stroke="#b03a2a" stroke-dasharray="4 3"/>`+"\n", left+unit, left+unit, height-34)
	fmt.Fprintf(&b, `<text x="%d" y="%d" fill="#b03a2a" text-anchor="middle">Mosquitto</text>`+"\n", left+unit, height-18)
	b.WriteString("</svg>\n")
	return b.String()
}

// TestComparisonPicture: the picture of the README has the figures of the table. -update
// draws it.
func TestComparisonPicture(t *testing.T) {
	unraced(t)
	t.Parallel()
	want := drawComparison(t)
	if *update {
		if err := os.WriteFile(comparisonPicture, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(comparisonPicture); err != nil || string(have) != want {
		t.Errorf("the picture is not of the table: go test ./cmd/promptmq -run ComparisonPicture -update (%v)", err)
	}
}
