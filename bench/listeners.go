package bench

import (
	"context"
	"fmt"
	"strconv"
)

// Listeners compares the kinds of listeners of PromptMQ.
type Listeners struct {
	Comparison `embed:""`
}

// Validate checks the settings.
func (o *Listeners) Validate() error { return o.validate(o.rows()) }

func (o *Listeners) contenders() []contender {
	self := shellQuote(o.Binary)
	listener := func(kind, address, files string) string {
		return fmt.Sprintf("%s server --server-bind '' --server-ws-bind '' --server-listeners '[{kind: %s, address: \"%s\"%s}]' --metrics-enabled=false "+
			"--data-dir {dir}/data --log-level warn --mqtt-max-inflight %d --mqtt-receive-maximum %d --mqtt-max-connections 20000",
			self, kind, address, files, inflight, inflight)
	}
	const (
		durability = "fsync before the acknowledgement for durable sessions"
		address    = "127.0.0.1:{port}"
		files      = ", cert-file: {dir}/cert.pem, key-file: {dir}/key.pem"
	)
	certificate := self + " cert self-signed --out {dir} --host 127.0.0.1 >{dir}/cert.log"
	return []contender{
		{name: "tcp", durability: durability, command: listener("tcp", address, "")},
		{name: "unix", durability: durability, command: listener("unix", "{dir}/socket", ""), url: "unix://{dir}/socket"},
		{name: "ws", durability: durability, command: listener("ws", address, ""), url: "ws://127.0.0.1:{port}/mqtt"},
		{name: "tls", durability: durability, command: listener("tls", address, files), url: "tls://127.0.0.1:{port}", before: certificate, caFile: "{dir}/cert.pem", tls: true},
		{name: "wss", durability: durability, command: listener("wss", address, files), url: "wss://127.0.0.1:{port}/mqtt", before: certificate, caFile: "{dir}/cert.pem", tls: true},
	}
}

func (o *Listeners) rows() []row {
	d, window := o.Duration.String(), strconv.Itoa(inflight)
	message := []string{"broker_cpu_us_per_message", "delivered_per_s", "runner_cpu_us_per_message"}
	connect := []string{"broker_cpu_us_per_connect", "connects_per_s"}
	handshake := []string{"broker_cpu_us_per_handshake", "handshakes_per_s", "runner_cpu_us_per_handshake"}
	return []row{
		{name: "10,000 idle connections", figures: []string{"broker_bytes_per_connection"}, args: []string{"idle", "--hold", "2s"}},
		{name: "1 → 1, QoS 0, 64 B, 16 per write", figures: message,
			args: []string{"throughput", "--eager", "--qos", "0", "--window", window, "--duration", d}},
		{name: "1 → 1, QoS 1, 64 B, 16 per write", figures: message,
			args: []string{"throughput", "--eager", "--qos", "1", "--window", window, "--duration", d}},
		{name: "5,000 msg/s over 10 → 10, QoS 0", figures: []string{"broker_cpu_us_per_message", "latency_p50_us", "latency_p99_us"},
			args: []string{"latency", "--duration", d}},
		{name: "connect", figures: connect, args: []string{"connect"}},
		{name: "TLS handshake, full", tls: true, figures: handshake, args: []string{"handshakes"}},
		{name: "TLS handshake, resumed", tls: true, figures: handshake, args: []string{"handshakes", "--resumed"}},
	}
}

// Compare runs everything and writes the table.
func (o *Listeners) Compare(ctx context.Context) error {
	return o.compare(ctx, &sitting{title: "Listeners compared", command: "promptmq bench listeners", suffix: "-listeners", reference: "tcp",
		contenders: o.contenders(), rows: o.rows()})
}
