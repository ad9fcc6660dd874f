package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// TestListenersOfTheFile starts a broker with nothing but a file, for the flags
// of the harness would win over its addresses.
func TestListenersOfTheFile(t *testing.T) {
	t.Parallel()
	other := "[::1]"
	if ln, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Logf("no IPv6 on this machine: %v", err)
		other = "127.0.0.3"
	} else {
		_ = ln.Close()
	}
	for name, c := range map[string]struct {
		yaml string
		want []string // kinds of listeners
	}{
		"both":      {"server: {bind: '127.0.0.1:0', ws-bind: '127.0.0.1:0'}", []string{"mqtt 127.0.0.1", "websocket 127.0.0.1"}},
		"no TCP":    {"server: {bind: '', ws-bind: '" + other + ":0'}", []string{"websocket " + other}},
		"WebSocket": {"server: {bind: '127.0.0.1:0', ws-bind: ''}", []string{"mqtt 127.0.0.1"}},
		"another":   {"server: {bind: '127.0.0.2:0', ws-bind: ''}", []string{"mqtt 127.0.0.2"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file := filepath.Join(dir, "promptmq.yaml")
			yaml := fmt.Sprintf("%s\nstorage: {data-dir: %q}\nmetrics: {enabled: false}\n", c.yaml, filepath.Join(dir, "data"))
			if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), binary, "server", "--config", file)
			cmd.Env = environ()
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			stuck := time.AfterFunc(startSeconds*time.Second, func() { _ = cmd.Process.Kill() })
			defer stuck.Stop()
			var got []string
			ready := false
			for lines := bufio.NewScanner(stderr); lines.Scan(); {
				var r record
				if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
					t.Errorf("%q: %v", lines.Text(), err)
				}
				if r.text("msg") == "listening" {
					addr := r.text("addr")
					if r.text("listener") == "mqtt" {
						p, _ := connectRaw(t, addr, codec.Version5, "c", nil)
						p.quiet()
					}
					got = append(got, r.text("listener")+" "+addr[:strings.LastIndex(addr, ":")])
				}
				if r.text("msg") == "ready" {
					ready = true
					if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := cmd.Wait(); err != nil || !ready {
				t.Errorf("ready: %v; end: %v", ready, err)
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("listens on %q, expected %q", got, c.want)
			}
		})
	}
}

// TestSocketPathLength: a path as long as the configuration allows can be listened on, and one
// that is longer is refused with what is allowed.
func TestSocketPathLength(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/"
	longest := dir + strings.Repeat("s", max(0, 97-len(dir)))
	if len(longest) > 97 {
		t.Skip("the directory of the test has too long a name")
	}
	const listener = "server: {listeners: [{kind: unix, address: %q}]}"
	start(t, fmt.Sprintf(listener, longest))
	if nc, err := net.Dial("unix", longest); err != nil {
		t.Error(err)
	} else {
		_ = nc.Close()
	}
	file := filepath.Join(t.TempDir(), "promptmq.yaml")
	writeText(t, file, fmt.Sprintf(listener, longest+"s"))
	if r := run(t, nil, "config", "check", file); r.code == 0 || !strings.Contains(r.stderr, "at most 97 bytes") {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
}
