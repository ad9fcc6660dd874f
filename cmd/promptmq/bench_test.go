package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/bench"
	"github.com/x0a1b/promptmq/codec"
)

// benchRun runs promptmq bench with --json and returns its exit code and result.
func benchRun(t *testing.T, args ...string) (int, bench.Result, string) {
	t.Helper()
	r := run(t, nil, append(append([]string{"bench"}, args...), "--json")...)
	var res bench.Result
	if r.stdout != "" {
		if err := json.Unmarshal([]byte(r.stdout), &res); err != nil || strings.Count(r.stdout, "\n") != 1 {
			t.Fatalf("not one line of JSON: %v\n%s", err, r.stdout)
		}
	}
	return r.code, res, r.stderr
}

// short are the flags of a run that shows that a scenario works, not how fast.
var short = lasts(200 * time.Millisecond)

func lasts(d time.Duration) []string {
	return []string{"--duration", d.String(), "--warmup", (d / 4).String()}
}

// tooShort is the failure of a run that ended before a slow machine came to it.
const tooShort = "no message was delivered while the run was measured"

// longEnough runs a scenario with short, and longer while that is too short.
func longEnough(t *testing.T, args []string, again func(bench.Result) bool) (code int, res bench.Result, stderr string) {
	t.Helper()
	for d := 200 * time.Millisecond; ; d *= 5 {
		flags := slices.Clone(args)
		if i := slices.Index(flags, short[1]); i >= 0 {
			flags = slices.Concat(flags[:i-1], lasts(d), flags[i-1+len(short):])
		}
		code, res, stderr = benchRun(t, flags...)
		if !again(res) || d > clientSeconds*time.Second {
			return code, res, stderr
		}
		t.Logf("%v are too short for this machine: %s", d, res.Failure)
	}
}

func TestBenchScenarios(t *testing.T) {
	s := start(t, "")
	pid := strconv.Itoa(s.cmd.Process.Pid)
	tcp, ws := "tcp://"+s.mqtt, "ws://"+s.ws+"/mqtt"
	for _, test := range []struct {
		name    string
		args    []string
		figures []string // that must be there and positive
	}{
		{"QoS 0", append([]string{"throughput", "--url", tcp}, short...), []string{"delivered", "delivered_per_s"}},
		{"QoS 1 of 3.1.1", append([]string{"throughput", "--url", tcp, "--protocol", "3.1.1", "--qos", "1"}, short...), []string{"delivered"}},
		{"QoS 2 over WebSocket", append([]string{"throughput", "--url", ws, "--qos", "2"}, short...), []string{"delivered"}},
		{"QoS 2 of 3.1.1 over WebSocket", append([]string{"throughput", "--url", ws, "--protocol", "3.1.1", "--qos", "2"}, short...), []string{"delivered"}},
		{"groups", append([]string{"throughput", "--url", tcp, "--publishers", "6", "--subscribers", "4", "--qos", "1", "--durable"}, short...), []string{"delivered"}},
		{"fan-in", append([]string{"fan-in", "--url", tcp, "--publishers", "20"}, short...), []string{"delivered"}},
		{"fan-out", append([]string{"fan-out", "--url", tcp, "--subscribers", "20"}, short...), []string{"delivered"}},
		{"shared", append([]string{"shared", "--url", tcp, "--qos", "1"}, short...), []string{"delivered"}},
		{"latency", append([]string{"latency", "--url", tcp, "--rate", "500", "--qos", "1"}, short...), []string{"latency_p50_us", "latency_p99_us", "latency_p999_us", "latency_max_us"}},
		{"quiet", append([]string{"quiet", "--url", tcp, "--publishers", "50", "--subscribers", "50", "--rate", "500"}, short...), []string{"delivered", "latency_p50_us"}},
		{"connect", []string{"connect", "--url", tcp, "--connections", "100"}, []string{"connects_per_s", "connect_p50_us"}},
		{"idle", []string{"idle", "--url", tcp, "--connections", "200", "--hold", "50ms"}, []string{"connections"}},
		{"filters", append([]string{"filters", "--url", tcp, "--filters", "1000", "--clients", "3"}, short...), []string{"subscribes_per_s", "published_per_s"}},
		{"retained", []string{"retained", "--url", tcp, "--messages", "320"}, []string{"retains_per_s", "fetched_per_s", "removes_per_s"}},
		{"durable", []string{"durable", "--url", tcp, "--messages", "1600", "--qos", "2"}, []string{"acknowledged_per_s", "drained_per_s"}},
		{"durable of 3.1.1", []string{"durable", "--url", tcp, "--protocol", "3.1.1", "--messages", "1600"}, []string{"acknowledged_per_s", "drained_per_s"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, res, stderr := longEnough(t, append(test.args, "--pid", pid, "--durability", "as tested", "--timeout", "1m"),
				func(res bench.Result) bool { return res.Failure == tooShort })
			if code != 0 || res.Failure != "" {
				t.Fatalf("exit code %d, failure %q, %s", code, res.Failure, stderr)
			}
			if res.Durability != "as tested" || res.Scenario != test.args[0] {
				t.Errorf("%+v", res)
			}
			for _, name := range test.figures {
				if v, _ := res.Figures.Get(name); v <= 0 {
					t.Errorf("%s is %v in %v", name, v, res.Figures)
				}
			}
			if v, ok := res.Figures.Get("broker_rss_before_kB"); ok && v <= 0 {
				t.Errorf("resident memory %v", v)
			}
		})
	}
	if n := s.metric("promptmq_retained_messages"); n != 0 {
		t.Errorf("%v retained messages were left behind", n)
	}
	eventually(t, "no session is left behind", func() bool { return s.metric("promptmq_sessions") == 0 })
}

// TestBenchLogin: who connects is said as with pub and sub, and by the names of before.
func TestBenchLogin(t *testing.T) {
	unraced(t)
	t.Parallel()
	s := withPasswords(t, "server: {listeners: [{kind: tcp, address: '127.0.0.1:0', anonymous: no, name: closed}]}\n")
	file := filepath.Join(t.TempDir(), "password")
	writeText(t, file, "secret7\n")
	for _, test := range []struct {
		who  string
		code int
		want string
	}{
		{"-u seven --password-file " + file, 0, ""}, {"--username seven -P secret7", 0, ""}, {"--user-name seven --password secret7", 0, ""},
		{"-u nobody -P secret7", exitFailure, "Bad User Name or Password"}, {"", exitFailure, "-u and --password-file"},
		{"-u seven --password-file " + file + "x", exitUsage, "no such file"},
	} {
		r := run(t, nil, strings.Fields("bench idle --connections 2 --hold 10ms --url tcp://"+s.listening("closed")+" "+test.who)...)
		if out := r.stdout + r.stderr; r.code != test.code || !strings.Contains(out, test.want) {
			t.Errorf("%q: code %d\n%s", test.who, r.code, out)
		}
	}
}

func TestBenchTable(t *testing.T) {
	unraced(t)
	s := start(t, "")
	var r result
	for d := 200 * time.Millisecond; d < clientSeconds*time.Second; d *= 5 {
		r = run(t, nil, append([]string{"bench", "throughput", "--url", "tcp://" + s.mqtt}, lasts(d)...)...)
		if !strings.Contains(r.stdout, tooShort) {
			break
		}
	}
	for _, text := range []string{"throughput against tcp://", "durability: unknown", "delivered_per_s", "runner_cpu_us_per_message"} {
		if !strings.Contains(r.stdout, text) {
			t.Errorf("no %q in\n%s", text, r.stdout)
		}
	}
	if r.code != 0 || r.stderr != "" { // no progress line without a terminal
		t.Errorf("exit code %d, %q", r.code, r.stderr)
	}
}

// TestBenchFileLimit: what the system does not let the runner open is said before
// anything is tried, with the limit.
func TestBenchFileLimit(t *testing.T) {
	unraced(t)
	if runtime.GOOS != "linux" {
		t.Skip("the limit is read on Linux only")
	}
	for _, args := range []string{"idle --connections 2000000000", "quiet --publishers 1000000000 --subscribers 1000000000",
		"throughput --publishers 1000000000 --subscribers 1000000000"} {
		r := run(t, nil, append([]string{"bench"}, strings.Fields(args)...)...)
		if r.code != 1 || !strings.Contains(r.stderr, "2000000000 connections need as many open files, and the limit is ") {
			t.Errorf("%s: exit code %d, %q", args, r.code, r.stderr)
		}
	}
}

func TestBenchBadFlags(t *testing.T) {
	unraced(t)
	t.Parallel()
	for _, test := range []struct{ args, text string }{
		{"throughput --url http://localhost:1", "must begin with tcp://, tls://, ws://, wss:// or unix://"},
		{"throughput --url tcp://localhost", "must name host and port"},
		{"throughput --url unix://relative", "must be unix:// and the absolute path"},
		{"handshakes --url ws://localhost:1", "must begin with tls:// or wss://"},
		{"handshakes --url tls://localhost:1 --parallel 0", "--parallel 0"},
		{"listeners --rounds 0", "--rounds 0"},
		{"listeners --only nothing", "no row has that"},
		{"throughput --publishers=-1", "--publishers -1: must be at least 1"},
		{"throughput --publishers 4 --subscribers 6 --groups 4", "--groups 4: must divide"},
		{"throughput --window 3 --per-write 4", "--window 3: must be from --per-write (4)"},
		{"throughput --qos 3", "--qos must be one of"},
		{"throughput --duration 0s", "--duration 0s: must be positive"},
		{"throughput --protocol 4", "--protocol must be one of"},
		{"throughput --pid 999999999", "/proc/999999999/stat"},
		{"throughput --pid-file /nonexistent", "/nonexistent"},
		{"fan-in --payload 2", "--payload 2: must be at least 4"},
		{"latency --payload 4", "--payload 4: must be at least 12"},
		{"latency --rate 0", "--rate 0"},
		{"quiet --rate 0", "--rate 0"},
		{"connect --parallel 0", "--parallel 0"},
		{"idle --hold 0s", "--hold 0s"},
		{"filters --filters 15", "multiple of ten"},
		{"retained --qos 0", "--qos must be one of"},
		{"retained --messages 17", "multiple of --per-write"},
		{"durable --kill-command true", "belong together"},
		{"peers --rounds 0", "--rounds 0"},
		{"peers --peer x=y", "with {port}"},
		{"peers --only nothing", "no row has that"},
	} {
		r := run(t, nil, append([]string{"bench"}, strings.Fields(test.args)...)...)
		if r.code != exitUsage || !strings.Contains(r.stderr, test.text) {
			t.Errorf("%s: exit code %d, %q", test.args, r.code, r.stderr)
		}
	}
}

// A thief stands between clients and a broker and takes away one in so many of
// the PUBLISH packets to clients; 0: it cuts the connection at the first.
type thief struct {
	net.Listener
	t      *testing.T
	broker string
	oneIn  int64
	seen   atomic.Int64
}

func steal(t *testing.T, broker string, oneIn int64) *thief {
	p := &thief{t: t, broker: broker, oneIn: oneIn}
	p.Listener = acceptEach(t, p.pass)
	return p
}

func (p *thief) pass(client net.Conn) {
	defer client.Close()
	broker, err := net.Dial("tcp", p.broker)
	if err != nil {
		return
	}
	defer broker.Close()
	go func() {
		_, _ = io.Copy(broker, client)
		_ = broker.Close()
	}()
	var r codec.Reader
	r.Reset(0)
	for {
		n, err := broker.Read(r.Room())
		if err != nil {
			return
		}
		r.Wrote(n)
		for {
			f, err := r.Next()
			if err != nil {
				break
			}
			if f.Type() == codec.TypePublish {
				if p.oneIn == 0 {
					return
				}
				if p.seen.Add(1)%p.oneIn == 0 {
					continue
				}
			}
			length := len(f.Body) // two bytes of Remaining Length suffice here
			header := []byte{f.First, byte(length)}
			if length > 127 {
				header = []byte{f.First, byte(length) | 0x80, byte(length >> 7)}
			}
			if _, err := client.Write(append(header, f.Body...)); err != nil {
				return
			}
		}
	}
}

// A broker that drops messages fails, and shows no speed.
func TestBenchLossyBroker(t *testing.T) {
	s := start(t, "")
	for _, test := range []struct {
		name, text string
		oneIn      int64
		args       []string
	}{
		{"half", "were not delivered", 2, append([]string{"throughput"}, short...)},
		{"few", "were not delivered", 100, append([]string{"throughput"}, short...)},
		{"latency", "were not delivered", 100, append([]string{"latency", "--rate", "2000"}, short...)},
		{"retained", "retained messages did not come", 100, []string{"retained", "--messages", "320"}},
		{"durable", "acknowledged messages were lost", 100, []string{"durable", "--messages", "1600"}},
		{"cut", "closed a connection", 0, append([]string{"throughput"}, short...)},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			lossy := steal(t, s.mqtt, test.oneIn)
			code, res, stderr := longEnough(t, append(test.args, "--url", "tcp://"+lossy.Addr().String(), "--timeout", "5s"),
				func(bench.Result) bool { return lossy.seen.Load() < test.oneIn }) // nothing was stolen
			if code != exitFailure || !strings.Contains(res.Failure, test.text) {
				t.Errorf("exit code %d, failure %q, %s", code, res.Failure, stderr)
			}
			for _, f := range res.Figures {
				if strings.Contains(f.Name, "per_s") || strings.Contains(f.Name, "latency") {
					t.Errorf("%s is shown as %v", f.Name, f.Value)
				}
			}
		})
	}
}

// A broker that is not there or refuses gives an error in bounded time.
func TestBenchNoBroker(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	full := start(t, "mqtt: {max-connections: 3}")
	narrow := start(t, "mqtt: {receive-maximum: 4}")
	for _, test := range []struct {
		args []string
		text string
	}{
		{[]string{"throughput", "--url", "tcp://127.0.0.1:1"}, "connection refused"},
		{[]string{"throughput", "--url", "ws://127.0.0.1:1/mqtt"}, "connection refused"},
		{[]string{"throughput", "--url", "tcp://" + silent.Addr().String(), "--timeout", "2s"}, "no answer to CONNECT"},
		{[]string{"fan-out", "--url", "tcp://" + full.mqtt}, "subscriber 4"},
		{[]string{"throughput", "--url", "tcp://" + narrow.mqtt, "--qos", "1"}, "Receive Maximum of 4"},
	} {
		code, _, stderr := benchRun(t, test.args...)
		if code != exitFailure || !strings.Contains(stderr, test.text) {
			t.Errorf("%v: exit code %d, %q", test.args, code, stderr)
		}
	}
}

// freeAddr returns an address of loopback at which nobody listens. Its port is none
// of those that a system gives to connections and to who asks for any port, so that
// it is still free when a broker is started there, and started again.
func freeAddr(t *testing.T) string {
	t.Helper()
	for {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000)))
		if err == nil {
			_ = l.Close()
			return l.Addr().String()
		}
	}
}

// What a broker acknowledged is there after kill -9: counted by the runner.
func TestBenchDurableKill(t *testing.T) {
	dir := t.TempDir()
	pidFile := filepath.Join(dir, "pid")
	addr := freeAddr(t)
	command := fmt.Sprintf(`%s server --server-bind %s --server-ws-bind '' --metrics-enabled=false --data-dir %s/data >/dev/null 2>&1 & echo $! >%s`,
		binary, addr, dir, pidFile)
	if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() {
		if b, err := os.ReadFile(pidFile); err == nil {
			_ = exec.Command("kill", "-9", strings.TrimSpace(string(b))).Run()
		}
	})
	eventually(t, "the broker lets clients in", func() bool {
		nc, err := net.Dial("tcp", addr)
		if err == nil {
			_ = nc.Close()
		}
		return err == nil
	})
	code, res, stderr := benchRun(t, "durable", "--url", "tcp://"+addr, "--timeout", "1m", "--pid-file", pidFile, "--messages", "16000",
		"--kill-command", "kill -9 $(cat "+pidFile+")", "--restart-command", command)
	acknowledged, _ := res.Figures.Get("acknowledged")
	lost, ok := res.Figures.Get("lost")
	if code != 0 || acknowledged < 8000 || !ok || lost != 0 {
		t.Errorf("exit code %d, %+v, %s", code, res, stderr)
	}
}

// comparison runs a command that writes a table, and again for longer while a run of it was too
// short to count.
func comparison(t *testing.T, out string, args ...string) (table string) {
	t.Helper()
	for d := 100 * time.Millisecond; ; d *= 5 {
		if r := run(t, nil, append(args, "--duration", d.String())...); r.code != 0 {
			t.Fatalf("exit code %d: %s", r.code, r.stderr)
		}
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if table = string(text); !strings.Contains(table, tooShort) || d > clientSeconds*time.Second {
			return table
		}
	}
}

// The comparison runs brokers itself, and says what failed.
func TestBenchPeers(t *testing.T) {
	out := filepath.Join(t.TempDir(), "results", "table.md")
	table := comparison(t, out, "bench", "peers", "--rounds", "1", "--only", "1 → 1, QoS 1", "--out", out,
		"--brokers", "PromptMQ", "--brokers", "PromptMQ, durable", "--brokers", "relay", "--brokers", "other", "--brokers", "broken",
		"--peer", "other="+binary+" bench relay --bind 127.0.0.1:{port}", "--peer", "broken=echo no such broker; exit 3 # {port}")
	lines, err := os.ReadFile(strings.TrimSuffix(out, ".md") + ".jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"cores, ", "kernel ", "| PromptMQ | PromptMQ, durable | relay | other | broken |", "CPU per delivered message",
		"| failed |", "broken: 1 of 1 runs failed: broken ended at once: no such broker", "promptmq bench throughput --qos 1", "promptmq server --server-bind 127.0.0.1:{port}"} {
		if !strings.Contains(table, text) {
			t.Errorf("no %q in\n%s", text, table)
		}
	}
	if n := strings.Count(string(lines), "\n"); n != 5 || strings.Count(string(lines), "\"delivered_per_s\"") != 4 {
		t.Errorf("%d single results:\n%s", n, lines)
	}
}
