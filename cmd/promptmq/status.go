package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/terminal"
)

// errAttention is what status ends with if something needs attention.
var errAttention = errors.New("something needs attention")

type statusCommand struct {
	place
	JSON bool `help:"Write JSON."`
}

// A statusReport is what the command writes as JSON.
type statusReport struct {
	Well     bool              `json:"well"`
	Findings []inspect.Finding `json:"findings"`
	// PeriodSeconds is the time for which drops and refusals are counted.
	PeriodSeconds float64          `json:"period_seconds"`
	Numbers       inspect.Numbers  `json:"numbers"`
	Fullest       []inspect.Client `json:"fullest_queues"`
	Drops         []inspect.Drop   `json:"last_drops"`
}

const (
	fullestAsked = 20
	shownRows    = 5 // of each table
)

// Run implements the command.
func (c *statusCommand) Run() error {
	return c.ask(func(ctx context.Context, a *administered) error {
		seen, err := look(ctx, a)
		if err != nil {
			return fmt.Errorf("the broker cannot be asked: %w", err)
		}
		r := &statusReport{Findings: append([]inspect.Finding{}, inspect.Judge(seen)...), PeriodSeconds: seen.Period().Seconds(), Numbers: seen.Now, Fullest: append([]inspect.Client{}, seen.Fullest...), Drops: append([]inspect.Drop{}, seen.Drops...)}
		r.Well = len(r.Findings) == 0 || !r.Findings[0].Attention
		if c.JSON {
			err = writeJSON(os.Stdout, r)
		} else {
			width, _ := terminal.Size(os.Stdout)
			err = r.write(os.Stdout, width)
		}
		if err == nil && !r.Well {
			err = errAttention
		}
		return err
	})
}

// look asks for what a judgement is made of.
func look(ctx context.Context, a *administered) (*inspect.Seen, error) {
	history, err := admin.Call[inspect.Page[inspect.Numbers]](ctx, a.Client, http.MethodGet, "/numbers/history", nil)
	if err != nil {
		return nil, err
	}
	now, err := admin.Call[inspect.Numbers](ctx, a.Client, http.MethodGet, "/numbers", nil)
	if err != nil {
		return nil, err
	}
	fullest, err := rowsOf[inspect.Client](ctx, a, "/clients", query("sort", "queued", "order", "desc"), fullestAsked)
	if err != nil {
		return nil, err
	}
	drops, err := admin.Call[inspect.Page[inspect.Drop]](ctx, a.Client, http.MethodGet, "/drops", nil)
	if err != nil {
		return nil, err
	}
	seen := &inspect.Seen{Now: *now, Fullest: fullest.Items, Drops: drops.Items}
	if len(history.Items) > 0 {
		seen.Before = history.Items[0]
	}
	return seen, nil
}

// write writes one screen.
func (r *statusReport) write(w io.Writer, width int) error {
	n := &r.Numbers
	period := time.Duration(r.PeriodSeconds * float64(time.Second))
	lines := []string{
		r.headline(),
		fmt.Sprintf("up %s; %s connections, %s sessions, %s subscriptions, %s retained messages, %s queued", inspect.DurationText(time.Duration(float64(n.UptimeSeconds)*float64(time.Second))),
			inspect.CountText(n.Connections), inspect.CountText(n.Sessions), inspect.CountText(n.Subscriptions), inspect.CountText(n.Retained), inspect.CountText(n.Queued)),
		fmt.Sprintf("store %s, write-ahead log %s, %s free on the disk%s", inspect.BytesText(n.DatabaseBytes), inspect.BytesText(n.WALBytes), inspect.BytesText(n.DiskFreeBytes), prefixed("; 99 of 100 commits within ", commitText(n))),
		"",
	}
	for _, f := range r.Findings {
		mark := "  "
		if f.Attention {
			mark = "! "
		}
		lines = append(lines, mark+escaped(f.What), "    "+escaped(f.Do))
	}
	if len(r.Findings) == 0 {
		lines = append(lines, "  nothing was dropped or refused in the last "+inspect.DurationText(period)+", and nothing is full")
	} else {
		lines = append(lines, "  drops and refusals are those of the last "+inspect.DurationText(period))
	}
	if _, err := fmt.Fprintln(w, strings.Join(lines, "\n")); err != nil {
		return err
	}
	return r.writeTables(w, width)
}

// commitText is how long a commit takes; "" if there was none.
func commitText(n *inspect.Numbers) string {
	if n.CommitP99 <= 0 {
		return ""
	}
	return inspect.DurationText(time.Duration(n.CommitP99 * float64(time.Second)))
}

func (r *statusReport) headline() string {
	count := 0
	for _, f := range r.Findings {
		if f.Attention {
			count++
		}
	}
	switch {
	case count == 0:
		return "PromptMQ " + r.Numbers.Version + ": well"
	case count == 1:
		return "PromptMQ " + r.Numbers.Version + ": 1 thing needs attention"
	}
	return fmt.Sprintf("PromptMQ %s: %d things need attention", r.Numbers.Version, count)
}

// writeTables writes who has the largest queues, and what was dropped last.
func (r *statusReport) writeTables(w io.Writer, width int) error {
	queues := terminal.Table{Columns: []terminal.Column{{Title: "LARGEST QUEUES", Least: 16}, {Title: "STATE"}, {Title: "FOR"}, {Title: "QUEUED", Right: true}, {Title: "SIZE", Right: true}, {Title: "DROPPED", Right: true}}}
	for i := range r.Fullest[:min(shownRows, len(r.Fullest))] {
		if c := &r.Fullest[i]; c.Queued > 0 {
			queues.Add(c.ID, stateOf(c), since(stateSince(c)), inspect.CountText(c.Queued), inspect.BytesText(c.QueuedBytes), inspect.CountText(c.Dropped))
		}
	}
	drops := terminal.Table{Columns: []terminal.Column{{Title: "LAST DROPS", Least: 16}, {Title: "TOPIC", Least: 12}, {Title: "AGO"}, {Title: "REASON"}, {Title: "BYTES", Right: true}}}
	for _, d := range r.Drops[:min(shownRows, len(r.Drops))] {
		drops.Add(d.Client, d.Topic, since(d.At), d.Reason, inspect.CountText(d.Bytes))
	}
	for _, t := range []*terminal.Table{&queues, &drops} {
		if len(t.Rows) == 0 {
			continue
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
		if err := t.Write(w, width); err != nil {
			return err
		}
	}
	return nil
}
