package main

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/x0a1b/promptmq/codec"
)

// A watched is a command at a terminal, and what that was told.
type watched struct {
	cmd  *exec.Cmd
	user *os.File
	done chan error

	mu    sync.Mutex // guards the following
	shown strings.Builder
}

// watch starts a command at a terminal of this size.
func (c commander) watch(columns, lines uint16, args ...string) *watched {
	c.t.Helper()
	user, program := openTerminal(c.t)
	size := [4]uint16{lines, columns}
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, user.Fd(), syscall.TIOCSWINSZ, uintptr(unsafe.Pointer(&size))); errno != 0 {
		c.t.Fatal(errno)
	}
	w := &watched{user: user, done: make(chan error, 1), cmd: exec.CommandContext(c.t.Context(), binary, append(args, "--data-dir", c.data)...)}
	w.cmd.Env, w.cmd.Stdin, w.cmd.Stdout, w.cmd.Stderr = environ("TERM=xterm"), program, program, program
	if err := w.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	_ = program.Close()
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := user.Read(buf)
			w.mu.Lock()
			w.shown.Write(buf[:n])
			w.mu.Unlock()
			if err != nil { // the other end is closed
				w.done <- w.cmd.Wait()
				return
			}
		}
	}()
	return w
}

// screens are what was drawn, the last at the end.
func (w *watched) screens() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Split(w.shown.String(), "\x1b[H")
}

// showing reports whether the last whole screen has all of these.
func (w *watched) showing(parts ...string) bool {
	all := w.screens()
	if len(all) < 2 {
		return false
	}
	last := all[len(all)-2]
	for _, part := range parts {
		if !strings.Contains(last, part) {
			return false
		}
	}
	return true
}

func (w *watched) presses(key string) { _, _ = w.user.WriteString(key) }

// TestTopAtTerminal: top shows who is busy, which topics are and which queues, does what keys say,
// and gives the terminal back.
func TestTopAtTerminal(t *testing.T) {
	t.Parallel()
	s := start(t, "auth: {allow-anonymous: true}\n")
	c := commander{t, s.dataDir()}
	sub, _ := connectRaw(t, s.mqtt, codec.Version5, "sleeper", lasting)
	sub.subscribeOne("plant/#", 1)
	sub.drop()
	pub, _ := connectRaw(t, s.mqtt, codec.Version5, "busy", nil)
	w := c.watch(100, 24, "top", "--every", "200ms")
	id := uint16(0)
	eventually(t, "the topics are shown", func() bool {
		for range 3 { // three to one
			id++
			pub.publish1(id, "plant/hot\u202e", "12345678")
		}
		id++
		pub.publish1(id, "plant/cold", "1")
		return w.showing("CLIENT", "busy", "TOPIC", `plant/hot\u202e`, "plant/cold", "75 %", "[rate]")
	})
	w.presses("u")
	eventually(t, "the longest queue is first", func() bool {
		all := w.screens()
		_, below, _ := strings.Cut(all[max(0, len(all)-2)], "CLIENT")
		return w.showing("[queued]") && strings.Index(below, "sleeper") < strings.Index(below, "busy")
	})
	w.presses("p")
	eventually(t, "it is held", func() bool { return w.showing("PAUSED") })
	w.presses("q")
	if err := <-w.done; err != nil {
		t.Error(err)
	}
	all := w.screens()
	if last := all[len(all)-1]; !strings.HasSuffix(last, "\x1b[?25h\x1b[?1049l") {
		t.Errorf("the terminal is not given back: %q", last)
	}
	for _, screen := range all {
		if strings.Contains(screen, "\u202e") || strings.Count(screen, "\r\n") > 23 {
			t.Fatalf("%q", screen)
		}
	}
	if n := s.metric("promptmq_panics_total"); n != 0 {
		t.Errorf("%v panics", n)
	}
	s.stop()
}

// TestSQLAtTerminal: what strangers named does nothing to the terminal that shows the answer, and
// goes into a pipe as it is.
func TestSQLAtTerminal(t *testing.T) {
	t.Parallel()
	s := start(t, "auth: {allow-anonymous: true}\n")
	c := commander{t, s.dataDir()}
	const evil = "x\x1b]0;owned\x07\u202e\u009by"
	connectRaw(t, s.mqtt, codec.Version5, evil, nil)
	const query = `SELECT client AS ab FROM clients`
	for form, want := range map[string]string{"--csv": `x\x1b]0;owned\a\u202e\u009by`, "--json": `x\u001b]0;owned\u0007\u202e\u009by`, "": `x\x1b]0;owned\a\u202e\u009by`} {
		args := strings.Fields("sql " + form)
		shown, code := c.atTerminal(nil, append(args, query)...)
		if code != 0 || !strings.Contains(shown, want) || strings.ContainsAny(shown, "\x1b\x07\u202e\u009b") {
			t.Errorf("%s: code %d, %q", form, code, shown)
		}
	}
	if out := c.ok("sql", "--csv", query); out != "ab\n"+evil+"\n" {
		t.Errorf("into a pipe: %q", out)
	}
	s.stop()
}
