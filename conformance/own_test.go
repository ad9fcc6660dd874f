package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	_ "github.com/x0a1b/promptmq/config" // go test runs again when the broker has changed
)

// This file starts PromptMQ, the real binary with a real configuration file,
// for the tests that need a broker of their own.

// startSeconds bounds how long a PromptMQ may take until it is ready,
// stopSeconds until it is gone.
const (
	startSeconds = 60
	stopSeconds  = 30
)

var build struct {
	once sync.Once
	dir  string
	path string
	err  error
}

// promptmqPath returns the binary to start, built on first use.
func promptmqPath() (string, error) {
	if *promptmqFlag != "" {
		return *promptmqFlag, nil
	}
	build.once.Do(func() {
		if build.dir, build.err = os.MkdirTemp("", "promptmq-conformance-"); build.err != nil {
			return
		}
		build.path = filepath.Join(build.dir, "promptmq")
		args := []string{"build", "-o", build.path}
		if raceDetector {
			args = append(args, "-race")
		}
		if out, err := exec.Command("go", append(args, "../cmd/promptmq")...).CombinedOutput(); err != nil {
			build.err = fmt.Errorf("no promptmq to start; name one with -promptmq (go build: %v: %s)", err, out)
		}
	})
	return build.path, build.err
}

func removeBuild() error {
	if build.dir == "" {
		return nil
	}
	return os.RemoveAll(build.dir)
}

// ownBroker is a PromptMQ of the suite.
type ownBroker struct {
	target *target
	dir    string
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process is gone and its log is read

	mu  sync.Mutex // guards the following
	log strings.Builder
}

// startPromptMQ runs a PromptMQ on free ports of loopback in a directory of its
// own, with the text of a YAML file, and waits until it is ready. prepare is given its data
// directory before that.
func startPromptMQ(yaml string, prepare ...func(dir string) error) (*ownBroker, error) {
	dir, err := os.MkdirTemp("", "promptmq-conformance-own-")
	if err != nil {
		return nil, err
	}
	o := &ownBroker{target: new(target), dir: dir}
	if err := os.WriteFile(o.config(), []byte(yaml), 0o600); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	for _, p := range prepare {
		if err := p(o.dataDir()); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	if err := o.start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return o, nil
}

func (o *ownBroker) config() string { return filepath.Join(o.dir, "promptmq.yaml") }

func (o *ownBroker) dataDir() string { return filepath.Join(o.dir, "data") }

// start starts the process; target changes, for the ports do.
func (o *ownBroker) start() error {
	path, err := promptmqPath()
	if err != nil {
		return err
	}
	o.cmd = exec.Command(path, "server", "--config", o.config(), "--data-dir", o.dataDir(),
		"--server-bind", "127.0.0.1:0", "--server-ws-bind", "127.0.0.1:0", "--metrics-enabled=false")
	o.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	stderr, err := o.cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := o.cmd.Start(); err != nil {
		return err
	}
	ready := make(chan bool, 1)
	o.exited = make(chan struct{})
	go o.readLog(stderr, ready)
	select {
	case ok := <-ready:
		if ok {
			return nil
		}
	case <-time.After(startSeconds * time.Second):
	}
	_ = o.cmd.Process.Kill()
	<-o.exited
	return fmt.Errorf("promptmq did not start:\n%s", o.logged())
}

func (o *ownBroker) readLog(stderr io.Reader, ready chan<- bool) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r struct{ Msg, Listener, Addr string }
		if json.Unmarshal(lines.Bytes(), &r) == nil {
			switch {
			case r.Msg == "listening" && r.Listener == "mqtt":
				o.target.url = "tcp://" + r.Addr
			case r.Msg == "listening" && r.Listener == "websocket":
				o.target.ws = "ws://" + r.Addr + "/mqtt"
			case r.Msg == "ready":
				ready <- true
			}
		}
		o.mu.Lock()
		o.log.WriteString(lines.Text() + "\n")
		o.mu.Unlock()
	}
	_ = o.cmd.Wait() // the exit code is in ProcessState
	select {
	case ready <- false:
	default:
	}
	close(o.exited)
}

func (o *ownBroker) logged() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.log.String()
}

// end ends the process with a signal and waits for it.
func (o *ownBroker) end(signal syscall.Signal) error {
	if err := o.cmd.Process.Signal(signal); err != nil {
		return err
	}
	select {
	case <-o.exited:
	case <-time.After(stopSeconds * time.Second):
		_ = o.cmd.Process.Kill()
		return fmt.Errorf("promptmq runs on after %v:\n%s", signal, o.logged())
	}
	if code := o.cmd.ProcessState.ExitCode(); signal == syscall.SIGTERM && code != 0 {
		return fmt.Errorf("promptmq ended with exit code %d:\n%s", code, o.logged())
	}
	return nil
}

// stop ends the broker for good. A panic that it recovered from is an error.
func (o *ownBroker) stop() error {
	err := o.end(syscall.SIGTERM)
	if log := o.logged(); err == nil && (strings.Contains(log, `"msg":"panic`) || strings.Contains(log, "DATA RACE")) {
		err = fmt.Errorf("promptmq is faulty:\n%s", log)
	}
	return errors.Join(err, os.RemoveAll(o.dir))
}

// own gives the test a PromptMQ with this configuration, and what prepare does to its data
// directory.
func (t *T) own(yaml string, prepare ...func(dir string) error) *ownBroker {
	t.Helper()
	if *brokerFlag != "" {
		t.NotRun("needs a configuration of its own")
	}
	o, err := startPromptMQ(yaml, prepare...)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if err := o.stop(); err != nil {
			t.Errorf("%v", err)
		}
	})
	t.target = o.target
	return o
}

// restartable gives the test a broker that it may restart: a PromptMQ of its
// own, or the foreign broker while no other test uses it. crash ends a PromptMQ
// with kill -9; how -restart-command ends a broker is its own business.
func (t *T) restartable() (restart, crash func()) {
	t.Helper()
	if *brokerFlag == "" {
		o := t.own("")
		again := func(signal syscall.Signal) func() {
			return func() {
				t.Helper()
				if err := errors.Join(o.end(signal), o.start()); err != nil {
					t.Fatalf("%v", err)
				}
			}
		}
		return again(syscall.SIGTERM), again(syscall.SIGKILL)
	}
	if *restartFlag == "" {
		t.NotRun("needs -restart-command")
	}
	t.restarting.Unlock()
	restarting.Lock()
	t.restarting = &restarting
	restart = func() {
		t.Helper()
		before := t.connect()
		if out, err := runRestartCommand(); err != nil {
			t.Fatalf("-restart-command: %v: %s", err, out)
		}
		if err := before.net.SetReadDeadline(soon()); err != nil {
			t.Fatalf("%v", err)
		}
		if _, err := before.net.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("-restart-command has not ended the broker: a connection from before is still open")
		}
		if !poll(func() bool { _, err := greet(t.version); return err == nil }) {
			t.Fatalf("after -restart-command the broker does not answer")
		}
	}
	return restart, restart
}

// runRestartCommand runs -restart-command and returns what it wrote. A broker
// that it leaves in the background may keep its output open: that goes to a file,
// for the end of a pipe would never come.
func runRestartCommand() ([]byte, error) {
	out, err := os.CreateTemp("", "promptmq-conformance-restart-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	ctx, cancel := context.WithTimeout(context.Background(), startSeconds*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", *restartFlag)
	cmd.Stdout, cmd.Stderr = out, out
	err = cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("still runs after %d seconds", startSeconds)
	}
	text, _ := os.ReadFile(out.Name()) // it is for the message alone
	return text, err
}

// poll asks until the answer is yes, or too late.
func poll(ok func() bool) bool {
	deadline := time.Now().Add(startSeconds * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(10 * time.Millisecond)
	}
	return true
}
