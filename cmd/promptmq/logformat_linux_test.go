package main

import (
	"bufio"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Without log.format a terminal has text, and anything else JSON.
func TestLogFormat(t *testing.T) {
	t.Parallel()
	shows(t, "log.format")
	for _, c := range []struct {
		format   string
		terminal bool
		json     bool
	}{{"", true, false}, {"", false, true}, {"auto", true, false}, {"json", true, true}, {"console", true, false}, {"console", false, false}} {
		line := firstLogLine(t, c.format, c.terminal)
		isText := strings.HasPrefix(line, "time=") && strings.Contains(line, " level=INFO msg=starting ")
		if json.Valid([]byte(line)) != c.json || isText == c.json {
			t.Errorf("%q, on a terminal %v: %s", c.format, c.terminal, line)
		}
	}
}

// firstLogLine starts a broker, and ends it after its first line.
func firstLogLine(t *testing.T, format string, terminal bool) string {
	t.Helper()
	args := []string{"server", "--data-dir", filepath.Join(t.TempDir(), "data"), "--server-bind", "127.0.0.1:0", "--server-ws-bind", "", "--metrics-enabled=false"}
	if format != "" {
		args = append(args, "--log-format", format)
	}
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = environ()
	var lines *bufio.Reader
	if terminal {
		user, program := openTerminal(t)
		cmd.Stderr, lines = program, bufio.NewReader(user)
		defer func() { _ = program.Close() }()
	} else {
		pipe, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		lines = bufio.NewReader(pipe)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Error(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	go func() { _, _ = lines.WriteTo(new(strings.Builder)) }() // what is left, so that it ends
	_ = cmd.Wait()
	return strings.TrimSpace(line)
}
