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

// TestBuffersCompared: the same bytes take fewer reads and writes with larger
// buffers.
func TestBuffersCompared(t *testing.T) {
	t.Parallel()
	count := func(yaml, metric string) float64 {
		s := start(t, yaml)
		sub := v5Of(t, s, "sub", nil)
		sub.subscribeOne("t", 0)
		pub := v5Of(t, s, "pub", nil)
		var batch []byte
		for range 200 {
			batch, _ = codec.AppendPublish(batch, &codec.Publish{Topic: codec.View("t"), Payload: make([]byte, 600)}, codec.Version5)
		}
		before := s.metric(metric)
		pub.send(batch, nil)
		for range 200 {
			sub.receive()
		}
		return s.metric(metric) - before
	}
	small := count("server: {read-buffer: 512}", "promptmq_socket_reads_total")
	large := count("server: {read-buffer: 1048576}", "promptmq_socket_reads_total")
	if small < 200 || large > small/4 {
		t.Errorf("120 KB in %v reads of at most 512 bytes and in %v of at most a megabyte", small, large)
	}
	small = count("server: {read-buffer: 1048576, write-buffer: 512}", "promptmq_socket_writes_total")
	large = count("server: {read-buffer: 1048576, write-buffer: 1048576}", "promptmq_socket_writes_total")
	if large > small/2 {
		t.Errorf("120 KB in %v writes from 512 bytes on and in %v from a megabyte on", small, large)
	}
}
