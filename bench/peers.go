package bench

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// Peers compares brokers: PromptMQ, mosquitto where it is installed, the relay,
// and what --peer names.
type Peers struct {
	Comparison `embed:""`
	Peer       []string `sep:"none" placeholder:"NAME=COMMAND" help:"One more broker: a shell command that runs it in the foreground. {port} and {dir} are replaced by a port of 127.0.0.1 and an empty directory. May be repeated."`
	Brokers    []string `sep:"none" placeholder:"NAME" help:"Only these brokers, by the names of the table's columns."`
}

// Validate checks the settings.
func (o *Peers) Validate() error {
	for _, p := range o.Peer {
		name, command, ok := strings.Cut(p, "=")
		if !ok || name == "" || !strings.Contains(command, "{port}") {
			return fmt.Errorf("--peer %s: must be a name, \"=\" and a command with {port}", p)
		}
	}
	return o.validate(o.rows())
}

// inflight is given to every broker of which we know the setting: else the
// defaults, not the brokers, would be compared.
const inflight = 1000

// reference is the broker to which others are compared.
const reference = "mosquitto"

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

func (o *Peers) rows() []row {
	d, window := o.Duration.String(), strconv.Itoa(inflight)
	message := []string{"broker_cpu_us_per_message", "delivered_per_s", "runner_cpu_us_per_message"}
	var rows []row
	add := func(name string, relay, durable bool, figures []string, args ...string) {
		rows = append(rows, row{name: name, args: args, figures: figures, relay: relay, durable: durable})
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
	return rows
}

// Compare runs everything and writes the table. Rows that fail are in it with
// their reason.
func (o *Peers) Compare(ctx context.Context) error {
	contenders, err := o.contenders()
	if err != nil {
		return err
	}
	return o.compare(ctx, &sitting{title: "Brokers compared", command: "promptmq bench peers", reference: reference, contenders: contenders, rows: o.rows()})
}
