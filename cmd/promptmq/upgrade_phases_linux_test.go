package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/codec"
)

// The phases of a handover in which TestUpgradePhases has something happen.
const (
	atPreparing = "the new process has not looked at its configuration"
	atStopping  = "the old process is ending the connections"
	atClosed    = "the old process has closed the store and the new one has not opened it"
	atLoading   = "the new process is loading the store"
	atReady     = "the new process is ready and the old one has not noticed"
)

// closedLine is what the old process logs when it has told the new one that the store is closed.
const closedLine = "the store is closed, and the new process opens it"

// queuedAbsent is how many messages are queued for who is absent.
const queuedAbsent = 3

// Who is there after a handover in which something happened.
const (
	noneLeft = "nobody"
	theOld   = "the old process"
	theNew   = "the new process"
	either   = "the new process, or nobody"
)

// TestUpgradePhases: whichever process is killed or told to end in whichever phase of a handover,
// one process has the store afterwards, or none, nobody else has the sockets, and the next start
// has all that was acknowledged.
func TestUpgradePhases(t *testing.T) {
	unraced(t)
	t.Parallel()
	const kill, end = syscall.SIGKILL, syscall.SIGTERM
	for _, test := range []struct {
		phase  string
		signal syscall.Signal
		toNew  bool
		left   string
	}{
		{atPreparing, kill, false, noneLeft},
		{atPreparing, kill, true, theOld},
		{atPreparing, end, false, noneLeft},
		{atStopping, kill, false, theNew},
		{atStopping, kill, true, theOld},
		{atStopping, end, false, noneLeft},
		{atStopping, end, true, theOld},
		{atClosed, kill, false, theNew},
		{atClosed, kill, true, theOld},
		{atClosed, end, false, noneLeft},
		{atClosed, end, true, theOld},
		{atLoading, kill, true, theOld},
		{atLoading, end, false, noneLeft},
		{atReady, kill, false, theNew},
		{atReady, kill, true, noneLeft},
		{atReady, end, false, either},
		{atReady, end, true, noneLeft},
	} {
		whom := map[bool]string{false: "old", true: "new"}[test.toNew]
		t.Run(fmt.Sprintf("%s: %v to the %s", test.phase, test.signal, whom), func(t *testing.T) {
			t.Parallel()
			h := beginHandover(t, test.phase)
			pid := h.s.cmd.Process.Pid
			if test.toNew {
				pid = h.pid
			}
			h.signal(pid, test.signal)
			h.goOn()
			h.check(h.outcome(test.phase, test.left), test.signal == kill && !test.toNew)
		})
	}
}

// A stoppedHandover is one that stands still in a phase.
type stoppedHandover struct {
	t       *testing.T
	s       *server
	gate    *os.File // a FIFO: the new program waits for a line of it
	pid     int      // of the new process
	stopped []int    // processes
	asked   chan error
}

// beginHandover starts a server, with somebody absent and a message that is retained, and a
// handover that comes up to a phase.
func beginHandover(t *testing.T, phase string) *stoppedHandover {
	h := &stoppedHandover{t: t, s: start(t, ""), asked: make(chan error, 1)}
	c, _ := connectRaw(t, h.s.mqtt, codec.Version5, "absent", lasting)
	c.subscribeOne("queue", 1)
	c.drop()
	p, _ := connectRaw(t, h.s.mqtt, codec.Version5, "p", nil)
	p.publish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View("kept"), Payload: codec.View("yes")})
	p.ack(codec.TypePuback)
	for i := range uint16(queuedAbsent) {
		p.publish1(2+i, "queue", fmt.Sprint(i))
	}
	// Who says nothing is waited for, and who reads nothing.
	waits := dialTCP(t, h.s.mqtt)
	t.Cleanup(func() { _ = waits.Close() })
	h.ask(phase)
	h.hold(phase)
	return h
}

// ask begins the handover.
func (h *stoppedHandover) ask(phase string) {
	gate := filepath.Join(h.t.TempDir(), "gate")
	err := syscall.Mkfifo(gate, 0o600)
	if err == nil {
		h.gate, err = os.OpenFile(gate, os.O_RDWR, 0) // so that it is open for whoever comes
	}
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = h.gate.Close() })
	program, rules := binary, ""
	if phase == atLoading {
		program, rules = controlBinary(h.t), "BREAK_RULES=load-stalls "
	}
	told := filepath.Join(filepath.Dir(gate), "pid")
	text := fmt.Sprintf("echo $$ >%q; read go <%q; %sexec %q \"$@\"\n", told, gate, rules, program)
	a, err := dial(h.t.Context(), h.s.dataDir())
	if err != nil {
		h.t.Fatal(err)
	}
	go func() {
		_, err := admin.Call[inspect.Upgrade](h.t.Context(), a.Client, http.MethodPost, "/upgrade", &upgradeRequest{Binary: script(h.t, text)})
		h.asked <- err
	}()
	eventually(h.t, "the new program runs", func() bool {
		text, _ := os.ReadFile(told)
		h.pid, err = strconv.Atoi(strings.TrimSuffix(string(text), "\n"))
		return err == nil
	})
	h.t.Cleanup(func() { _ = syscall.Kill(h.pid, syscall.SIGKILL) }) // it is there if the test failed
	if phase != atPreparing {
		h.open()
	}
}

// open lets the new program go on.
func (h *stoppedHandover) open() {
	if _, err := fmt.Fprintln(h.gate, "go"); err != nil {
		h.t.Fatal(err)
	}
}

// hold comes up to a phase.
func (h *stoppedHandover) hold(phase string) {
	if phase == atPreparing {
		return
	}
	h.s.waitLog("handing over to a new process")
	old := h.s.cmd.Process.Pid
	switch phase {
	case atStopping:
		h.stop(h.pid)
		h.stop(old)
		if h.owner() != old {
			h.t.Fatal("too late")
		}
	case atClosed, atReady:
		h.stop(h.pid)
		h.s.waitLog(closedLine)
		if h.owner() != 0 {
			h.t.Fatal("too late")
		}
	case atLoading:
		eventually(h.t, "the new process has the store", func() bool { return h.owner() == h.pid })
	}
	if phase == atReady {
		h.stop(old)
		h.signal(h.pid, syscall.SIGCONT)
		h.stopped = []int{old}
		eventually(h.t, "the new process is ready", func() bool { return len(h.s.linesOf("ready")) == 2 })
	}
}

func (h *stoppedHandover) stop(pid int) {
	h.signal(pid, syscall.SIGSTOP)
	h.stopped = append(h.stopped, pid)
}

// goOn ends what was held.
func (h *stoppedHandover) goOn() {
	h.open()
	for _, pid := range h.stopped {
		_ = syscall.Kill(pid, syscall.SIGCONT) // it may have been killed
	}
}

func (h *stoppedHandover) signal(pid int, signal syscall.Signal) {
	h.t.Helper()
	if err := syscall.Kill(pid, signal); err != nil {
		h.t.Fatal(err)
	}
}

// owner is the process that has the store; 0: there is none.
func (h *stoppedHandover) owner() int {
	info, err := os.Stat(filepath.Join(h.s.dataDir(), "promptmq.lock"))
	if err != nil {
		h.t.Fatal(err)
	}
	inode := fmt.Sprint(":", info.Sys().(*syscall.Stat_t).Ino)
	f, err := os.Open("/proc/locks")
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close()
	owner := 0
	for lines := bufio.NewScanner(f); lines.Scan(); { // as in "1: FLOCK ADVISORY WRITE 123 08:01:456 0 EOF"
		if p := strings.Fields(lines.Text()); len(p) > 5 && p[1] == "FLOCK" && strings.HasSuffix(p[5], inode) {
			pid, _ := strconv.Atoi(p[4])
			if owner != 0 && owner != pid {
				h.t.Fatalf("two processes have the store: %d and %d", owner, pid)
			}
			owner = pid
		}
	}
	return owner
}

// outcome waits until it is known who is left. Until then connections may be accepted that come
// to nothing.
func (h *stoppedHandover) outcome(phase, left string) string {
	h.t.Helper()
	said := func(line string) bool { return len(h.s.linesOf(line)) > 0 }
	switch {
	case left == theOld && phase == atPreparing:
		h.s.waitLog("not upgraded: this process carries on, and no client has noticed")
	case left == theOld:
		h.s.waitLog("not upgraded: this process takes its work back, and opens the store again")
	case left == theNew:
		eventually(h.t, "the new process is ready", func() bool { return len(h.s.linesOf("ready")) == 2 })
	case left == either:
		eventually(h.t, "the old process has noticed what came first", func() bool {
			if said("handed over: the new process is ready") {
				left = theNew
			} else if said("not upgraded: this process was told to end, and the new one ends with it") {
				left = noneLeft
			}
			return left != either
		})
	}
	return left
}

// check looks at who is left and at what that has, and at the next start.
func (h *stoppedHandover) check(left string, killed bool) {
	h.t.Helper()
	s := h.s
	old := s.cmd.Process.Pid
	switch left {
	case theOld:
		h.checkState()
		if h.owner() != old {
			h.t.Errorf("the store is of %d, not of the old process, %d", h.owner(), old)
		}
		s.stop()
	case theNew:
		h.checkState()
		if h.owner() != h.pid {
			h.t.Errorf("the store is of %d, not of the new process, %d", h.owner(), h.pid)
		}
		h.signal(h.pid, syscall.SIGKILL)
	}
	// Both, and what they have started, have its standard error.
	if code := s.wait(); (code != 0) != killed {
		h.t.Errorf("exit code %d of the old process", code)
	}
	for _, address := range []string{s.mqtt, s.ws, s.metrics} {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			h.t.Errorf("somebody listens still: %v", err)
			continue
		}
		_ = ln.Close()
	}
	<-h.asked
	s.restart()
	h.checkState()
}

// checkState looks for all that was acknowledged.
func (h *stoppedHandover) checkState() {
	h.t.Helper()
	c, ack := connectRaw(h.t, h.s.mqtt, codec.Version5, "absent", resumed)
	if !ack.SessionPresent {
		h.t.Error("the session is gone")
	}
	for i := range queuedAbsent {
		if p := c.receive(); string(p.Payload) != fmt.Sprint(i) {
			h.t.Errorf("message %s in place of %d", p.Payload, i)
		}
	}
	c.drop()
	r := v5Of(h.t, h.s, "r", nil)
	r.send(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, []codec.Subscription{{Filter: codec.View("kept")}}, codec.Version5))
	var p codec.Publish
	for f := (codec.Frame{}); f.Type() != codec.TypePublish; { // it may come before SUBACK
		var err error
		if f, err = r.next(); err != nil {
			h.t.Fatalf("what is retained does not come: %v", err)
		}
		if f.Type() == codec.TypePublish {
			if err := p.Decode(f, codec.Version5); err != nil || string(p.Payload) != "yes" || !p.Retain {
				h.t.Errorf("%s in place of what is retained: %v", p.Payload, err)
			}
		}
	}
	r.drop()
}
