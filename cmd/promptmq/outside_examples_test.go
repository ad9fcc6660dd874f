//go:build outside

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/x0a1b/promptmq/codec"
)

// nginxExample is examples/behind-nginx.conf with ports, files and user of this test, and nothing else changed.
func nginxExample(t *testing.T, s *server, dir, secure, pages string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(examplesDir, "behind-nginx.conf"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer("user www-data;\n", "", "/run/nginx.pid", dir+"/pid", "/var/log/nginx/", dir+"/", "/etc/nginx/tls/", dir+"/tls/",
		"worker_rlimit_nofile 50000;\n", "", "listen 8883 ssl", "listen "+secure+" ssl", "listen 443 ssl", "listen "+pages+" ssl",
		"127.0.0.1:1884", s.listening("devices"), "127.0.0.1:8081", s.listening("web"),
		"http {\n", fmt.Sprintf("http {\nclient_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;\n", dir)).Replace(string(text))
}

// TestOutsideExampleNginx: nginx takes the file as it is written; a message goes through it over TLS and
// over WebSocket with TLS, and the broker knows where the client is. A stranger is refused, who lies
// about the address too.
func TestOutsideExampleNginx(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := exampleCertificates(t, dir, "unused")
	s := startExample(t, "behind-nginx", dir, "--server-bind", "", "--server-ws-bind", "")
	commander{t, s.dataDir()}.add("ann", "secret")
	secure, pages := freeAddress(t), freeAddress(t)
	config := nginxExample(t, s, dir, secure, pages)
	writeText(t, filepath.Join(dir, "nginx.conf"), config)
	if out, err := output(t, "nginx", "-t", "-c", filepath.Join(dir, "nginx.conf")); err != nil {
		t.Fatalf("nginx -t: %v\n%s", err, out)
	}
	runProxy(t, "nginx", config, func(file string) []string { return []string{"-g", "daemon off; master_process off;", "-c", file} })
	awaitPort(t, secure)
	awaitPort(t, pages)

	publish := func(user, password, id string) (string, error) {
		return output(t, "mosquitto_pub", "-A", "127.0.0.2", "-h", "localhost", "-p", portOf(t, secure), "--cafile", ca.file("ca", "crt"),
			"-u", user, "-P", password, "-i", id, "-t", "a/b", "-m", "by nginx", "-q", "1", "-r")
	}
	if out, err := publish("ann", "secret", "device"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.awaitConnected("device", "127.0.0.2")
	if out, err := publish("ann", "wrong", "stranger"); err == nil {
		t.Errorf("a stranger got in: %s", out)
	}

	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	client := &http.Client{Transport: &http.Transport{DialContext: from.DialContext, TLSClientConfig: &tls.Config{RootCAs: ca.pool(), ServerName: "localhost"}}}
	for origin, allowed := range map[string]bool{"https://app.example.com": true, "https://evil.example": false} {
		ws, _, err := websocket.Dial(t.Context(), "wss://"+pages+"/mqtt", &websocket.DialOptions{Subprotocols: []string{"mqtt"}, HTTPClient: client,
			HTTPHeader: http.Header{"Origin": {origin}, "X-Forwarded-For": {"203.0.113.9"}}})
		if (err == nil) != allowed {
			t.Fatalf("%s: %v", origin, err)
		}
		if !allowed {
			continue
		}
		page, ack := connectOver(t, websocket.NetConn(context.Background(), ws, websocket.MessageBinary), codec.Version5, "page", byUser("ann", "secret"))
		if ack.Reason != codec.Success {
			t.Fatalf("CONNACK %v", ack.Reason)
		}
		s.awaitConnected("page", "127.0.0.2")
		page.subscribeOne("a/#", 0)
		if m := page.receive(); m.Payload.String() != "by nginx" {
			t.Errorf("%q came", m.Payload)
		}
	}
}

// TestOutsideExampleSyncs counts the syncs of each example while 50 messages are published one by one. Where
// commits are synced there is one at least before each PUBACK.
func TestOutsideExampleSyncs(t *testing.T) {
	t.Parallel()
	const messages = 50
	for name, synced := range map[string]bool{"development": false, "high-throughput": false, "production": true, "high-durability": true, "home-automation": true} {
		s := startExample(t, name, t.TempDir())
		trace := filepath.Join(t.TempDir(), "trace")
		strace := exec.Command(program(t, "strace"), "-f", "-e", "trace=fsync,fdatasync", "-o", trace, "-p", fmt.Sprint(s.cmd.Process.Pid))
		if err := strace.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "strace is attached", func() bool {
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
			return err == nil && strings.Contains(string(status), fmt.Sprintf("TracerPid:\t%d\n", strace.Process.Pid))
		})
		var change func(*codec.Connect)
		if name == "home-automation" {
			commander{t, s.dataDir()}.add("ann", "secret", "--group", "homeassistant")
			change = byUser("ann", "secret")
		}
		sub := v5Of(t, s, "sub", func(c *codec.Connect) {
			lasting(c)
			if change != nil {
				change(c)
			}
		})
		sub.subscribeOne("t", 1)
		sub.drop()
		pub := v5Of(t, s, "pub", change)
		count := func() int {
			text, _ := os.ReadFile(trace)
			return strings.Count(string(text), "sync(")
		}
		before := count()
		for i := range uint16(messages) {
			if r := pub.publish1(1+i, "t", "x"); r != codec.Success {
				t.Fatalf("%s: PUBACK %v", name, r)
			}
		}
		// What strace has seen is in the file a little later.
		seen := func() int { return count() - before }
		if synced {
			for end := time.Now().Add(clientSeconds * time.Second); seen() < messages && time.Now().Before(end); {
				time.Sleep(10 * time.Millisecond)
			}
		}
		if n := seen(); synced != (n >= messages) {
			t.Errorf("%s: %d syncs for %d acknowledged messages", name, n, messages)
		} else {
			t.Logf("%s: %d syncs for %d acknowledged messages", name, n, messages)
		}
		_ = strace.Process.Signal(os.Interrupt)
		_ = strace.Wait()
		s.stop()
	}
}
