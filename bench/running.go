package bench

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A running is a broker that was started for a run.
type running struct {
	cmd      *exec.Cmd
	url      string
	caFile   string
	protocol string // the newest it speaks
	exited   chan struct{}
}

// startSeconds bounds how long a broker may take until it lets a client in.
const startSeconds = 60

func (c *contender) start(ctx context.Context, dir string) (*running, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	fill := strings.NewReplacer("{port}", strconv.Itoa(port), "{dir}", dir)
	if c.config != "" {
		// The broker may run as another user, and must reach its file.
		if err := os.Chmod(dir, 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, "broker.conf"), []byte(fill.Replace(c.config)), 0o644); err != nil {
			return nil, err
		}
	}
	var output bytes.Buffer
	// As many files as the system allows, which some brokers do not ask for; exec:
	// the process is the broker's.
	cmd := exec.Command("sh", "-c", "ulimit -n $(ulimit -Hn); "+fill.Replace(cmp.Or(c.before, "true"))+" && exec "+fill.Replace(c.command))
	cmd.Stdout, cmd.Stderr, cmd.Dir = &output, &output, dir
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	b := &running{cmd: cmd, url: fill.Replace(cmp.Or(c.url, "tcp://127.0.0.1:{port}")), caFile: fill.Replace(c.caFile), exited: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ends is not measured
		close(b.exited)
	}()
	r := Runner{URL: b.url, CAFile: b.caFile, Timeout: time.Second}
	for deadline := time.Now().Add(startSeconds * time.Second); ; {
		var err error
		for _, r.Protocol = range []string{"5", "3.1.1"} { // not every broker has MQTT 5
			var client *client
			if client, err = r.connect(ctx, connecting{id: r.name(), source: -1}); err == nil {
				client.leave()
				b.protocol = r.Protocol
				return b, nil
			}
		}
		select {
		case <-b.exited:
			return nil, fmt.Errorf("%s ended at once: %s", c.name, bytes.TrimSpace(output.Bytes()))
		case <-time.After(20 * time.Millisecond):
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			b.stop()
			return nil, fmt.Errorf("%s does not let a client in: %w", c.name, err)
		}
	}
}

// stop ends the broker, if need be by force.
func (b *running) stop() {
	_ = b.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-b.exited:
	case <-time.After(startSeconds * time.Second):
		_ = b.cmd.Process.Kill()
		<-b.exited
	}
}

// freePort returns a port of 127.0.0.1 that nobody listens on now. It is none of
// those that a system gives to connections and to who asks for any port, so that
// it is still free when the broker comes.
func freePort() (port int, err error) {
	for range 100 {
		port = 10_000 + rand.IntN(20_000)
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, err
}
