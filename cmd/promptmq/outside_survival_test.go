//go:build outside

package main

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// This file runs a client program over a kill -9 of the broker: see outside_programs_test.go for the programs.

const (
	// survivalMessages is how many messages a program publishes.
	survivalMessages = 2000
	// The receiver sleeps from so many acknowledged messages on, so that the broker has a queue for it, and is woken
	// when the broker is back; at so many the broker is killed.
	sleepsAt, killedAt = 600, 900
	// outage is how long the broker is away.
	outage = 1500 * time.Millisecond
	// stuckAfter is how long nothing may be heard of a program that is not done.
	stuckAfter = 45 * time.Second
	// nothingMore is how long a receiver is waited for that has the last message, and not all before it.
	nothingMore = 10 * time.Second
)

// programLine is what programs write, behind what loggers and browsers put before it.
var programLine = regexp.MustCompile(`\b(?:(ready|done)|(sent|acknowledged|received|birth|death|gap) (\d+))(?:", source: .*)?$`)

// A heard program is a process whose lines are counted.
type heard struct {
	t      *testing.T
	cmd    *exec.Cmd
	exited chan struct{}

	mu    sync.Mutex
	words map[string]bool        // ready, done
	seen  map[string]map[int]int // how often each number was sent, acknowledged, received; of Sparkplug: bdSeq of births and deaths
	last  time.Time
	tail  []string // the last lines
}

// launch starts a program in a group of its own, which ends with the test.
func launch(t *testing.T, dir string, env []string, args ...string) *heard {
	t.Helper()
	h := &heard{t: t, exited: make(chan struct{}), words: make(map[string]bool), last: time.Now(),
		seen: map[string]map[int]int{"sent": {}, "acknowledged": {}, "received": {}, "birth": {}, "death": {}, "gap": {}}}
	h.cmd = exec.Command(args[0], args[1:]...)
	h.cmd.Dir, h.cmd.Env = dir, append(environ(), env...)
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	h.cmd.Stdout, h.cmd.Stderr = w, w
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	go func() {
		h.read(r)
		_ = h.cmd.Wait()
		close(h.exited)
	}()
	t.Cleanup(h.end)
	return h
}

func (h *heard) read(r io.Reader) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		h.mu.Lock()
		if h.tail = append(h.tail, lines.Text()); len(h.tail) > 30 {
			h.tail = h.tail[1:]
		}
		if m := programLine.FindStringSubmatch(lines.Text()); m != nil {
			h.last = time.Now()
			if m[1] != "" {
				h.words[m[1]] = true
			} else {
				n, _ := strconv.Atoi(m[3])
				h.seen[m[2]][n]++
			}
		}
		h.mu.Unlock()
	}
}

// signal sends a signal to the whole group.
func (h *heard) signal(s syscall.Signal) { _ = syscall.Kill(-h.cmd.Process.Pid, s) }

func (h *heard) end() {
	h.signal(syscall.SIGKILL)
	<-h.exited
}

// await waits until something is so, and says whether it came to that before nothing was heard for long.
func (h *heard) await(ok func() bool) bool {
	for {
		h.mu.Lock()
		is, quiet := ok(), time.Since(h.last)
		h.mu.Unlock()
		if is || quiet > stuckAfter {
			return is
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (h *heard) awaitWord(word string) bool {
	return h.await(func() bool { return h.words[word] })
}

// lines are the last lines.
func (h *heard) lines() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.tail, "\n")
}

// outcome is what came of a program.
type outcome struct {
	sent, acknowledged, received int
	twice                        int  // messages that came more than once
	lost                         int  // acknowledged, and never received
	last                         bool // what was published last, long after the kill, was received
	fault                        string
}

// survive runs a program of a publisher and one of a receiver on a broker that is killed in the middle, with
// what happens to its data while it is away.
func survive(t *testing.T, run func(role string, s *server) *heard, away func(s *server)) outcome {
	t.Helper()
	mqtt, ws := freeAddress(t), freeAddress(t)
	s := start(t, "log: {format: json}\nserver: {ws-origins: any}\n", "--server-bind", mqtt, "--server-ws-bind", ws)
	receiver := run("receive", s)
	defer receiver.end()
	if !receiver.awaitWord("ready") {
		return outcome{fault: "the receiver does not come up: " + receiver.lines()}
	}
	publisher := run("publish", s)
	defer publisher.end()
	count := func(n int) bool {
		return publisher.await(func() bool { return len(publisher.seen["acknowledged"]) >= n })
	}
	if !count(sleepsAt) {
		return outcome{fault: "the publisher does not come up: " + publisher.lines()}
	}
	receiver.signal(syscall.SIGSTOP)
	alive := count(killedAt)
	s.kill()
	away(s)
	time.Sleep(outage)
	s.restart()
	receiver.signal(syscall.SIGCONT)

	published := alive && publisher.awaitWord("done")
	receiver.mu.Lock()
	receiver.last = time.Now()
	receiver.mu.Unlock()
	arrived := receiver.await(func() bool {
		return receiver.words["done"] || receiver.seen["received"][survivalMessages] > 0 && time.Since(receiver.last) > nothingMore
	})
	out := outcomeOf(publisher, receiver)
	switch {
	case !published:
		out.fault = "the publisher does not come back: " + publisher.lines()
	case !arrived && !out.last:
		out.fault = "the receiver does not come back: " + receiver.lines()
	}
	return out
}

func outcomeOf(publisher, receiver *heard) outcome {
	publisher.mu.Lock()
	defer publisher.mu.Unlock()
	receiver.mu.Lock()
	defer receiver.mu.Unlock()
	got := receiver.seen["received"]
	out := outcome{sent: len(publisher.seen["sent"]), acknowledged: len(publisher.seen["acknowledged"]), received: len(got), last: got[survivalMessages] > 0}
	for _, times := range got {
		if times > 1 {
			out.twice++
		}
	}
	for n := range publisher.seen["acknowledged"] {
		if got[n] == 0 {
			out.lost++
		}
	}
	return out
}

// hostPort are the parts of an address.
func hostPort(t *testing.T, addr string) (host, port string) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return host, port
}
