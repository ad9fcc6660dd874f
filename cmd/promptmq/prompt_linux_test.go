package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// openTerminal returns the two ends of a new terminal.
func openTerminal(t *testing.T) (user, program *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = user.Close() })
	var number, locked uint32
	for request, arg := range map[uintptr]*uint32{syscall.TIOCGPTN: &number, syscall.TIOCSPTLCK: &locked} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, user.Fd(), request, uintptr(unsafe.Pointer(arg))); errno != 0 {
			t.Skip(errno)
		}
	}
	if program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = program.Close() })
	return user, program
}

// waitSilent waits until the terminal shows nothing of what is typed.
func waitSilent(t *testing.T, terminal *os.File) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		var state syscall.Termios
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, terminal.Fd(), syscall.TCGETS, uintptr(unsafe.Pointer(&state))); errno != 0 {
			t.Fatal(errno)
		}
		if state.Lflag&syscall.ECHO == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the terminal shows what is typed")
		}
	}
}

// atTerminal runs a command and types each answer behind a prompt; it returns all that the
// terminal showed.
func (c commander) atTerminal(answers []string, args ...string) (shown string, code int) {
	c.t.Helper()
	return typed(c.t, answers, append(args, "--data-dir", c.data)...)
}

// typed is atTerminal for any command. Where a password is asked for, nothing of it may be shown.
func typed(t *testing.T, answers []string, args ...string) (shown string, code int) {
	t.Helper()
	user, program := openTerminal(t)
	cmd := exec.CommandContext(t.Context(), binaryFor(args), args...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = environ(), program, program, program
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = program.Close()
	var all bytes.Buffer
	buf := make([]byte, 1024)
	for {
		n, err := user.Read(buf)
		all.Write(buf[:n])
		if text := all.String(); len(answers) > 0 && strings.HasSuffix(text, ": ") {
			if prompt := text[strings.LastIndexByte(text, '\n')+1:]; strings.HasPrefix(prompt, "Password") || strings.HasPrefix(prompt, "Again") {
				waitSilent(t, user)
			}
			_, _ = user.WriteString(answers[0] + "\n")
			answers = answers[1:]
		}
		if err != nil { // the other end is closed
			break
		}
	}
	_ = cmd.Wait() // the code says it
	return all.String(), cmd.ProcessState.ExitCode()
}

// TestPrompt: at a terminal the password is asked for twice, and not shown.
func TestPrompt(t *testing.T) {
	t.Parallel()
	c := commander{t, filepath.Join(t.TempDir(), "data")}
	shown, code := c.atTerminal([]string{"canary", "canary"}, "user", "add", "ann")
	if code != 0 || strings.Contains(shown, "canary") || !strings.Contains(shown, "Again: ") {
		t.Errorf("code %d\n%s", code, shown)
	}
	for _, answers := range [][]string{{"canary", "canarY"}, {""}} {
		if shown, code := c.atTerminal(answers, "user", "add", "bob"); code != exitUsage || strings.Contains(shown, "canar") {
			t.Errorf("%q: code %d\n%s", answers, code, shown)
		}
	}
	c.wantUsers("ann ")
}

// TestPasswordIsNotShown: neither the list of processes nor anything that is written has a
// password or its hash.
func TestPasswordIsNotShown(t *testing.T) {
	t.Parallel()
	const canary = "kanarienvogel"
	s := start(t, "log:\n  level: debug\n")
	c := commander{t, s.dataDir()}
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(canary+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var seen strings.Builder
	stop, watched := make(chan struct{}), make(chan struct{})
	go func() { // the list of processes, as often as it can be read
		defer close(watched)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
			for _, name := range lines {
				if line, err := os.ReadFile(name); err == nil && bytes.Contains(line, []byte(c.data)) {
					seen.Write(line)
				}
			}
		}
	}()
	var out strings.Builder
	for _, args := range [][]string{
		{"add", "ann", "--password-file", file}, {"passwd", "ann", "--password-file", file}, {"add", "bob", "--password-stdin"},
		{"passwd", "nobody", "--password-stdin"}, {"add", "ann", "--password-stdin"}, {"list"}, {"list", "--json"},
	} {
		r := c.withInput(canary, append([]string{"user"}, args...)...)
		out.WriteString(r.stdout + r.stderr)
	}
	close(stop)
	<-watched
	c.wantUsers("ann ", "bob ")
	if !strings.Contains(seen.String(), "passwd") {
		t.Error("the list of processes was not seen")
	}
	_, metrics := s.get("/metrics")
	s.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for what, text := range map[string]string{"the list of processes": seen.String(), "the output": out.String(), "metrics": metrics, "the log": strings.Join(s.lines, "\n")} {
		for _, secret := range []string{canary, "argon2id", "SCRAM-SHA-256$"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s has %q:\n%s", what, secret, text)
			}
		}
	}
	for _, name := range []string{"promptmq.db"} {
		if b, err := os.ReadFile(filepath.Join(s.dataDir(), name)); err != nil || bytes.Contains(b, []byte(canary)) || !bytes.Contains(b, []byte("$argon2id$")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
