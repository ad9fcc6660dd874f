package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// Passwords are compared in a process of the lowest priority, which is told nothing where
// others could read it, is replaced when it dies, and does not outlive the server.
func TestComparedApart(t *testing.T) {
	t.Parallel()
	s := withPasswords(t, "auth: {remember-password: 0s}\n")
	login := func(password string, want codec.ReasonCode) {
		t.Helper()
		if got := s.loginAs(codec.Version5, "ours", password); got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
	login("ours", codec.Success)
	first := s.comparers()
	if len(first) != 1 {
		t.Fatalf("processes that compare passwords: %v", first)
	}
	for _, name := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(first[0]), name))
		if want := map[string]string{"cmdline": "/proc/self/exe\x00compare-passwords\x00"}[name]; err != nil || string(text) != want {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", first[0]))
	if err != nil || len(tasks) < 2 {
		t.Fatalf("threads: %v, %v", tasks, err)
	}
	for _, task := range tasks {
		if stat := statAt(task); stat != nil && stat[18] != "19" {
			t.Errorf("%s: nice %s", task, stat[18])
		}
	}
	_ = syscall.Kill(first[0], syscall.SIGKILL)
	login("wrong", codec.BadUserNameOrPassword) // compared here, if its end was not yet seen
	login("ours", codec.Success)
	var last []int
	eventually(t, "another compares", func() bool {
		login("ours", codec.Success)
		last = s.comparers()
		return len(last) == 1 && last[0] != first[0]
	})
	s.kill()
	eventually(t, "none is left", func() bool { return statOf(last[0]) == nil })
}

// comparers are the children of the server that compare passwords.
func (s *server) comparers() (pids []int) {
	s.t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		command, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if stat := statOf(pid); err == nil && stat != nil && stat[3] == fmt.Sprint(s.cmd.Process.Pid) && bytes.Contains(command, []byte("compare-passwords")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// statOf is what the system says of a process that runs: as in proc(5), from index 0 on. nil:
// there is none, or it has ended.
func statOf(pid int) []string { return statAt(fmt.Sprintf("/proc/%d", pid)) }

func statAt(dir string) []string {
	text, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return nil
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := append([]string{"", ""}, strings.Fields(rest)...)
	if fields[2] == "Z" {
		return nil
	}
	return fields
}
