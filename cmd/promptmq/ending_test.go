package main

import (
	"bufio"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// terminate sends SIGTERM and returns the exit code and the last record.
func (s *server) terminate() (code int, last record) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	code = s.wait()
	log := s.log()
	return code, log[len(log)-1]
}

// storeRetained publishes n retained messages with QoS 1 and does not wait for the
// answers.
func storeRetained(t *testing.T, s *server, n int) *raw {
	t.Helper()
	p, _ := connectRaw(t, s.mqtt, codec.Version5, "pub", nil)
	for i := range n {
		p.publish(codec.Publish{QoS: 1, Retain: true, PacketID: uint16(i + 1), Topic: codec.View(fmt.Sprint("kept/", i)), Payload: codec.View("x")})
	}
	return p
}

// A disk that does not answer does not keep the process from ending, and the last
// line says what that costs: nothing that was acknowledged.
func TestEndWithStalledDisk(t *testing.T) {
	t.Parallel()
	s := startBinary(t, controlBinary(t), []string{"BREAK_RULES=disk-stalls"}, "")
	storeRetained(t, s, 7)
	eventually(t, "the disk stalls", func() bool { return s.metric("promptmq_store_commit_waiting_seconds") > 0 })
	eventually(t, "all are taken", func() bool { return s.metric(`promptmq_messages_received_total{qos="1"}`) == 7 })
	code, last := s.terminate()
	if code != exitFailure {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"the disk has not finished a commit for ", " 7 retained messages", " 7 acknowledgements were waiting"} {
		if last.text("level") != "FATAL" || !strings.Contains(last.text("error"), want) {
			t.Errorf("no %q in %v", want, last)
		}
	}
}

// Clients that take nothing do not keep the process from ending, however many
// they are.
func TestEndWithStalledClients(t *testing.T) {
	t.Parallel()
	const clients = 20
	s := start(t, "")
	for i := range clients {
		c, _ := connectRaw(t, s.mqtt, codec.Version5, fmt.Sprint("stalled", i), nil)
		if err := c.Conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
			t.Fatal(err)
		}
		c.subscribeOne("much", 0)
	}
	pub, _ := connectRaw(t, s.mqtt, codec.Version5, "pub", nil)
	body := codec.View(strings.Repeat("x", 64<<10))
	dropped := 0.0
	for dropped < 10*clients { // so each has more waiting than it takes
		for range 10 {
			pub.publish(codec.Publish{Topic: codec.View("much"), Payload: body})
		}
		dropped = s.metric(`promptmq_messages_dropped_total{reason="slow_consumer"}`)
	}
	code, last := s.terminate()
	if code != 0 || last.text("msg") != "stopped" {
		t.Errorf("exit code %d, %v", code, last)
	}
	if n := s.waitLog("clients did not take what was left for them")["connections"]; n != float64(clients) && n != float64(clients+1) { // the publisher may be as late
		t.Errorf("%v clients were not waited for", n)
	}
}

// A part of the broker that never lets go of the gate: /ready says so, the log
// says what everybody does, and the process can still be ended.
func TestGateKept(t *testing.T) {
	t.Parallel()
	s := startBinary(t, controlBinary(t), []string{"BREAK_RULES=gate-kept,stalled-soon"}, "")
	storeRetained(t, s, 1)
	eventually(t, "/ready notices", func() bool {
		code, body := s.get("/ready")
		return code == 503 && strings.Contains(body, "no commit could be made for")
	})
	stuck := s.waitLog("no commit could be made for a long time, and not because of the disk: this is a bug")
	if !strings.Contains(stuck.text("goroutines"), "commitOpen") {
		t.Errorf("%v", stuck)
	}
	code, last := s.terminate()
	if code != exitFailure || last.text("level") != "FATAL" || !strings.Contains(last.text("error"), "did not end in time") {
		t.Errorf("exit code %d, %v", code, last)
	}
}

// A panic where nobody else could go on ends the process.
func TestPanicInCommit(t *testing.T) {
	t.Parallel()
	s := startBinary(t, controlBinary(t), []string{"BREAK_RULES=panic-in-commit"}, "")
	p := storeRetained(t, s, 1)
	if f, err := p.next(); err == nil && f.Type() == codec.TypePuback {
		t.Error("acknowledged")
	}
	code := s.wait()
	log := s.log()
	if last := log[len(log)-1]; code != exitFailure || !strings.Contains(last.text("error"), "panic while committing") {
		t.Errorf("exit code %d, %v", code, last)
	}
}

// A start that takes long does not keep the process from ending either.
func TestEndWhileStarting(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), controlBinary(t), "server", "--data-dir", filepath.Join(t.TempDir(), "data"),
		"--server-bind", "127.0.0.1:0", "--server-ws-bind=", "--metrics-enabled=false")
	cmd.Env = environ("BREAK_RULES=load-stalls")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log := bufio.NewScanner(stderr)
	last := ""
	for log.Scan() {
		if last = log.Text(); strings.Contains(last, "store opened") {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // the exit code is in ProcessState
	if code := cmd.ProcessState.ExitCode(); code != exitFailure || !strings.Contains(last, "the store is being opened and loaded") {
		t.Errorf("exit code %d, %s", code, last)
	}
}
