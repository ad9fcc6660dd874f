package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestMetricsOverHTTP(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	for _, name := range []string{
		"promptmq_connections_current", "promptmq_connections_total", `promptmq_messages_published_total{qos="0"}`,
		`promptmq_messages_received_total{qos="2"}`, "promptmq_messages_retained_total", "promptmq_message_processing_duration_count",
		"promptmq_storage_operations_total", "promptmq_sessions", "promptmq_sessions_connected", "promptmq_subscriptions",
		"promptmq_retained_messages", "promptmq_retained_bytes", "promptmq_queued_messages", "promptmq_sessions_queue_full", "promptmq_store_commits_total",
	} {
		if n := s.metric(name); n != 0 {
			t.Errorf("%s = %v on a new broker", name, n)
		}
	}
	for _, name := range []string{"promptmq_storage_size_bytes", "promptmq_system_memory_usage", "promptmq_system_goroutines"} {
		if n := s.metric(name); n <= 0 {
			t.Errorf("%s = %v", name, n)
		}
	}
	if code, body := s.get("/health"); code != 200 || !strings.Contains(body, `"ok"`) {
		t.Errorf("/health: %d %s", code, body)
	}
	if code, body := s.get("/ready"); code != 200 {
		t.Errorf("/ready: %d %s", code, body)
	}
	if code, _ := s.get("/else"); code != 404 {
		t.Errorf("/else: %d", code)
	}
}

func TestMetricsPath(t *testing.T) {
	t.Parallel()
	shows(t, "metrics.path")
	s := start(t, "metrics:\n  path: /prom\n")
	code, body := s.get("/prom")
	if code != 200 || !strings.Contains(body, "promptmq_build_info{") {
		t.Errorf("/prom: %d", code)
	}
	if code, _ := s.get("/metrics"); code != 404 {
		t.Errorf("/metrics: %d", code)
	}
	s.metrics = "" // stop cannot ask at the usual path
}

func TestListenersOff(t *testing.T) {
	t.Parallel()
	shows(t, "metrics.enabled")
	s := start(t, "", "--metrics-enabled=false", "--server-ws-bind=")
	if s.mqtt == "" || s.ws != "" || s.metrics != "" {
		t.Errorf("mqtt %q, ws %q, metrics %q", s.mqtt, s.ws, s.metrics)
	}
	s = start(t, "", "--server-bind=")
	if s.mqtt != "" || s.ws == "" {
		t.Errorf("mqtt %q, ws %q", s.mqtt, s.ws)
	}
}

func TestSignalsStop(t *testing.T) {
	t.Parallel()
	for _, signal := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		s := start(t, "")
		s.stopWith(signal)
		log := s.log()
		if last := log[len(log)-1].text("msg"); last != "stopped" {
			t.Errorf("%v: the last record is %q", signal, last)
		}
		if conn, err := net.Dial("tcp", s.mqtt); err == nil {
			conn.Close()
			t.Errorf("%v: %s still listens", signal, s.mqtt)
		}
		s.restart()
	}
}

func TestKillAndRestart(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	for range 3 {
		s.kill()
		s.restart()
	}
}

// The start log has a line for each listener that says who is let in, and what they may do.
func TestStartLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if r := run(t, nil, "cert", "self-signed", "--out", dir, "--host", "localhost"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	files := fmt.Sprintf("cert-file: %q, key-file: %q", filepath.Join(dir, certFile), filepath.Join(dir, keyFile))
	yaml := "server:\n  listeners:\n" +
		"  - {kind: tls, name: devices, address: '127.0.0.1:0', " + files + ", client-cert: required, user-from: cn, client-ca-file: " + filepath.Join(dir, certFile) + "}\n" +
		"  - {kind: wss, name: web, address: '127.0.0.1:0', " + files + ", min-tls-version: 1.3, anonymous: no}\n" +
		"  - {kind: tcp, name: open, address: '127.0.0.1:0', anonymous: yes}\n"
	s := start(t, yaml)
	const everything = "everything: there are no rules"
	for listener, want := range map[string]map[string]string{
		"mqtt": {"level": "INFO", "kind": "tcp", "without_credentials": "this machine", "identities": "none", "may": everything,
			"proxies": "none: a reverse proxy, tunnel or port forwarder on this machine makes all its clients local, unless it says in the request that it is one"},
		"websocket": {"level": "INFO", "kind": "ws", "without_credentials": "this machine"},
		"devices":   {"level": "INFO", "kind": "tls", "identities": "client certificates", "tls": "TLS 1.2 and later, client certificates required, user name from cn"},
		"web":       {"level": "INFO", "kind": "wss", "without_credentials": "nobody", "proxies": "none", "tls": "TLS 1.3 and later"},
		"open":      {"level": "WARN", "without_credentials": "everybody", "proxies": "none", "may": everything},
	} {
		i := slices.IndexFunc(s.linesOf("listening"), func(r record) bool { return r.text("listener") == listener })
		if i < 0 {
			t.Errorf("no line about %s", listener)
			continue
		}
		for attr, text := range want {
			if got := s.linesOf("listening")[i].text(attr); got != text {
				t.Errorf("%s: %s is %q, want %q", listener, attr, got, text)
			}
		}
	}
	for _, r := range start(t, "auth:\n  allow-anonymous: true\n").linesOf("listening") {
		if r.text("listener") != "metrics" && (r.text("without_credentials") != "everybody" || r.text("level") != "WARN") {
			t.Errorf("with allow-anonymous: %v", r)
		}
	}
}

// Each PRAGMA has the value that was asked for when read back.
func TestPragmas(t *testing.T) {
	t.Parallel()
	shows(t, "storage.sqlite.cache-size", "storage.sqlite.temp-store", "storage.sqlite.mmap-size", "storage.sqlite.busy-timeout",
		"storage.sqlite.synchronous", "storage.sqlite.journal-mode", "storage.sqlite.foreign-keys")
	tests := []struct{ flag, value, pragma, want string }{
		{"--sqlite-cache-size", "1234", "cache_size", "1234"},
		{"--sqlite-cache-size", "-4096", "cache_size", "-4096"},
		{"--sqlite-temp-store", "DEFAULT", "temp_store", "0"},
		{"--sqlite-temp-store", "FILE", "temp_store", "1"},
		{"--sqlite-temp-store", "MEMORY", "temp_store", "2"},
		{"--sqlite-mmap-size", "0", "mmap_size", "0"},
		{"--sqlite-mmap-size", "8388608", "mmap_size", "8388608"},
		{"--sqlite-busy-timeout", "0", "busy_timeout", "0"},
		{"--sqlite-busy-timeout", "4321", "busy_timeout", "4321"},
		{"--sqlite-synchronous", "OFF", "synchronous", "0"},
		{"--sqlite-synchronous", "NORMAL", "synchronous", "1"},
		{"--sqlite-synchronous", "FULL", "synchronous", "2"},
		{"--sqlite-synchronous", "EXTRA", "synchronous", "3"},
		{"--sqlite-journal-mode", "WAL", "journal_mode", "wal"},
		{"--sqlite-journal-mode", "DELETE", "journal_mode", "delete"},
		{"--sqlite-journal-mode", "TRUNCATE", "journal_mode", "truncate"},
		{"--sqlite-journal-mode", "PERSIST", "journal_mode", "persist"},
		{"--sqlite-journal-mode", "MEMORY", "journal_mode", "memory"},
		{"--sqlite-foreign-keys", "true", "foreign_keys", "1"},
		{"--sqlite-foreign-keys", "false", "foreign_keys", "0"},
	}
	for _, test := range tests {
		t.Run(test.pragma+"="+test.value, func(t *testing.T) {
			t.Parallel()
			s := start(t, "", test.flag+"="+test.value)
			if got := s.waitLog("store opened").text(test.pragma); got != test.want {
				t.Errorf("%s reads back as %q, want %q", test.pragma, got, test.want)
			}
			s.stop()
			s.restart() // the file keeps the mode
		})
	}
}

// The mode of a database can be changed from one start to the next.
func TestJournalModeChanges(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	for _, mode := range []string{"delete", "wal", "truncate"} {
		s.stop()
		s.args = []string{"--sqlite-journal-mode", mode}
		s.restart()
		if got := s.waitLog("store opened").text("journal_mode"); got != mode {
			t.Errorf("%q, want %q", got, mode)
		}
	}
}
