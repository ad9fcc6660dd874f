package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Comparison is a table of brokers, or of ways to reach one, that are measured in one
// sitting: every row runs against every one of them in turn, in each round; each run
// has a fresh broker and a runner of its own process.
type Comparison struct {
	Rounds   int           `default:"3" placeholder:"N" help:"Rounds; the table has their medians."`
	Only     []string      `name:"only" sep:"none" placeholder:"TEXT" help:"Only rows whose name contains one of these texts."`
	Duration time.Duration `default:"3s" help:"How long each run measures."`
	Out      string        `placeholder:"FILE" help:"Where the table goes; a file in bench/results with the date as its name if not given. The single results go beside it, as .jsonl."`
	Note     string        `placeholder:"TEXT" help:"Something that the table says of this sitting, such as what else ran on the machine."`

	// Binary is the promptmq to run; Version goes into the table.
	Binary  string               `kong:"-"`
	Version string               `kong:"-"`
	Log     func(string, ...any) `kong:"-"`
}

func (o *Comparison) validate(rows []row) error {
	if o.Rounds < 1 {
		return fmt.Errorf("--rounds %d: must be at least 1", o.Rounds)
	}
	if len(o.chosen(rows)) == 0 {
		return fmt.Errorf("--only %s: no row has that in its name", strings.Join(o.Only, ","))
	}
	return positive(o.Duration, 0)
}

// chosen are those of rows that were asked for.
func (o *Comparison) chosen(rows []row) []row {
	if len(o.Only) == 0 {
		return rows
	}
	return slices.DeleteFunc(rows, func(r row) bool {
		return !slices.ContainsFunc(o.Only, func(text string) bool { return strings.Contains(r.name, text) })
	})
}

// A contender is one column of the table.
type contender struct {
	name       string
	command    string // with {port} and {dir}
	config     string // a file named broker.conf in {dir}, if not empty
	durability string
	before     string // a shell command that is done first, if not empty
	url        string // with {port} and {dir}; "": tcp://127.0.0.1:{port}
	caFile     string // with {dir}; authorities of its certificate
	// flags are added to rows that allow them.
	flags []string
	// limited contenders run only the rows that are marked so.
	relay, durableOnly bool
	tls                bool // its connections are over TLS
}

// A row is one command line, of which some figures are shown.
type row struct {
	name    string
	args    []string
	figures []string
	relay   bool // the relay can do it
	durable bool // it has --durable
	tls     bool // it is about TLS
}

// runs says whether a contender has this row.
func (c *contender) runs(r row) bool {
	return (!c.relay || r.relay) && (!c.durableOnly || r.durable) && (c.tls || !r.tls)
}

// compare runs the rows of s, of which it takes those that were asked for, and writes the table.
// Rows that fail are in it with their reason.
func (o *Comparison) compare(ctx context.Context, s *sitting) error {
	s.Comparison, s.rows, s.began, s.results = o, o.chosen(s.rows), time.Now(), make(map[cell][]*Result)
	if o.Out == "" {
		o.Out = filepath.Join("bench", "results", s.began.Format("2006-01-02")+s.suffix+".md")
	}
	if err := os.MkdirAll(filepath.Dir(o.Out), 0o755); err != nil {
		return err
	}
	raw, err := os.Create(strings.TrimSuffix(o.Out, ".md") + ".jsonl")
	if err != nil {
		return err
	}
	defer func() { _ = raw.Close() }()
	for round := range o.Rounds {
		for i, r := range s.rows {
			for j := range s.contenders {
				c := &s.contenders[j]
				if !c.runs(r) {
					continue
				}
				res, err := o.one(ctx, c, r)
				if err != nil {
					if ctx.Err() != nil {
						return errors.Join(context.Cause(ctx), s.write())
					}
					res = &Result{Scenario: r.args[0], Failure: err.Error()}
				}
				s.results[cell{i, j}] = append(s.results[cell{i, j}], res)
				line, _ := json.Marshal(struct {
					Round  int     `json:"round"`
					Row    string  `json:"row"`
					Broker string  `json:"broker"`
					Result *Result `json:"result"`
				}{round + 1, r.name, c.name, res}) // only text and numbers
				if _, err := raw.Write(append(line, '\n')); err != nil {
					return err
				}
				first, _ := res.Figures.Get(r.figures[0])
				o.Log("round %d/%d  %-40s %-18s %s %s %s", round+1, o.Rounds, r.name, c.name, r.figures[0], format(first), res.Failure)
			}
		}
		if err := s.write(); err != nil { // what is done is done
			return err
		}
	}
	return nil
}

// one starts a fresh broker, runs one row in a process of its own, and stops
// the broker.
func (o *Comparison) one(ctx context.Context, c *contender, r row) (*Result, error) {
	dir, err := os.MkdirTemp("", "promptmq-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	b, err := c.start(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer b.stop()
	args := append([]string{"bench"}, r.args...)
	if r.durable {
		args = append(args, c.flags...)
	}
	args = append(args, "--url", b.url, "--protocol", b.protocol, "--pid", strconv.Itoa(b.cmd.Process.Pid), "--durability", c.durability, "--json")
	if b.caFile != "" {
		args = append(args, "--ca-file", b.caFile)
	}
	const runTimeout = 5 * time.Minute
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	run := exec.CommandContext(ctx, o.Binary, args...)
	var stderr bytes.Buffer
	run.Stderr = &stderr
	out, err := run.Output()
	var res Result
	if jsonErr := json.Unmarshal(out, &res); jsonErr != nil {
		return nil, fmt.Errorf("%w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return &res, nil
}

// shellQuote makes s one word of a shell.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
