package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// A logReader is who reads what a broker writes to standard error.
type logReader struct {
	stderr *os.File                // given to the broker
	fails  func(t *testing.T)      // reads no more
	back   func(t *testing.T)      // reads again; nil: never
	lines  func(*testing.T) []byte // that it got
	why    string                  // that the line about what was dropped says; "": nothing
}

// logReaders make one each, or skip the test.
var logReaders = map[string]func(t *testing.T) *logReader{
	"gone":            newFIFO,
	"stopped":         newStoppedReader,
	"full device":     newFullDevice,
	"full filesystem": newFullDisk,
}

// TestLogReaders: whatever becomes of the reader of the log, messages go on with QoS 1, what it does
// not get is counted, and a line says how much that was when it is back.
func TestLogReaders(t *testing.T) {
	t.Parallel()
	for name, newReader := range logReaders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReader(t)
			s := startOnto(t, r.stderr)
			sub, _ := connectRaw(t, s.mqtt, codec.Version5, "sub", lasting)
			sub.subscribeOne("q", 1)
			e := &exchange{sub: sub, pub: v5Of(t, s, "pub", nil)}
			e.messages(50)
			r.fails(t)
			dropped := func() float64 { return s.metric("promptmq_log_lines_dropped_total") }
			for e.sent < 300 || dropped() == 0 {
				chatter(t, s, 100)
				e.messages(50)
			}
			t.Logf("%v lines dropped, %d messages", dropped(), e.sent)
			if r.back == nil {
				return
			}
			r.back(t)
			eventually(t, "a line says how many were dropped", func() bool {
				chatter(t, s, 1)
				told, why := toldDropped(r.lines(t))
				return told == dropped() && strings.Contains(why, r.why)
			})
			e.messages(50)
		})
	}
}

// startOnto starts a server that writes its log to a file. It has a loopback address and ports of
// its own, as its log need not say where it listens.
func startOnto(t *testing.T, stderr *os.File) *server {
	t.Helper()
	host, port := fmt.Sprintf("127.%d.%d.%d:", 1+rand.N(250), rand.N(250), 1+rand.N(250)), 20_000+2*rand.N(5000)
	s := &server{t: t, binary: binary, dir: t.TempDir(), exited: make(chan struct{}), mqtt: fmt.Sprint(host, port), metrics: fmt.Sprint(host, port+1)}
	s.changed = sync.NewCond(&s.mu)
	s.cmd = exec.Command(binary, "server", "--log-level", "debug", "--log-format", "json", "--data-dir", s.dataDir(),
		"--server-bind", s.mqtt, "--server-ws-bind", "", "--metrics-bind", s.metrics)
	s.cmd.Env, s.cmd.Stderr = environ(), stderr
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = s.cmd.Wait() // the code says it
		close(s.exited)
	}()
	t.Cleanup(s.cleanup)
	eventually(t, "it is ready", func() bool {
		resp, err := http.Get("http://" + s.metrics + "/ready")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return s
}

// An exchange is a publisher and a subscriber with QoS 1.
type exchange struct {
	pub, sub *raw
	sent     int
}

// messages publishes n messages; each is acknowledged, and received in its turn.
func (e *exchange) messages(n int) {
	e.pub.t.Helper()
	for range n {
		e.sent++
		want := fmt.Sprint(e.sent)
		if r := e.pub.publish1(uint16(e.sent), "q", want); r != codec.Success {
			e.pub.t.Fatalf("message %s: %v", want, r)
		}
		p := e.sub.receive()
		if string(p.Payload) != want {
			e.pub.t.Fatalf("message %s, not %s", p.Payload, want)
		}
		e.sub.sendAck(codec.TypePuback, p.PacketID)
	}
}

// chatter makes lines of the log.
func chatter(t *testing.T, s *server, connections int) {
	t.Helper()
	for i := range connections {
		p, _ := connectRaw(t, s.mqtt, codec.Version5, fmt.Sprint(strings.Repeat("x", 40), i), nil)
		p.drop()
	}
}

// toldDropped is how many lines were dropped, as the log says, and why.
func toldDropped(text []byte) (lines float64, why string) {
	for line := range bytes.Lines(text) {
		var r record
		if json.Unmarshal(line, &r) == nil && r.text("msg") == "log lines were dropped: the reader of the log did not take them in time" {
			lines += r["lines"].(float64)
			why += r.text("error")
		}
	}
	return lines, why
}

// collected is what a reader got.
type collected struct {
	mu   sync.Mutex
	text []byte
}

func (c *collected) read(from io.Reader) {
	for lines := bufio.NewReader(from); ; {
		line, err := lines.ReadBytes('\n')
		c.mu.Lock()
		c.text = append(c.text, line...)
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (c *collected) lines(*testing.T) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.text)
}

// newFIFO: the reader ends, so that the broker gets SIGPIPE, and another opens the FIFO later.
func newFIFO(t *testing.T) *logReader {
	name := filepath.Join(t.TempDir(), "log")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Skip(err)
	}
	open := func(t *testing.T, flag int) *os.File {
		f, err := os.OpenFile(name, flag|syscall.O_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	first, got := open(t, os.O_RDONLY), new(collected)
	writer, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = writer.Close() })
	go got.read(first)
	return &logReader{stderr: writer, why: "broken pipe", lines: got.lines,
		fails: func(t *testing.T) {
			if err := errors.Join(first.Close(), writer.Close()); err != nil {
				t.Fatal(err)
			}
		},
		back: func(t *testing.T) { go got.read(open(t, os.O_RDONLY)) },
	}
}

// newStoppedReader: the reader stays, and takes nothing for a while.
func newStoppedReader(t *testing.T) *logReader {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = reader.Close(), writer.Close() })
	got := new(collected)
	return &logReader{stderr: writer, lines: got.lines, fails: func(*testing.T) {}, back: func(*testing.T) { go got.read(reader) }}
}

// newFullDevice: nothing can ever be written.
func newFullDevice(t *testing.T) *logReader {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = full.Close() })
	return &logReader{stderr: full, fails: func(*testing.T) {}}
}

// newFullDisk: the file system of the log has no space for a while. It needs the right to mount, as
// a container usually gives.
func newFullDisk(t *testing.T) *logReader {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("no file system of its own: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	name, ballast := filepath.Join(disk, "log"), filepath.Join(disk, "ballast")
	file, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return &logReader{stderr: file, why: "no space left",
		fails: func(t *testing.T) {
			if err := os.WriteFile(ballast, make([]byte, 8<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
		},
		back: func(t *testing.T) {
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
		},
		lines: func(t *testing.T) []byte {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			return text
		},
	}
}
