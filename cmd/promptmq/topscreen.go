package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/terminal"
)

const (
	topHelp = "q quit  p pause  sort: r rate  i in  o out  u queued  d dropped"
	// onceRows and onceTopics are how many clients and topics are printed where there is no
	// screen to fill.
	onceRows   = 20
	onceTopics = 10
	// topicsFrom is the least height of a screen that shows topics: a third of it.
	topicsFrom = 12
)

// lines are the screen, of this size; 0: no screen.
func (v *topView) lines(columns, height int) []string {
	n := &v.numbers
	uptime := time.Duration(float64(n.UptimeSeconds) * float64(time.Second))
	lines := []string{
		fmt.Sprintf("PromptMQ %s  up %s  %s connections  %s sessions  %s subscriptions", escaped(n.Version), inspect.DurationText(uptime), inspect.CountText(n.Connections), inspect.CountText(n.Sessions), inspect.CountText(n.Subscriptions)),
		fmt.Sprintf("in %s  out %s  dropped %s  queued %s%s  %s", v.perSecond(v.in), v.perSecond(v.out), v.perSecond(v.dropped), inspect.CountText(n.Queued), prefixed("  commit p99 ", commitText(n)), healthWord(n)),
		"",
	}
	rows, topics := onceRows, append([]string{""}, v.topicTable(onceTopics+1, columns)...)
	if height > 0 {
		lines = append(lines[:2], v.helpLine())
		if topics = nil; height >= topicsFrom {
			topics = append([]string{""}, v.topicTable(height/3, columns)...)
		}
		rows = max(0, height-len(lines)-len(topics)-1) // the titles of the table
	}
	lines = append(append(lines, v.table(rows, columns)...), topics...)
	if height > 0 {
		lines = lines[:min(len(lines), height)]
	}
	for i := range lines {
		if columns > 0 {
			lines[i] = terminal.Cut(lines[i], columns)
		}
	}
	return lines
}

func (v *topView) helpLine() string {
	if v.paused {
		return "PAUSED: p goes on  q quit"
	}
	return topHelp + "  [" + v.sort + "]"
}

func healthWord(n *inspect.Numbers) string {
	switch {
	case !n.Ready:
		return "NOT READY: promptmq status says more"
	case n.Overload != "" && n.Overload != "normal":
		return "SHORT OF MEMORY: promptmq status says more"
	}
	return ""
}

// table has the first rows.
func (v *topView) table(rows, columns int) []string {
	t := terminal.Table{Columns: []terminal.Column{
		{Title: "CLIENT", Least: 12}, {Title: "USER", Least: 6}, {Title: "IN/s", Right: true}, {Title: "OUT/s", Right: true}, {Title: "QUEUED", Right: true}, {Title: "SIZE", Right: true},
		{Title: "IN FLIGHT", Right: true}, {Title: "DROPPED/s", Right: true}, {Title: "STATE"}, {Title: "ADDRESS", Least: 10},
	}}
	for i := range v.rows[:min(rows, len(v.rows))] {
		r := &v.rows[i]
		t.Add(r.ID, r.User, v.rateText(r.in), v.rateText(r.out), inspect.CountText(r.Queued), inspect.BytesText(r.QueuedBytes), inspect.CountText(r.InFlight), v.rateText(r.dropped), stateOf(r.Client), r.Address)
	}
	return t.Lines(columns)
}

// perSecond is a rate with its unit.
func (v *topView) perSecond(r float64) string {
	if !v.measured {
		return notMeasured
	}
	return v.rateText(r) + "/s"
}

// notMeasured stands for a rate before the second look.
const notMeasured = "-"

// rateText is a number a second.
func (v *topView) rateText(r float64) string {
	if !v.measured {
		return notMeasured
	}
	if r > 0 && r < 10 {
		return strconv.FormatFloat(r, 'f', 1, 64)
	}
	return inspect.CountText(int64(r + 0.5))
}
