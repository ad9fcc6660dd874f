package main

import (
	"bufio"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// A developing is a broker that promptmq dev, or make dev, has started.
type developing struct {
	t   *testing.T
	cmd *exec.Cmd

	mu  sync.Mutex
	out strings.Builder // of standard output and standard error
}

// Write implements io.Writer.
func (d *developing) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.out.Write(p)
}

func (d *developing) text() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.out.String()
}

// develop starts a command, with more environment.
func develop(t *testing.T, cmd *exec.Cmd, env ...string) *developing {
	t.Helper()
	d := &developing{t: t, cmd: cmd}
	cmd.Env, cmd.Stdout, cmd.Stderr = environ(env...), d, d
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.end()
		if t.Failed() {
			t.Logf("%v\n%s", cmd.Args, d.text())
		}
	})
	return d
}

func (d *developing) end() {
	if d.cmd.ProcessState != nil {
		return
	}
	to := d.cmd.Process.Pid
	if a := d.cmd.SysProcAttr; a != nil && a.Setpgid {
		to = -to // all of them, as Ctrl-C at a terminal
	}
	_ = syscall.Kill(to, syscall.SIGTERM)
	if err := d.cmd.Wait(); err != nil && to > 0 { // make says that it was ended
		d.t.Error(err)
	}
}

// waits until the output has a pattern, and returns the first group of it.
func (d *developing) waits(pattern string) (found string) {
	d.t.Helper()
	eventually(d.t, pattern, func() bool {
		m := regexp.MustCompile(pattern).FindStringSubmatch(d.text())
		if m != nil {
			found = m[len(m)-1]
		}
		return m != nil
	})
	return found
}

// TestDev: promptmq dev needs no flags, is for this machine only, lets its token in, takes other
// ports when its own are taken, opens a browser, and leaves nothing.
func TestDev(t *testing.T) {
	unraced(t)
	t.Parallel()
	ownNetwork(t)
	tools, temporary := t.TempDir(), t.TempDir()
	opened := filepath.Join(tools, "opened")
	if err := os.WriteFile(filepath.Join(tools, "xdg-open"), []byte("#!/bin/sh\necho \"$@\" >"+opened+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	env := []string{"PATH=" + tools + ":" + os.Getenv("PATH"), "DISPLAY=:0", "TMPDIR=" + temporary}
	first := develop(t, exec.Command(binary, "dev"), env...)
	token := first.waits(`the page: http://127\.0\.0\.1:9092/, sign in with the token (\S+)`)
	data := first.waits(`the data: (\S+)`)
	first.waits(`beside it: promptmq status --data-dir ` + regexp.QuoteMeta(data) + `\n`)
	first.waits(`level=INFO msg=ready`)
	for _, address := range regexp.MustCompile(`msg=listening listener=\S+ addr=(\S+)`).FindAllStringSubmatch(first.text(), -1) {
		if !strings.HasPrefix(address[1], "127.0.0.1:") {
			t.Errorf("it listens on %s", address[1])
		}
	}
	if out, err := shell(t, "promptmq pub -t a -m 1 -q 1").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	first.waits(`level=DEBUG`)
	if r := run(t, nil, "upgrade", "--data-dir", data, binary); r.code != exitUsage || !strings.Contains(r.stderr, "promptmq dev") {
		t.Errorf("an upgrade, which would lose the data: %+v", r)
	}
	for token, want := range map[string]int{token: http.StatusOK, token + "x": http.StatusUnauthorized} {
		if got := asksWith(t, token); got != want {
			t.Errorf("status %d, expected %d", got, want)
		}
	}
	eventually(t, "the browser", func() bool {
		text, _ := os.ReadFile(opened)
		return string(text) == "http://127.0.0.1:9092/\n"
	})
	_ = os.Remove(opened)
	second := develop(t, exec.Command(binary, "dev", "--no-browser", "--log-level", "info", "--server-ws-bind", ""), env...)
	bind := second.waits(`127\.0\.0\.1:1883 is taken: server\.bind is (\S+)`)
	second.waits(`msg=ready`)
	if text := second.text(); !strings.Contains(text, "listener=mqtt addr="+bind) || strings.Contains(text, "level=DEBUG") || strings.Contains(text, "listener=websocket") {
		t.Error("flags and ports are not those that were said")
	}
	second.end()
	first.end()
	if _, err := os.Stat(data); err == nil || !strings.HasPrefix(data, temporary) {
		t.Errorf("%s is left", data)
	}
	if _, err := os.Stat(opened); err == nil {
		t.Error("a browser was opened with --no-browser")
	}
}

// asksWith asks the API with a token.
func asksWith(t *testing.T, token string) (status int) {
	t.Helper()
	c, err := net.Dial("tcp", pageAddress)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	r, _ := http.NewRequest(http.MethodGet, "http://"+pageAddress+"/api/v1/numbers", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	if err := r.Write(c); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), r)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

// TestMakeDev: make dev builds and starts again when a file has changed, and keeps the data and the
// token. What builds is a stand-in that copies the binary of the tests.
func TestMakeDev(t *testing.T) {
	unraced(t)
	t.Parallel()
	ownNetwork(t)
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip(err)
	}
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	dir, tools := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{
		filepath.Join(dir, "Makefile"): string(makefile), filepath.Join(dir, "a.go"): "package a\n",
		filepath.Join(tools, "go"): "#!/bin/sh\necho built\nrm -f .dev/promptmq\nexec cp " + binary + " .dev/promptmq\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("make", "dev")
	cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Setpgid: true} // as a shell does
	d := develop(t, cmd, "PATH="+tools+":"+os.Getenv("PATH"))
	token := d.waits(`sign in with the token (\S+)`)
	d.waits(`msg=ready`)
	if err := os.WriteFile(filepath.Join(dir, "a.go"), []byte("package b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.waits(`(?s)something has changed.*msg=stopped.*msg=ready`)
	if n := strings.Count(d.text(), "sign in with the token "+token); n != 2 {
		t.Errorf("the token was told %d times", n)
	}
}
