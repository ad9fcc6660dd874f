//go:build unix

package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
)

// TestUpgradeWrapped: a program that starts promptmq and waits for it is ended with it, and the
// old process has the store again.
func TestUpgradeWrapped(t *testing.T) {
	unraced(t)
	t.Parallel()
	s := start(t, "")
	c := v5Of(t, s, "durable", lasting)
	c.drop()
	wrapper := script(t, fmt.Sprintf("BREAK_RULES=load-stalls %q \"$@\"\nexit $?\n", controlBinary(t)))
	if _, r := s.upgrade("--unchecked", "--within", "2s", wrapper); r.code == 0 || !strings.Contains(r.stderr, "not ready within 2s") {
		t.Fatalf("%+v", r)
	}
	if _, ack := connectRaw(t, s.mqtt, 5, "durable", resumed); !ack.SessionPresent {
		t.Error("the session is gone")
	}
}

// TestUpgradeReload: what the new process may have read before it changed is reloaded by who
// carries on: over the API it is refused, and a SIGHUP is kept until then.
func TestUpgradeReload(t *testing.T) {
	unraced(t)
	t.Parallel()
	s := start(t, "")
	a, err := dial(t.Context(), s.dataDir())
	if err != nil {
		t.Fatal(err)
	}
	reloads, kept := 0, 0
	during := func(program string, done string) {
		t.Helper()
		dir := t.TempDir()
		gate := filepath.Join(dir, "gate")
		if err := syscall.Mkfifo(gate, 0o600); err != nil {
			t.Fatal(err)
		}
		asked := make(chan error, 1)
		go func() {
			_, err := admin.Call[inspect.Upgrade](t.Context(), a.Client, http.MethodPost, "/upgrade", &upgradeRequest{Binary: script(t, fmt.Sprintf("read go <%q\n", gate)+program)})
			asked <- err
		}()
		f, err := os.OpenFile(gate, os.O_WRONLY, 0) // waits for the program
		if err != nil {
			t.Fatal(err)
		}
		if r := run(t, nil, "reload", "--data-dir", s.dataDir()); r.code == 0 || !strings.Contains(r.stderr, "an upgrade is under way") {
			t.Errorf("%+v", r)
		}
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		kept++
		eventually(t, "the signal is kept", func() bool {
			return len(s.linesOf("not reloaded now, as an upgrade is under way: whichever process carries on reads the configuration again when that has ended")) == kept
		})
		if n := len(s.linesOf("reloaded")); n != reloads {
			t.Errorf("%d reloads in place of %d", n, reloads)
		}
		if _, err := fmt.Fprintln(f, "go"); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		<-asked
		s.waitLog(done)
		reloads++
		eventually(t, "the configuration is read again", func() bool { return len(s.linesOf("reloaded")) == reloads })
	}
	during("exit 3\n", "not upgraded: this process carries on, and no client has noticed")
	during(preparedOnly+"exit 4\n", "not upgraded: this process takes its work back, and opens the store again")
	eventually(t, "it has its work back", func() bool { return len(s.linesOf("ready")) == 2 })
	if a, err = dial(t.Context(), s.dataDir()); err != nil {
		t.Fatal(err)
	}
	during(fmt.Sprintf("exec %q \"$@\"\n", binary), "handed over: the new process is ready")
	if a, err = dial(t.Context(), s.dataDir()); err != nil {
		t.Fatal(err)
	}
	u, err := admin.Call[inspect.Upgrade](t.Context(), a.Client, http.MethodGet, "/upgrade", nil)
	if err != nil || u.PID == s.cmd.Process.Pid {
		t.Fatalf("%+v, %v", u, err)
	}
	s.stopSuccessor(u.PID)
}

// TestUpgradeUnixKept: a new process that gives up when it has opened a Unix socket leaves its path
// to the old one.
func TestUpgradeUnixKept(t *testing.T) {
	unraced(t)
	t.Parallel()
	path := filepath.Join(t.TempDir(), "mqtt.sock")
	config := fmt.Sprintf("server: {listeners: [{kind: unix, address: %q, name: local}", path)
	s := start(t, config+"]}\n")
	before, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if err := os.WriteFile(filepath.Join(s.dir, "promptmq.yaml"), fmt.Appendf(nil, "%s, {kind: tcp, address: %q, name: more}]}\n", config, taken.Addr()), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, r := s.upgrade("--unchecked"); r.code == 0 || !strings.Contains(r.stderr, "cannot listen") {
		t.Fatalf("%+v", r)
	}
	after, err := os.Lstat(path)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("it is another socket, or none: %v", err)
	}
	nc, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	_ = nc.Close()
}

// TestUpgradeAsked: commands in the middle of a handover do not say that no broker runs.
func TestUpgradeAsked(t *testing.T) {
	unraced(t)
	t.Parallel()
	s := start(t, "")
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for asked := 0; ; asked++ {
			select {
			case <-over:
				if asked == 0 {
					t.Error("nothing was asked")
				}
				return
			default:
			}
			if r := run(t, nil, "sessions", "list", "--data-dir", s.dataDir()); strings.Contains(r.stderr, "no broker runs") {
				t.Error(r.stderr)
			}
		}
	}()
	pid := s.cmd.Process.Pid
	for range 3 {
		u, r := s.upgrade()
		if r.code != 0 {
			t.Errorf("%+v", r)
			break
		}
		pid = u.PID
	}
	close(over)
	<-done
	s.stopSuccessor(pid)
}
