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

// Peers compares brokers in one sitting: PromptMQ, mosquitto where it is
// installed, the relay, and what --peer names. Every row runs against every
// broker in turn, in each round; each run has a fresh broker and a runner of
// its own process.
type Peers struct {
	Rounds   int           `default:"3" placeholder:"N" help:"Rounds; the table has their medians."`
	Peer     []string      `sep:"none" placeholder:"NAME=COMMAND" help:"One more broker: a shell command that runs it in the foreground. {port} and {dir} are replaced by a port of 127.0.0.1 and an empty directory. May be repeated."`
	Only     []string      `name:"only" sep:"none" placeholder:"TEXT" help:"Only rows whose name contains one of these texts."`
	Brokers  []string      `sep:"none" placeholder:"NAME" help:"Only these brokers, by the names of the table's columns."`
	Duration time.Duration `default:"3s" help:"How long each run measures."`
	Out      string        `placeholder:"FILE" help:"Where the table goes; bench/results/DATE.md if not given. The single results go beside it, as .jsonl."`

	// Binary is the promptmq to run; Version goes into the table.
	Binary  string               `kong:"-"`
	Version string               `kong:"-"`
	Log     func(string, ...any) `kong:"-"`
}

// Validate checks the settings.
func (o *Peers) Validate() error {
	if o.Rounds < 1 {
		return fmt.Errorf("--rounds %d: must be at least 1", o.Rounds)
	}
	for _, p := range o.Peer {
		name, command, ok := strings.Cut(p, "=")
		if !ok || name == "" || !strings.Contains(command, "{port}") {
			return fmt.Errorf("--peer %s: must be a name, \"=\" and a command with {port}", p)
		}
	}
	if len(o.rows()) == 0 {
		return fmt.Errorf("--only %s: no row has that in its name", strings.Join(o.Only, ","))
	}
	return positive(o.Duration, 0)
}

// A contender is one column of the table.
type contender struct {
	name       string
	command    string // with {port} and {dir}
	config     string // a file named broker.conf in {dir}, if not empty
	durability string
	// flags are added to rows that allow them.
	flags []string
	// limited contenders run only the rows that are marked so.
	relay, durableOnly bool
}

// inflight is given to every broker of which we know the setting: else the
// defaults, not the brokers, would be compared.
const inflight = 1000

func (o *Peers) contenders() ([]contender, error) {
	self := shellQuote(o.Binary)
	promptmq := fmt.Sprintf("%s server --server-bind 127.0.0.1:{port} --server-ws-bind '' --metrics-enabled=false --data-dir {dir}/data --log-level warn "+
		"--mqtt-max-inflight %d --mqtt-receive-maximum %d --mqtt-max-connections 20000", self, inflight, inflight)
	const fsync = "fsync before the acknowledgement"
	all := []contender{
		{name: "PromptMQ", command: promptmq, durability: fsync + " for durable sessions"},
		{name: "PromptMQ, durable", command: promptmq, durability: fsync, flags: []string{"--durable"}, durableOnly: true},
	}
	if path, err := exec.LookPath("mosquitto"); err == nil {
		all = append(all, contender{name: "mosquitto", command: path + " -c {dir}/broker.conf", durability: "memory only",
			config: fmt.Sprintf("listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nmax_queued_messages 0\nmax_inflight_messages %d\npersistence false\n", inflight)})
	}
	all = append(all, contender{name: "relay", command: self + " bench relay --bind 127.0.0.1:{port}", durability: "none", relay: true})
	for _, p := range o.Peer {
		name, command, _ := strings.Cut(p, "=")
		all = append(all, contender{name: name, command: command, durability: "unknown"})
	}
	if len(o.Brokers) > 0 {
		for _, name := range o.Brokers {
			if !slices.ContainsFunc(all, func(c contender) bool { return c.name == name }) {
				return nil, fmt.Errorf("--brokers %s: there is none of that name", name)
			}
		}
		all = slices.DeleteFunc(all, func(c contender) bool { return !slices.Contains(o.Brokers, c.name) })
	}
	return all, nil
}

// A row is one command line, of which some figures are shown.
type row struct {
	name    string
	args    []string
	figures []string
	relay   bool // the relay can do it
	durable bool // it has --durable
}

func (o *Peers) rows() []row {
	d, window := o.Duration.String(), strconv.Itoa(inflight)
	message := []string{"broker_cpu_us_per_message", "delivered_per_s", "runner_cpu_us_per_message"}
	var rows []row
	add := func(name string, relay, durable bool, figures []string, args ...string) {
		rows = append(rows, row{name, args, figures, relay, durable})
	}
	for _, qos := range []string{"0", "1", "2"} {
		add("1 → 1, QoS "+qos+", 64 B, 16 per write", true, qos != "0", message,
			"throughput", "--qos", qos, "--window", window, "--duration", d)
	}
	for i, qos := range []string{"0", "1", "2"} {
		window := window
		if i > 0 { // thousands in flight at a time would measure how a broker searches lists
			window = "200"
		}
		add("50 → 50, QoS "+qos+", 256 B, 4 per write", true, qos != "0", message,
			"throughput", "--publishers", "50", "--subscribers", "50", "--qos", qos, "--payload", "256", "--per-write", "4", "--window", window, "--duration", d)
	}
	add("fan-out 1 → 500, QoS 0, 64 B", true, false, message, "fan-out", "--window", "256", "--duration", d)
	add("fan-in 500 → 1, QoS 0, 64 B", true, false, message, "fan-in", "--duration", d)
	add("5,000 msg/s over 10 → 10, QoS 0", true, false,
		[]string{"latency_p50_us", "latency_p99_us", "latency_p999_us", "broker_cpu_us_per_message", "runner_late_p99_us"}, "latency", "--duration", d)
	add("5,000 msg/s over 10 → 10, QoS 1", true, true,
		[]string{"latency_p50_us", "latency_p99_us", "latency_p999_us", "broker_cpu_us_per_message", "runner_late_p99_us"}, "latency", "--qos", "1", "--duration", d)
	add("4,000 + 4,000 connections, 4,000 msg/s, QoS 0", true, false,
		[]string{"broker_cpu_us_per_message", "latency_p50_us", "latency_p99_us", "runner_late_p99_us"}, "quiet", "--duration", d)
	add("connect", true, false, []string{"broker_cpu_us_per_connect", "connects_per_s"}, "connect")
	add("10,000 idle connections", true, false, []string{"broker_bytes_per_connection"}, "idle", "--hold", "2s")
	add("200,000 filters, 10 % with wildcards", false, false,
		[]string{"broker_cpu_us_per_publish", "broker_cpu_us_per_subscribe", "broker_bytes_per_filter", "published_per_s"}, "filters", "--duration", d)
	add("QoS 1 into absent durable sessions", false, false,
		[]string{"acknowledged_per_s", "broker_cpu_us_per_acknowledged", "drained_per_s", "lost"}, "durable", "--messages", "96000")
	if len(o.Only) == 0 {
		return rows
	}
	return slices.DeleteFunc(rows, func(r row) bool {
		return !slices.ContainsFunc(o.Only, func(text string) bool { return strings.Contains(r.name, text) })
	})
}

// runs says whether a contender has this row.
func (c *contender) runs(r row) bool {
	return (!c.relay || r.relay) && (!c.durableOnly || r.durable)
}

// Compare runs everything and writes the table. Rows that fail are in it with
// their reason.
func (o *Peers) Compare(ctx context.Context) error {
	contenders, err := o.contenders()
	if err != nil {
		return err
	}
	began := time.Now()
	if o.Out == "" {
		o.Out = filepath.Join("bench", "results", began.Format("2006-01-02")+".md")
	}
	if err := os.MkdirAll(filepath.Dir(o.Out), 0o755); err != nil {
		return err
	}
	raw, err := os.Create(strings.TrimSuffix(o.Out, ".md") + ".jsonl")
	if err != nil {
		return err
	}
	defer func() { _ = raw.Close() }()
	s := sitting{peers: o, contenders: contenders, rows: o.rows(), began: began, results: make(map[cell][]*Result)}
	for round := range o.Rounds {
		for i, r := range s.rows {
			for j := range contenders {
				c := &contenders[j]
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
func (o *Peers) one(ctx context.Context, c *contender, r row) (*Result, error) {
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
