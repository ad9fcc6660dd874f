package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/config"
)

// worksOn checks that the broker does its work for others: a durable message is
// acknowledged, and metrics are answered. It returns how many lines of the log
// were dropped.
func worksOn(t *testing.T, s *server, id string) (dropped float64) {
	t.Helper()
	sub, _ := connectRaw(t, s.mqtt, codec.Version5, id, lasting)
	sub.subscribeOne("stored/"+id, 1)
	sub.drop()
	pub, _ := connectRaw(t, s.mqtt, codec.Version5, id+"-pub", nil)
	if r := pub.publish1(1, "stored/"+id, "x"); r != codec.Success {
		t.Errorf("a durable message: %v", r)
	}
	pub.drop()
	return s.metric("promptmq_log_lines_dropped_total")
}

// The reader of the log goes away: the broker stays, counts, and ends well.
func TestLogReaderGone(t *testing.T) {
	t.Parallel()
	s := start(t, "log: {level: debug}")
	if err := s.stderr.Close(); err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		if worksOn(t, s, fmt.Sprint("c", i)) > 0 {
			break
		}
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := s.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// The reader of the log stops: nobody else does, what it does not take is counted,
// and a line says so when it goes on.
func TestLogReaderStops(t *testing.T) {
	t.Parallel()
	s := start(t, "log: {level: debug}")
	s.reading.Lock()
	dropped := 0.0
	for i := 0; dropped == 0; i++ {
		for j := range 100 {
			p, _ := connectRaw(t, s.mqtt, codec.Version5, fmt.Sprint(strings.Repeat("x", 40), j), nil)
			p.drop()
		}
		dropped = worksOn(t, s, fmt.Sprint("c", i))
	}
	again, _ := connectRaw(t, s.mqtt, codec.Version5, "twice", nil)
	_, _ = connectRaw(t, s.mqtt, codec.Version5, "twice", nil) // taken over
	again.closed(codec.SessionTakenOver)
	s.reading.Unlock()
	eventually(t, "the log tells of all that was dropped", func() bool {
		told := 0.0
		for _, r := range s.linesOf("log lines were dropped: the reader of the log did not take them in time") {
			told += r["lines"].(float64)
		}
		return told == s.metric("promptmq_log_lines_dropped_total")
	})
	s.stop()
}

// A reader of the log that takes nothing does not keep the process from ending.
func TestEndWithoutLogReader(t *testing.T) {
	t.Parallel()
	s := start(t, "log: {level: debug}")
	s.reading.Lock()
	for i := 0; worksOn(t, s, fmt.Sprint("c", i)) == 0; i++ {
		for j := range 100 {
			p, _ := connectRaw(t, s.mqtt, codec.Version5, fmt.Sprint(strings.Repeat("x", 40), j), nil)
			p.drop()
		}
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	state, err := s.cmd.Process.Wait()
	s.reading.Unlock()
	if err != nil || state.ExitCode() != 0 {
		t.Errorf("%v, %v", state, err)
	}
	<-s.exited
}

// What the HTTP server for metrics complains of, such as that it cannot accept,
// comes as records, and not as often as it happens.
func TestHTTPComplaints(t *testing.T) {
	var out bytes.Buffer
	cfg := config.Default()
	complaints := newHTTPErrorLog(cfg.Log.Logger(&out, cfg.Log.Severity()), "metrics")
	for i := range 1000 {
		complaints.Printf("http: Accept error: %d", i)
	}
	var r record
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%v: %s", err, out.Bytes())
	}
	if r.text("error") != "http: Accept error: 0" || r.text("level") != "WARN" {
		t.Errorf("%v", r)
	}
}

// SIGHUP is answered with a line of the log and cuts nobody off, also where it was
// ignored at the start, as nohup has it.
func TestHangup(t *testing.T) {
	for _, ignored := range []bool{false, true} {
		if ignored {
			signal.Ignore(syscall.SIGHUP)
			defer signal.Reset(syscall.SIGHUP)
		}
		s := start(t, "")
		p, _ := connectRaw(t, s.mqtt, codec.Version5, "stays", nil)
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		s.waitLog("reloaded")
		p.quiet()
	}
}

// A command whose output cannot be written says so.
func TestOutputFails(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	file := t.TempDir() + "/promptmq.yaml"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"config", "print"}, {"config", "check", file}, {"version"}} {
		r := runTo(t, full, nil, args...)
		if r.code != exitFailure || !strings.Contains(r.stderr, "no space left") {
			t.Errorf("%q: exit code %d, %q", args, r.code, r.stderr)
		}
	}
}

// A level has what is as severe, and what is more so: of a broker that cannot listen there is the
// start, and the end.
func TestLogLevel(t *testing.T) {
	t.Parallel()
	shows(t, "log.level")
	for level, want := range map[string][2]bool{"trace": {true, true}, "info": {true, true}, "warn": {false, true}, "error": {false, true}, "fatal": {false, true}, "panic": {false, true}} {
		r := run(t, nil, "server", "--log-level", level, "--data-dir", t.TempDir(), "--server-bind", "192.0.2.1:0", "--server-ws-bind", "", "--metrics-enabled=false")
		got := [2]bool{strings.Contains(r.stderr, `"level":"INFO","msg":"starting"`), strings.Contains(r.stderr, `"level":"FATAL"`)}
		if got != want || r.code != exitFailure {
			t.Errorf("%s: exit code %d\n%s", level, r.code, r.stderr)
		}
	}
}
