package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/codec"
)

// A supervisor is what systemd is to a service: it gets what the service tells it, at once, since the
// service is blocked when a few messages wait.
type supervisor struct {
	t    *testing.T
	path string
	told chan []string // more than a test waits for
}

func newSupervisor(t *testing.T) *supervisor {
	t.Helper()
	dir, err := os.MkdirTemp("", "notify-") // a test's own may have too long a name for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	nc, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	s := &supervisor{t, path, make(chan []string, 10_000)}
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := nc.Read(b)
			if err != nil {
				return
			}
			s.told <- strings.Split(string(b[:n]), "\n")
		}
	}()
	return s
}

// environ has a service tell this one, and its watchdog.
func (s *supervisor) environ(watchdog time.Duration) []string {
	return []string{"NOTIFY_SOCKET=" + s.path, fmt.Sprint("WATCHDOG_USEC=", watchdog.Microseconds())}
}

// next returns the assignments of the next message, in a minute.
func (s *supervisor) next() []string {
	s.t.Helper()
	select {
	case m := <-s.told:
		return m
	case <-time.After(time.Minute):
		s.t.Fatal("the broker tells nothing")
		return nil
	}
}

// until returns the messages up to the first that has an assignment beginning with that.
func (s *supervisor) until(prefix string) (all [][]string) {
	s.t.Helper()
	for {
		m := s.next()
		all = append(all, m)
		if assigns(m, prefix) {
			return all
		}
	}
}

func assigns(message []string, prefix string) bool {
	return slices.ContainsFunc(message, func(a string) bool { return strings.HasPrefix(a, prefix) })
}

// What systemd is told from the start to the stop, with a reload that is good and one that is not.
func TestSupervision(t *testing.T) {
	t.Parallel()
	sv := newSupervisor(t)
	s := startBinary(t, binary, sv.environ(30*time.Millisecond), "log:\n  level: info\n")
	before := sv.until("READY=1")
	if first := before[0]; !slices.Equal(first, []string{"STATUS=loading the store"}) {
		t.Errorf("first: %q", first)
	}
	for _, m := range before[:len(before)-1] {
		if assigns(m, "WATCHDOG=1") {
			t.Errorf("before it is ready: %q", m)
		}
	}
	c, _ := connectRaw(t, s.mqtt, codec.Version5, "one", nil) // ready is not told before that works
	sv.until("STATUS=serving; connections: 1")
	c.drop()
	if m := sv.until("WATCHDOG=1"); !assigns(m[len(m)-1], "STATUS=serving") {
		t.Errorf("watchdog: %q", m)
	}

	for yaml, status := range map[string]string{"log:\n  level: debug\n": "STATUS=serving", "log:\n  level: loud\n": "STATUS=the configuration was not taken over"} {
		if err := os.WriteFile(filepath.Join(s.dir, "promptmq.yaml"), []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		m := sv.until("RELOADING=1")
		if last := m[len(m)-1]; !assigns(last, "MONOTONIC_USEC=") {
			t.Errorf("no time in %q", last)
		}
		m = sv.until("READY=1")
		if last := m[len(m)-1]; !assigns(last, status) {
			t.Errorf("after %q: %q", yaml, last)
		}
	}

	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	m := sv.until("STOPPING=1")
	if last := m[len(m)-1]; !assigns(last, "EXTEND_TIMEOUT_USEC=") {
		t.Errorf("stopping: %q", last)
	}
	if code := s.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	nc, err := net.Dial("unixgram", sv.path)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Write([]byte("END=1")); err != nil {
		t.Fatal(err)
	}
	if m := sv.next(); !assigns(m, "END=1") {
		t.Errorf("after STOPPING=1: %q", m)
	}
}

// A broker that hangs has the watchdog end it: it says what is wrong, and not that it works.
// A disk that does not answer is not the broker.
func TestSupervisionHung(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ rule, status, log string }{
		{"gate-kept", "STATUS=does not answer: no commit comes to an end", "the broker does not answer: the watchdog of systemd is not told that it works"},
		{"accept-kept", "STATUS=does not answer: listener \"mqtt\" has accepted nothing for", "the broker does not answer: the watchdog of systemd is not told that it works"},
		{"disk-stalls", "STATUS=serving; connections: 1; the disk has not finished a commit", ""},
	} {
		t.Run(test.rule, func(t *testing.T) {
			t.Parallel()
			sv := newSupervisor(t)
			s := startBinary(t, controlBinary(t), append(sv.environ(600*time.Millisecond), "BREAK_RULES=stalled-soon,"+test.rule), "")
			sv.until("WATCHDOG=1")
			if test.rule == "accept-kept" {
				nc, err := net.Dial("tcp", s.mqtt)
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
			} else {
				storeRetained(t, s, 1)
			}
			sv.until(test.status)
			for range 5 {
				if m := sv.next(); assigns(m, "WATCHDOG=1") != (test.log == "") || !assigns(m, test.status) {
					t.Errorf("then: %q", m)
				}
			}
			if test.log != "" {
				s.waitLog(test.log)
			}
			s.kill()
		})
	}
}

// A start that works is given more time; one that waits for what never comes is not.
func TestSupervisionLongStart(t *testing.T) {
	t.Parallel()
	sv := newSupervisor(t)
	s := startBinary(t, controlBinary(t), nil, "")
	p, _ := connectRaw(t, s.mqtt, codec.Version5, "pub", nil)
	for i := range 20_000 {
		p.publish(codec.Publish{Retain: true, Topic: codec.View(fmt.Sprint("kept/", i)), Payload: codec.View("x")})
	}
	p.publish1(1, "done", "x")
	s.stop()
	s.env = sv.environ(12 * time.Millisecond)
	s.restart()
	if !slices.ContainsFunc(sv.until("READY=1"), func(m []string) bool { return assigns(m, "EXTEND_TIMEOUT_USEC=60000000") }) {
		t.Error("a start that works was not given more time")
	}
	s.stop()

	hung := newSupervisor(t)
	cmd := exec.Command(s.binary, "server", "--data-dir", s.dataDir(), "--server-bind", "127.0.0.1:0", "--server-ws-bind=", "--metrics-enabled=false")
	cmd.Env = environ(append(hung.environ(600*time.Millisecond), "BREAK_RULES=load-stalls")...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	hung.until("STATUS=waiting for the disk")
	for range 3 {
		if m := hung.next(); assigns(m, "EXTEND_TIMEOUT_USEC") {
			t.Errorf("a start that waits was given more time: %q", m)
		}
	}
}

// Over a handover systemd is told that the unit works, be the time of its watchdog as short as it may,
// and which process it is then; never that the unit stops.
func TestSupervisionHandover(t *testing.T) {
	t.Parallel()
	sv := newSupervisor(t)
	s := startBinary(t, binary, sv.environ(600*time.Millisecond), "")
	sv.until("READY=1")
	ask := func(method string, in any) *inspect.Upgrade {
		t.Helper()
		a, err := dial(t.Context(), s.dataDir())
		if err != nil {
			t.Fatal(err)
		}
		u, err := admin.Call[inspect.Upgrade](t.Context(), a.Client, method, "/upgrade", in)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	ask(http.MethodPost, &upgradeRequest{Binary: script(t, preparedOnly+"exec sleep 1000"), WithinSeconds: 2})
	all := sv.until("STATUS=loading the store") // as the old process takes its work back
	if !slices.ContainsFunc(all, func(m []string) bool { return slices.Equal(m, []string{"WATCHDOG=1"}) }) {
		t.Errorf("the watchdog heard nothing while the new process was waited for: %q", all)
	}
	all = append(all, sv.until("READY=1")...)
	ask(http.MethodPost, &upgradeRequest{Binary: binary})
	all = append(all, sv.until("MAINPID=")...)
	var u *inspect.Upgrade
	eventually(t, "the new process knows what came of it", func() bool {
		u = ask(http.MethodGet, nil)
		return u.State == inspect.UpgradeDone
	})
	if last := all[len(all)-1]; !slices.Equal(last, []string{fmt.Sprint("MAINPID=", u.PID)}) {
		t.Errorf("%q, and the new process is %+v", last, u)
	}
	if slices.ContainsFunc(all, func(m []string) bool { return assigns(m, "STOPPING=1") }) {
		t.Errorf("a handover was told as a stop: %q", all)
	}
	if err := syscall.Kill(u.PID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	sv.until("STOPPING=1")
	if code := s.wait(); code != 0 {
		t.Errorf("exit code %d of the old process", code)
	}
	if len(s.linesOf("the broker does not answer: the watchdog of systemd is not told that it works")) > 0 {
		t.Error("a broker that hands over was said not to answer")
	}
}
