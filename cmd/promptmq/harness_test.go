package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// This file runs the built binary as users do: real files, real sockets, real
// signals. Tests use run for a command that ends by itself and start for a
// server.

// startSeconds bounds how long a server may take until it says that it is
// ready, stopSeconds until it is gone after SIGTERM. Nothing waits for them but
// what fails, so they are long, for machines that are slow or busy.
const (
	startSeconds = 120
	stopSeconds  = 60
)

// binary is the path of promptmq, built once for all tests, and unracedBinary the same
// without the race detector, if binary has it.
var binary, unracedBinary string

// parallel is how many tests run at a time when nothing else is said: nearly all
// that they do is to wait for processes.
const parallel = 6

func TestMain(m *testing.M) {
	flag.Parse()
	if n := flag.Lookup("test.parallel"); n.Value.String() == n.DefValue {
		if err := n.Value.Set(strconv.Itoa(parallel)); err != nil {
			panic(err)
		}
	}
	os.Exit(buildAndTest(m))
}

func buildAndTest(m *testing.M) int {
	dir, err := os.MkdirTemp("", "promptmq-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	unracedBinary = filepath.Join(dir, "promptmq")
	binary = unracedBinary
	if err := buildTo(unracedBinary); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if raceDetector {
		binary += "-race"
		if err := buildTo(binary, "-race"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	code := m.Run()
	if keys := notShown(code); len(keys) > 0 {
		fmt.Fprintf(os.Stderr, "FAIL: no test that ran has shown the effect of %s: TestEveryKey says which was to\n", strings.Join(keys, ", "))
		return 1
	}
	return code
}

// buildTo builds promptmq. Flags of the compiler in GOFLAGS are for the build with the race
// detector: .ci/run has one that spares SQLite, and would make it be compiled twice.
func buildTo(path string, flags ...string) error {
	cmd := exec.Command("go", append(append([]string{"build", "-o", path}, flags...), ".")...)
	if len(flags) == 0 {
		others := slices.DeleteFunc(strings.Fields(os.Getenv("GOFLAGS")), func(f string) bool { return strings.HasPrefix(f, "-gcflags=") })
		cmd.Env = append(os.Environ(), "GOFLAGS="+strings.Join(others, " "))
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// binaryFor is the one to run with args. The race detector makes the beginning of a process
// six times as long, and finds nothing in a command that asks, prints and ends.
func binaryFor(args []string) string {
	if len(args) > 0 && slices.Contains([]string{"server", "dev", "pub", "sub", "rr", "bench", "top", "trace", "upgrade"}, args[0]) {
		return binary
	}
	return unracedBinary
}

// acceptEach listens on a free port until the test has ended, and has each connection passed on.
func acceptEach(t *testing.T, pass func(net.Conn)) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go pass(client)
		}
	}()
	return l
}

// unraced begins a test of what one process says and writes, with nothing that happens at
// the same time: the race detector has nothing to find in it, and makes it slow. With
// -short it is left out under the detector; CI runs it without.
func unraced(t *testing.T) {
	t.Helper()
	if raceDetector && testing.Short() {
		t.Skip("nothing in it happens at the same time")
	}
}

// environ is this process's environment without settings of a broker, plus
// the given ones.
func environ(settings ...string) []string {
	// With the race detector a process would linger for a second at its end.
	env := []string{"GORACE=atexit_sleep_ms=0"}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PROMPTMQ_") {
			env = append(env, v)
		}
	}
	return append(env, settings...)
}

// result is what a finished command left.
type result struct {
	code           int
	stdout, stderr string
}

// run runs promptmq to its end.
func run(t *testing.T, env []string, args ...string) result {
	t.Helper()
	var stdout bytes.Buffer
	r := runTo(t, &stdout, env, args...)
	r.stdout = stdout.String()
	return r
}

// runTo is run with standard output elsewhere.
func runTo(t *testing.T, stdout io.Writer, env []string, args ...string) result {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binaryFor(args), args...)
	var stderr bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = environ(env...), stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("promptmq %s: %v", strings.Join(args, " "), err)
	}
	return result{code: cmd.ProcessState.ExitCode(), stderr: stderr.String()}
}

// record is one line of the log.
type record map[string]any

func (r record) text(attr string) string {
	s, _ := r[attr].(string)
	return s
}

// server is a running broker.
type server struct {
	t      *testing.T
	binary string
	env    []string
	dir    string // of its configuration and its data
	data   string // if its data are elsewhere
	args   []string
	files  []*os.File // that it inherits, from descriptor 3 on
	cmd    *exec.Cmd

	// mqtt, ws and metrics are the addresses it listens on, empty for a
	// listener that is off.
	mqtt, ws, metrics string

	exited  chan struct{} // closed when the process is gone and its log is read
	stderr  io.ReadCloser // its log
	reading sync.Mutex    // held: the log is not read

	mu      sync.Mutex
	changed *sync.Cond
	lines   []string // of standard error, as they came
	records []record // those that are log records
	other   []string // those that are not, and have not what another process may say there
	others  string   // what that is; "": nothing
	ended   bool
}

// start runs a server on free ports of 127.0.0.1 in a new directory with the
// given YAML as its file and waits until it is ready. Flags in args win over
// the file and over the harness. The server is stopped at the end of the test,
// where it must have recovered no panic and exit with 0.
func start(t *testing.T, yaml string, args ...string) *server {
	t.Helper()
	return startBinary(t, binary, nil, yaml, args...)
}

// startBinary is start for another build of promptmq, with more environment.
func startBinary(t *testing.T, path string, env []string, yaml string, args ...string) *server {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "promptmq.yaml"), []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, binary: path, env: env, dir: dir, args: args}
	t.Cleanup(s.cleanup)
	s.begin()
	return s
}

// dataDir is where the server's database lies.
func (s *server) dataDir() string { return cmp.Or(s.data, filepath.Join(s.dir, "data")) }

// restart runs a server again that was stopped or killed: the same directory,
// new ports.
func (s *server) restart() {
	s.t.Helper()
	if !s.gone() {
		s.t.Fatal("restart of a running server")
	}
	s.begin()
}

func (s *server) begin() {
	s.t.Helper()
	args := append([]string{
		"server", "--config", filepath.Join(s.dir, "promptmq.yaml"), "--data-dir", s.dataDir(),
		"--server-bind", "127.0.0.1:0", "--server-ws-bind", "127.0.0.1:0", "--metrics-bind", "127.0.0.1:0",
	}, s.args...)
	s.cmd = exec.Command(s.binary, args...)
	s.cmd.Env, s.cmd.ExtraFiles = environ(s.env...), s.files
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.stderr = stderr
	s.mqtt, s.ws, s.metrics = "", "", ""
	s.exited = make(chan struct{})
	s.changed = sync.NewCond(&s.mu)
	s.lines, s.records, s.other, s.ended = nil, nil, nil, false
	go s.readLog(stderr)

	s.waitLog("ready")
	for _, r := range s.log() {
		if r.text("msg") != "listening" {
			continue
		}
		switch addr := r.text("addr"); r.text("listener") {
		case "mqtt":
			s.mqtt = addr
		case "websocket":
			s.ws = addr
		case "metrics":
			s.metrics = addr
		}
	}
}

// readLog collects the log until the process closes it, then the process.
func (s *server) readLog(stderr io.Reader) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r record
		s.reading.Lock()
		err := json.Unmarshal(lines.Bytes(), &r)
		s.reading.Unlock()
		s.mu.Lock()
		s.lines = append(s.lines, lines.Text())
		if err == nil {
			s.records = append(s.records, r)
		} else if s.others == "" || !strings.Contains(lines.Text(), s.others) {
			s.other = append(s.other, lines.Text())
		}
		s.changed.Broadcast()
		s.mu.Unlock()
	}
	_ = s.cmd.Wait() // the exit code is in ProcessState
	s.mu.Lock()
	s.ended = true
	s.changed.Broadcast()
	s.mu.Unlock()
	close(s.exited)
}

// expects has lines with a text be no fault: a new process may say it, which is ended when it has
// failed, perhaps before.
func (s *server) expects(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.others = text
}

// log returns the records so far.
func (s *server) log() []record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]record(nil), s.records...)
}

// linesOf returns the records with this message.
func (s *server) linesOf(msg string) (lines []record) {
	for _, r := range s.log() {
		if r.text("msg") == msg {
			lines = append(lines, r)
		}
	}
	return lines
}

// waitLog returns the first record with that message, when it comes.
func (s *server) waitLog(msg string) record {
	s.t.Helper()
	late := false
	timer := time.AfterFunc(startSeconds*time.Second, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		late = true
		s.changed.Broadcast()
	})
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for seen := 0; ; s.changed.Wait() {
		for ; seen < len(s.records); seen++ {
			if s.records[seen].text("msg") == msg {
				return s.records[seen]
			}
		}
		if s.ended || late {
			s.t.Fatalf("no %q in the log; ended: %v", msg, s.ended)
		}
	}
}

func (s *server) gone() bool {
	select {
	case <-s.exited:
		return true
	default:
		return false
	}
}

// stop ends the server with SIGTERM and checks how it ends: no panic counted,
// nothing but records on standard error, exit code 0, in time.
func (s *server) stop() {
	s.t.Helper()
	s.stopWith(syscall.SIGTERM)
}

func (s *server) stopWith(signal os.Signal) {
	s.t.Helper()
	if s.metrics != "" {
		if n := s.metric("promptmq_panics_total"); n != 0 {
			s.t.Errorf("%v panics were recovered", n)
		}
		_, body := s.get("/metrics")
		for _, fault := range lintMetrics(body) {
			s.t.Errorf("/metrics: %s", fault)
		}
	}
	if err := s.cmd.Process.Signal(signal); err != nil {
		s.t.Fatal(err)
	}
	if code := s.wait(); code != 0 {
		s.t.Errorf("exit code %d after %v", code, signal)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.records {
		if slices.Contains([]string{"WARN", "ERROR", "FATAL"}, r.text("level")) && r.text("code") == "" {
			s.t.Errorf("no code in the log line %v", r)
		}
	}
	if len(s.other) > 0 {
		s.t.Errorf("standard error has lines that are no records:\n%s", strings.Join(s.other, "\n"))
	}
}

// kill ends the server as a power cut does for a process: kill -9.
func (s *server) kill() {
	s.t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	s.wait()
}

// wait waits for the end of the process and returns its exit code, -1 after a
// signal that it did not handle.
func (s *server) wait() int {
	s.t.Helper()
	select {
	case <-s.exited:
	case <-time.After(stopSeconds * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.exited
		s.t.Fatalf("still running after %d seconds", stopSeconds)
	}
	return s.cmd.ProcessState.ExitCode()
}

func (s *server) cleanup() {
	if s.exited == nil { // never began
		return
	}
	if !s.gone() {
		s.stop()
	}
	if s.t.Failed() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.t.Logf("standard error of the server:\n%s", strings.Join(s.lines, "\n"))
	}
}

// get asks the metrics listener for a path.
func (s *server) get(path string) (code int, body string) {
	s.t.Helper()
	resp, err := http.Get("http://" + s.metrics + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// metric returns the value of one metric, named with its labels.
func (s *server) metric(name string) float64 {
	s.t.Helper()
	v, found := s.findMetric(name)
	if !found {
		s.t.Fatalf("no metric %s", name)
	}
	return v
}

// counted is metric for a counter that is not there before it counts something.
func (s *server) counted(name string) float64 {
	s.t.Helper()
	v, _ := s.findMetric(name)
	return v
}

func (s *server) findMetric(name string) (v float64, found bool) {
	s.t.Helper()
	_, body := s.get("/metrics")
	for line := range strings.Lines(body) {
		if text, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				s.t.Fatalf("%s: %v", name, err)
			}
			return v, true
		}
	}
	return 0, false
}
