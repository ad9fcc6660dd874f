package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// ownNetwork gives the test, and the processes that it starts, a network with nothing but
// loopback, where every port is free. It does not hold for other goroutines.
func ownNetwork(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // for good: the thread is of no use to others
	if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
		t.Skip("a network of its own needs root: ", err)
	}
	if err := bringUpLoopback(); err != nil {
		t.Fatal(err)
	}
}

// shell makes the command of a line as it is printed for a person.
func shell(t *testing.T, line string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sh", "-c", "exec "+strings.TrimSpace(line)) // no context: that ends before the broker is to
	cmd.Env = append(environ(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
	return cmd
}

// serveAs starts the broker by a line that was printed, until the test has ended.
func serveAs(t *testing.T, line string) {
	t.Helper()
	cmd := shell(t, line)
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v\n%s", line, err, &log)
		}
	})
	eventually(t, "ready", func() bool { return shell(t, strings.Replace(line, "server", "health", 1)).Run() == nil })
}

var nextLines = regexp.MustCompile(`(?m)^ +promptmq .*$`)

// answered runs a line that was printed, and types a password when it is asked for.
func answered(t *testing.T, line, password string) (shown string, code int) {
	t.Helper()
	words := regexp.MustCompile(`'[^']*'|\S+`).FindAllString(strings.TrimSpace(line), -1)
	for i, w := range words {
		words[i] = strings.Trim(w, "'")
	}
	return typed(t, []string{password}, words[1:]...)
}

// TestInitNext: what init prints to do next works as it stands: a message is seen, the page lets
// the first user in, another one is added, and a stranger is refused.
func TestInitNext(t *testing.T) {
	unraced(t)
	t.Parallel()
	for _, args := range []string{"--access users --tls self-made", "--access users --tls none", "--access local", "--access anyone --no-page --metrics off"} {
		t.Run(args, func(t *testing.T) {
			ownNetwork(t)
			dir := filepath.Join(t.TempDir(), "my broker")
			r := run(t, nil, append([]string{"init", dir, "--yes"}, strings.Fields(args)...)...)
			if r.code != 0 {
				t.Fatal(r.stderr)
			}
			next := nextLines.FindAllString(r.stdout, -1)
			serveAs(t, next[0])
			seesMessage(t, next[1], next[2])
			_, password, _ := strings.Cut(r.stdout, "not shown again: ")
			password, _, _ = strings.Cut(password, "\n")
			if !strings.Contains(args, "--no-page") {
				signsIn(t, "admin", password)
			}
			if strings.Contains(args, "users") {
				addsUser(t, dir, r.stdout)
			}
			if strings.Contains(args, "self-made") {
				overTLS(t, dir, password)
			}
		})
	}
}

// seesMessage runs the commands that subscribe and publish.
func seesMessage(t *testing.T, sub, pub string) {
	t.Helper()
	cmd := shell(t, sub)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100)
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
		close(lines)
	}()
	eventually(t, "the message", func() bool {
		if out, err := shell(t, pub).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", pub, err, out)
		}
		select {
		case line := <-lines:
			if line != "hello/world it works" {
				t.Fatalf("%s: %q", sub, line)
			}
			return true
		default:
			return false
		}
	})
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
}

// signsIn asks the API of the page with a password, and with a wrong one.
func signsIn(t *testing.T, user, password string) {
	t.Helper()
	for password, want := range map[string]int{password: http.StatusOK, password + "x": http.StatusUnauthorized} {
		c, err := net.Dial("tcp", pageAddress)
		if err != nil {
			t.Fatal(err)
		}
		r, _ := http.NewRequest(http.MethodGet, "http://"+pageAddress+"/api/v1/users", nil)
		r.SetBasicAuth(user, password)
		if err := r.Write(c); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = c.Close()
		if resp.StatusCode != want {
			t.Errorf("status %d, expected %d", resp.StatusCode, want)
		}
	}
}

// addsUser follows what is said of another user, and sees strangers refused.
func addsUser(t *testing.T, dir, told string) {
	t.Helper()
	_, more, _ := strings.Cut(told, "Another user: ")
	var lines []string
	for line := range strings.Lines(more) {
		lines = append(lines, strings.ReplaceAll(line, "NAME", "bob"))
	}
	config := filepath.Join(dir, setupFile)
	if shown, code := typed(t, []string{"secret", "secret"}, "user", "add", "bob", "--config", config); code != 0 || !strings.Contains(lines[0], "promptmq user add bob --config "+shellWord(config)) {
		t.Errorf("%s: code %d\n%s", lines[0], code, shown)
	}
	if out, err := shell(t, lines[1]).CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", lines[1], err, out)
	}
	for line, want := range map[string]bool{
		"promptmq pub -u bob -P secret -q 1 -t bob/x -m 1": true, "promptmq pub -u bob -P secret -q 1 -t ann/x -m 1": false,
		"promptmq pub -q 1 -t bob/x -m 1": false, "promptmq pub -u bob -P wrong -q 1 -t bob/x -m 1": false,
	} {
		if out, err := shell(t, line).CombinedOutput(); (err == nil) != want {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
	}
}

// overTLS publishes as another machine would.
func overTLS(t *testing.T, dir, password string) {
	t.Helper()
	for _, with := range []string{"-p 8883", "-p 8443 --ws"} {
		line := fmt.Sprintf("promptmq pub -q 1 -h localhost %s --cafile %s -u admin -P %s -t a -m 1", with, shellWord(filepath.Join(dir, setupCert, caFile)), password)
		if out, err := shell(t, line).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
	}
}

// TestInitAsks: at a terminal the four questions are asked, and the first user's name and password;
// the commands that are printed ask for the password.
func TestInitAsks(t *testing.T) {
	unraced(t)
	t.Parallel()
	ownNetwork(t)
	dir := filepath.Join(t.TempDir(), "broker")
	shown, code := typed(t, []string{"9", "1", "", filepath.Join(dir, "store"), "off", "ann", "canary", "canary"}, "init", dir)
	if code != 0 || strings.Contains(shown, "canary") {
		t.Fatalf("code %d\n%s", code, shown)
	}
	has(t, shown, "Who may connect?", "a number from 1 to 3", "TLS, so that", "Where do the data live?", "Who may read metrics", "Name of the first user [admin]", "sign in as ann", dir+"/store")
	next := nextLines.FindAllString(shown, -1)
	serveAs(t, strings.TrimSpace(next[0]))
	if shown, code := answered(t, next[2], "canary"); code != 0 || !strings.Contains(next[2], "--password-file -") || strings.Contains(shown, "canary") {
		t.Errorf("%s: code %d\n%s", next[2], code, shown)
	}
	if shown, code := answered(t, next[2], "wrong"); code != exitFailure {
		t.Errorf("%s: code %d\n%s", next[2], code, shown)
	}
	other := filepath.Join(t.TempDir(), "broker")
	if shown, code := typed(t, []string{"users", "none", "", "", "", ""}, "init", other); code != 0 || !strings.Contains(shown, "The password of admin, which is not shown again: ") {
		t.Errorf("code %d\n%s", code, shown)
	}
	for _, answers := range [][]string{{"\x04"}, {"1", "2", "/none", "/none", "", "", ""}, {"2", "", "", "", "ann", "one", "two"}} {
		gone := filepath.Join(t.TempDir(), "broker")
		if shown, code := typed(t, answers, "init", gone); code == 0 {
			t.Errorf("%q: code %d\n%s", answers, code, shown)
		}
		if _, err := os.Stat(gone); err == nil {
			t.Errorf("%q: left %v", answers, made(t, gone))
		}
	}
}

// TestInitOwner: root makes what the owner of the data directory can use.
func TestInitOwner(t *testing.T) {
	unraced(t)
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	if err := os.Chown(data, nobody, nobody); err != nil {
		t.Skip(err)
	}
	r := run(t, nil, "init", dir, "--yes")
	if r.code != 0 || !strings.Contains(r.stdout, "run the broker as that user") {
		t.Fatalf("code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	for name, want := range map[string]uint32{"data/promptmq.db": nobody, "data/promptmq.lock": nobody, "certs/key.pem": nobody, "certs/ca-key.pem": 0, setupFile: 0} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Sys().(*syscall.Stat_t).Uid; got != want {
			t.Errorf("%s belongs to %d, expected %d", name, got, want)
		}
	}
}
