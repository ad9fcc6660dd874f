//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// nobody is a user who owns nothing.
const nobody = 65534

// asNobody returns a promptmq that runs as a user who owns nothing, and opens the
// way to its files for that user.
func asNobody(t *testing.T) (path string, dir string) {
	t.Helper()
	setpriv, err := exec.LookPath("setpriv")
	if os.Geteuid() != 0 || err != nil {
		t.Skip("only root can run a process as somebody else, with setpriv")
	}
	dir = t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "promptmq")
	text, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "as-nobody")
	script := fmt.Sprintf("#!/bin/sh\nexec %s --reuid=%d --clear-groups %s \"$@\"\n", setpriv, nobody, copied)
	for name, content := range map[string][]byte{copied: text, path: []byte(script)} {
		if err := os.WriteFile(name, content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return path, dir
}

// TestFilesOfSomebodyElse: a database that belongs to somebody else, and whose mode
// cannot be changed, is used, with a warning; one that may not be used is refused
// with who is who.
func TestFilesOfSomebodyElse(t *testing.T) {
	t.Parallel()
	path, dir := asNobody(t)
	data := filepath.Join(dir, "data")
	first := start(t, "", "--data-dir", data)
	absent(t, first, "sub", "t")
	publishRange(v5Of(t, first, "pub", nil), "t", 0, 1, 10)
	first.stop()
	if lines := exposed(first); len(lines) > 0 {
		t.Errorf("logged %v", lines)
	}
	args := []string{"server", "--data-dir", data, "--server-bind", "127.0.0.1:0", "--server-ws-bind", "", "--metrics-enabled=false"}
	refused := exec.Command(path, args...)
	out, err := refused.CombinedOutput()
	if err == nil || !strings.Contains(string(out), data+" belongs to user 0 with mode drwx------, and this process runs as user 65534: give it") {
		t.Errorf("%v\n%s", err, out)
	}

	open := func(mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(data, mode|0o111); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(data, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if err := os.Chmod(f, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	open(0o644) // it may be read
	if out, err := exec.Command(path, args...).CombinedOutput(); err == nil || !strings.Contains(string(out), "belongs to user 0") {
		t.Errorf("%v\n%s", err, out)
	}
	open(0o666)
	second := startBinary(t, path, nil, "", "--data-dir", data, "--config", os.DevNull)
	v5Of(t, second, "sub", resumed).expectRange(0, 1)
	lines := exposed(second)
	if len(lines) != 1 || lines[0].text("file") != filepath.Join(data, "promptmq.db") || lines[0].text("mode") != "-rw-rw-rw-" ||
		!strings.Contains(lines[0].text("error"), "operation not permitted") || !strings.Contains(lines[0].text("msg"), "chown") {
		t.Errorf("logged %v", lines)
	}
}

// exposed are the warnings about files that others can get at.
func exposed(s *server) (lines []record) {
	for _, r := range s.log() {
		if strings.HasPrefix(r.text("msg"), "other users of this machine can get at a file") {
			lines = append(lines, r)
		}
	}
	return lines
}

// TestDoubtfulFileSystem: a data directory in memory is said to be one.
func TestDoubtfulFileSystem(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("stat", "-f", "-c", "%T", "/dev/shm").Output()
	if err != nil || strings.TrimSpace(string(out)) != "tmpfs" {
		t.Skipf("/dev/shm is no tmpfs here: %q, %v", out, err)
	}
	dir, err := os.MkdirTemp("/dev/shm", "promptmq-test-")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := start(t, "", "--data-dir", dir)
	if r := s.waitLog("store opened"); r.text("file_system") != "tmpfs" {
		t.Errorf("logged %v", r)
	}
	r := s.waitLog("the file system of the data directory may not keep what is acknowledged; docs/storage.md has a section on file systems")
	if r.text("level") != "WARN" || r.text("file_system") != "tmpfs" || r.text("data_dir") != dir || !strings.Contains(r.text("because"), "in memory") {
		t.Errorf("logged %v", r)
	}
	s.stop()
}

// TestLogSaysWhere: paths in the log are absolute, and durations have a unit.
func TestLogSaysWhere(t *testing.T) {
	t.Parallel()
	shows(t, "storage.data-dir")
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	relative, err := filepath.Rel(wd, filepath.Join(dir, "here"))
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, "", "--data-dir", relative)
	if got := s.waitLog("store opened").text("data_dir"); got != filepath.Join(dir, "here") {
		t.Errorf("the data directory is logged as %q", got)
	}
	if got := s.waitLog("starting").text("config"); got != filepath.Join(s.dir, "promptmq.yaml") {
		t.Errorf("the file is logged as %q", got)
	}
	if took := s.waitLog("store loaded").text("took"); took == "" {
		t.Errorf("a duration is logged as %v", s.waitLog("store loaded")["took"])
	} else if _, err := time.ParseDuration(took); err != nil {
		t.Error(err)
	}
	r := run(t, nil, "server", "--data-dir", filepath.Join(relative, "..", "..", "001", "here"), "--server-bind", "127.0.0.1:0", "--metrics-enabled=false")
	if !strings.Contains(r.stderr, filepath.Join(dir, "here")) || strings.Contains(r.stderr, "..") {
		t.Errorf("the directory in use: %s", r.stderr)
	}
	if _, ack := connectRaw(t, s.mqtt, codec.Version5, "c", nil); ack.Reason != codec.Success {
		t.Error(ack.Reason)
	}
}
