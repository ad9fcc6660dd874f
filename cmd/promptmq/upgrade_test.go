//go:build unix

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/codec"
)

// upgrade has the server hand over, and returns what the command says.
func (s *server) upgrade(args ...string) (inspect.Upgrade, result) {
	s.t.Helper()
	r := run(s.t, nil, append([]string{"upgrade", "--data-dir", s.dataDir(), "--json"}, args...)...)
	var u inspect.Upgrade
	if r.code == 0 {
		if err := json.Unmarshal([]byte(r.stdout), &u); err != nil {
			s.t.Fatalf("%v in %s", err, r.stdout)
		}
	}
	return u, r
}

// stopSuccessor ends the process that took the place of the server's, and waits for both.
func (s *server) stopSuccessor(pid int) {
	s.t.Helper()
	if pid == s.cmd.Process.Pid {
		s.stop()
		return
	}
	if n := s.metric("promptmq_panics_total"); n != 0 {
		s.t.Errorf("%v panics were recovered", n)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	if code := s.wait(); code != 0 { // both have its standard error
		s.t.Errorf("exit code %d of the old process", code)
	}
}

// TestUpgrade hands over again and again while durable clients publish and subscribe: no connect
// is refused, nothing that was acknowledged is lost, comes twice or out of order, and each
// session is there at once.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, fmt.Sprintf("server: {listeners: [{kind: unix, address: %q, name: local}]}\nadmin: {bind: '127.0.0.1:0'}\n", filepath.Join(dir, "mqtt.sock")))
	w := newKillWorld(t, s.mqtt, clientSeconds*time.Second)
	pid := s.cmd.Process.Pid
	defer func() { s.stopSuccessor(pid) }()
	for range 3 {
		w.progressed()
		u, r := s.upgrade()
		if r.code != 0 || u.State != inspect.UpgradeDone || u.PID == pid {
			t.Fatalf("%+v %+v", u, r)
		}
		pid = u.PID
		for _, address := range []string{s.ws, s.metrics} {
			nc, err := net.Dial("tcp", address)
			if err != nil {
				t.Error(err)
				continue
			}
			_ = nc.Close()
		}
		nc, err := net.Dial("unix", filepath.Join(dir, "mqtt.sock"))
		if err != nil {
			t.Fatal(err)
		}
		_ = nc.Close()
	}
	w.progressed()
	w.finish()
	for _, problem := range w.problems {
		t.Error(problem)
	}
	if n := w.refused.Load(); n > 0 {
		t.Errorf("%d connects were refused", n)
	}
	t.Logf("%d messages acknowledged, %d deliveries", w.acked.Load(), w.delivered.Load())
}

// TestUpgradeControl: a stop and a start on the same port refuses some.
func TestUpgradeControl(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	_ = ln.Close()
	s := start(t, "", "--server-bind", address)
	w := newKillWorld(t, address, clientSeconds*time.Second)
	w.progressed()
	s.stop()
	eventually(t, "a connect is refused", func() bool { return w.refused.Load() > 0 })
	s.restart()
	w.progressed()
	w.finish()
}

// script writes a program for a shell.
func script(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return name
}

// preparedOnly begins a program that is asked to take the place of a broker, and does not.
const preparedOnly = "read sockets <&3; echo '{\"said\":\"prepared\",\"version\":\"v9\"}' >&4; read stopping <&3; read closed <&3\n"

// TestUpgradeFails: whatever becomes of the new process, the old one carries on, with the
// sessions, and says why.
func TestUpgradeFails(t *testing.T) {
	t.Parallel()
	durable := func(p *codec.Connect) { p.CleanStart, p.HasSessionExpiry, p.SessionExpirySeconds = false, true, 1000 }
	s := start(t, "")
	c, _ := connectRaw(t, s.mqtt, codec.Version5, "durable", durable)
	for _, test := range []struct {
		name, program string
		within        string
		undisturbed   bool // it is noticed before the old process lets go of anything
		says          string
	}{
		{"ends at once", "exit 3", "1m", true, "exit status 3"},
		{"ends when it is asked to go on", preparedOnly + "exit 4", "1m", false, "exit status 4"},
		{"dies then", preparedOnly + "kill -9 $$", "1m", false, "killed"},
		{"hangs then", preparedOnly + "exec sleep 1000", "1s", false, "not ready within 1s"},
		{"gives up", preparedOnly + `echo '{"said":"failed","error":"no luck"}' >&4`, "1m", false, "no luck"},
		{"is another program", "exec 3<&- 4>&- ; exec sleep 0", "1m", true, "exit status 0"},
	} {
		_, r := s.upgrade("--unchecked", "--within", test.within, script(t, test.program))
		if r.code == 0 || !strings.Contains(r.stderr, test.says) {
			t.Errorf("%s: %+v", test.name, r)
		}
		if !test.undisturbed {
			c.closed(0)
			var ack codec.Connack
			c, ack = connectRaw(t, s.mqtt, codec.Version5, "durable", durable)
			if !ack.SessionPresent {
				t.Errorf("%s: the session is gone", test.name)
			}
		}
		c.quiet()
	}
	if _, r := s.upgrade("/nowhere/promptmq"); r.code != exitUsage || !strings.Contains(r.stderr, "/nowhere/promptmq") {
		t.Errorf("a program that is not there: %+v", r)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "promptmq.yaml"), []byte("server: {read-timeout: never}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.expects("server.read-timeout")
	if _, r := s.upgrade(); r.code == 0 || !strings.Contains(r.stderr, "server.read-timeout") {
		t.Errorf("a configuration that is broken: %+v", r)
	}
	c.quiet()
}

// TestUpgradeStopped: who is told to end while a new process is waited for ends well, and the new
// one with it.
func TestUpgradeStopped(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	asked := filepath.Join(t.TempDir(), "asked")
	a, err := dial(t.Context(), s.dataDir())
	if err != nil {
		t.Fatal(err)
	}
	program := script(t, preparedOnly+fmt.Sprintf("echo $$ >%[1]q.new; mv %[1]q.new %[1]q; exec sleep 1000", asked))
	if _, err := admin.Call[inspect.Upgrade](t.Context(), a.Client, http.MethodPost, "/upgrade", &upgradeRequest{Binary: program}); err != nil {
		t.Fatal(err)
	}
	var text []byte
	eventually(t, "the new process is asked to go on", func() bool {
		text, err = os.ReadFile(asked)
		return err == nil
	})
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := s.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the new process is left over: %v", err)
	}
}

// TestUpgradeElsewhere: a new process with other data is none that goes on with the sessions.
func TestUpgradeElsewhere(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	c, _ := connectRaw(t, s.mqtt, codec.Version5, "c", nil)
	elsewhere := script(t, fmt.Sprintf("exec %q \"$@\" --data-dir %q\n", binary, t.TempDir()))
	s.expects("storage.data-dir")
	if _, r := s.upgrade("--unchecked", elsewhere); r.code == 0 || !strings.Contains(r.stderr, s.dataDir()) {
		t.Errorf("%+v", r)
	}
	c.quiet()
}

// passedSocket is one that the test listens on, as systemd does.
func passedSocket(t *testing.T) (*net.TCPListener, *os.File) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return ln.(*net.TCPListener), f
}

// asSystemd is a program that starts the binary with LISTEN_PID, as systemd does.
func asSystemd(t *testing.T) string {
	return script(t, fmt.Sprintf("LISTEN_PID=$$ exec %q \"$@\"\n", binary))
}

// TestPassedSockets: with sockets of systemd no connect is refused over a stop and a start, and
// after an upgrade they are those of the new process.
func TestPassedSockets(t *testing.T) {
	t.Parallel()
	mqtt, mqttFile := passedSocket(t)
	_, metricsFile := passedSocket(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "promptmq.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, binary: asSystemd(t), dir: dir, files: []*os.File{mqttFile, metricsFile}, env: []string{"LISTEN_FDS=2", "LISTEN_FDNAMES=mqtt:metrics"}}
	s.begin()
	if s.mqtt != mqtt.Addr().String() {
		t.Fatalf("it listens on %s, not on %v", s.mqtt, mqtt.Addr())
	}
	w := newKillWorld(t, s.mqtt, clientSeconds*time.Second)
	for range 2 {
		w.progressed()
		s.stop()
		s.restart()
	}
	w.progressed()
	u, r := s.upgrade()
	if r.code != 0 {
		t.Fatalf("%+v", r)
	}
	w.progressed()
	w.finish()
	s.stopSuccessor(u.PID)
	for _, problem := range w.problems {
		t.Error(problem)
	}
	if n := w.refused.Load(); n > 0 {
		t.Errorf("%d connects were refused", n)
	}
}

// TestPassedSocketsMisfit: what systemd passes and what the configuration says have to agree.
func TestPassedSocketsMisfit(t *testing.T) {
	unraced(t)
	t.Parallel()
	ln, f := passedSocket(t)
	for _, test := range []struct {
		names string
		says  []string
	}{
		{"mqtt", []string{"server.bind", "127.0.0.1:1", ln.Addr().String(), `"mqtt"`}},
		{"other", []string{`"other"`, ln.Addr().String(), `"mqtt" (server.bind 127.0.0.1:1)`}},
		{"", []string{`"unknown"`, ln.Addr().String()}},
	} {
		cmd := exec.CommandContext(t.Context(), asSystemd(t), "server", "--data-dir", t.TempDir(), "--server-bind", "127.0.0.1:1", "--server-ws-bind", "", "--metrics-bind", "127.0.0.1:0")
		cmd.Env, cmd.ExtraFiles = environ("LISTEN_FDS=1", "LISTEN_FDNAMES="+test.names), []*os.File{f}
		out, err := cmd.CombinedOutput()
		if err == nil || cmd.ProcessState.ExitCode() != exitFailure {
			t.Errorf("%q: %v", test.names, err)
		}
		for _, text := range test.says {
			if !strings.Contains(string(out), text) {
				t.Errorf("%q: no %q in %s", test.names, text, out)
			}
		}
	}
}

// TestUpgradeCheck: what a new program would change is said, and nothing of the data is touched.
func TestUpgradeCheck(t *testing.T) {
	unraced(t)
	t.Parallel()
	s := start(t, "")
	v5Of(t, s, "c", lasting)
	file := filepath.Join(s.dir, "promptmq.yaml")
	check := func(program string) (upgradeReport, result) {
		r := run(t, nil, "upgrade", "--config", file, "--data-dir", s.dataDir(), "--check", "--json", program)
		var report upgradeReport
		if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
			t.Fatalf("%v: %+v", err, r)
		}
		if left, err := filepath.Glob(filepath.Join(s.dataDir(), "upgrade-check-*")); err != nil || len(left) > 0 {
			t.Errorf("left over: %v %v", left, err)
		}
		return report, r
	}
	report, r := check(binary)
	if m := report.Migration; r.code != 0 || !report.WayBack || m.SchemaBefore != m.SchemaAfter || m.Sessions != 1 {
		t.Errorf("%+v %+v", report, r)
	}
	but := func(text string) string { return script(t, text+fmt.Sprintf("\nexec %q \"$@\"\n", binary)) }
	if report, r = check(but(`[ "$1 $2" = "upgrade --migrate" ] && exec echo '{"schema_after": 99}'`)); r.code != exitAttention || report.WayBack {
		t.Errorf("a new schema: %+v %+v", report, r)
	}
	if report, r = check(but(`[ "$2" = explain ] && exec echo '[{"key": "log.level", "default": "debug"}, {"key": "new.key"}]'`)); r.code != exitAttention ||
		len(report.Defaults) != 1 || report.Defaults[0].Key != "log.level" || len(report.SettingsNew) != 1 || len(report.SettingsGone) < 50 {
		t.Errorf("other settings: %+v %+v", report, r)
	}
	if report, r = check(but(`[ "$2" = --migrate ] && { echo no luck >&2; exit 1; }`)); r.code != exitFailure || !strings.Contains(r.stderr, "no luck") {
		t.Errorf("a migration that fails: %+v %+v", report, r)
	}
	if _, r = check("/bin/true"); r.code != exitFailure || !strings.Contains(r.stderr, "no promptmq") {
		t.Errorf("another program: %+v", r)
	}
	if r := run(t, nil, "upgrade", "--data-dir", s.dataDir(), "--check", file); r.code != exitUsage || !strings.Contains(r.stderr, file+" is no program") {
		t.Errorf("a file that is no program: %+v", r)
	}
	if report.Database != filepath.Join(s.dataDir(), "promptmq.db") {
		t.Errorf("the database that was looked at is %s", report.Database)
	}
	if err := os.WriteFile(file, []byte("server: {no-key: 1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, r = check(binary); r.code != exitFailure || !strings.Contains(r.stderr, "server.no-key") {
		t.Errorf("a configuration that is broken: %+v", r)
	}
}
