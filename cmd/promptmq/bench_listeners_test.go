package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/bench"
)

// TestBenchHandshakes: TLS handshakes are measured, full ones and resumed ones, and a Unix
// socket like any other.
func TestBenchHandshakes(t *testing.T) {
	dir := t.TempDir()
	if r := run(t, nil, "cert", "self-signed", "--out", dir, "--host", "127.0.0.1"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	cert, socket := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "socket")
	s := start(t, fmt.Sprintf("server: {listeners: [{kind: tls, address: '127.0.0.1:0', cert-file: %[1]q, key-file: %[2]q}, "+
		"{kind: wss, address: '127.0.0.1:0', cert-file: %[1]q, key-file: %[2]q}, {kind: unix, address: %[3]q}]}", cert, filepath.Join(dir, "key.pem"), socket))
	for _, args := range [][]string{
		{"handshakes", "--url", "tls://" + s.listening("tls"), "--connections", "100"},
		{"handshakes", "--url", "tls://" + s.listening("tls"), "--connections", "100", "--resumed"},
		{"handshakes", "--url", "wss://" + s.listening("wss") + "/mqtt", "--connections", "100", "--resumed"},
	} {
		code, res, stderr := benchRun(t, append(args, "--ca-file", cert, "--pid", strconv.Itoa(s.cmd.Process.Pid), "--timeout", "1m")...)
		if code != 0 || res.Failure != "" {
			t.Errorf("%v: exit code %d, failure %q, %s", args, code, res.Failure, stderr)
		}
		for _, name := range []string{"handshakes_per_s", "handshake_p50_us", "runner_cpu_us_per_handshake"} {
			if v, _ := res.Figures.Get(name); v <= 0 {
				t.Errorf("%v: %s is %v in %v", args, name, v, res.Figures)
			}
		}
	}
	code, res, stderr := longEnough(t, append([]string{"throughput", "--url", "unix://" + socket, "--eager", "--qos", "1"}, short...),
		func(res bench.Result) bool { return res.Failure == tooShort })
	if v, _ := res.Figures.Get("delivered"); code != 0 || v <= 0 {
		t.Errorf("exit code %d, %+v, %s", code, res, stderr)
	}
}

// TestBenchListeners: one command starts a broker with each kind of listener and puts them side by
// side.
func TestBenchListeners(t *testing.T) {
	out := filepath.Join(t.TempDir(), "table.md")
	table := comparison(t, out, "bench", "listeners", "--rounds", "1", "--only", "1 → 1, QoS 1", "--note", "Nobody looks.", "--out", out)
	for _, text := range []string{"# Listeners compared on", "Nobody looks.", "ratio to tcp", "| row | figure | tcp | unix | ws | tls | wss |", "CPU per delivered message",
		"before: promptmq cert self-signed", "promptmq bench throughput --eager --qos 1"} {
		if !strings.Contains(table, text) {
			t.Errorf("no %q in\n%s", text, table)
		}
	}
	if strings.Contains(table, "failed") {
		t.Errorf("%s", table)
	}
}
