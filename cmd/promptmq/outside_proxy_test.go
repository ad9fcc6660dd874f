//go:build outside

package main

import (
	"context"
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

// runProxy runs a proxy in the foreground until the test ends.
func runProxy(t *testing.T, name, config string, args func(file string) []string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), name+".conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program(t, name), args(file)...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s: %s", name, out.String())
		}
	})
}

// TestOutsideProxies: nginx and haproxy in front. The client comes from 127.0.0.2, which the
// proxy tells, and 127.0.0.1 is the proxy.
func TestOutsideProxies(t *testing.T) {
	t.Parallel()
	s := start(t, `
auth: {allow-anonymous: true}
server:
  listeners:
    - {name: proxied, kind: tcp, address: "127.0.0.1:0", proxy-protocol: true, trusted-proxies: 127.0.0.1}
    - {name: web, kind: ws, address: "127.0.0.1:0", forwarded-for: true, trusted-proxies: 127.0.0.1, origins: any}
    - {name: distrusting, kind: tcp, address: "127.0.0.1:0", proxy-protocol: true, trusted-proxies: 192.0.2.1}
`, "--log-level", "debug")
	v1, v2, web, distrusted := freeAddress(t), freeAddress(t), freeAddress(t), freeAddress(t)
	dir := t.TempDir()
	runProxy(t, "nginx", fmt.Sprintf(`
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error.log;
events {}
stream {
  server { listen %[2]s; proxy_pass %[3]s; proxy_protocol on; }
  server { listen %[4]s; proxy_pass %[5]s; proxy_protocol on; }
}
http {
  access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  server {
    listen %[6]s;
    location /mqtt {
      proxy_pass http://%[7]s; proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }
  }
}
`, dir, v1, s.listening("proxied"), distrusted, s.listening("distrusting"), web, s.listening("web")), func(file string) []string { return []string{"-c", file} })
	runProxy(t, "haproxy", fmt.Sprintf(`
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen v2
  bind %s
  server broker %s send-proxy-v2
`, v2, s.listening("proxied")), func(file string) []string { return []string{"-db", "-f", file} })

	for name, addr := range map[string]string{"nginx, PROXY v1": v1, "haproxy, PROXY v2": v2} {
		awaitPort(t, addr)
		out, err := output(t, "mosquitto_pub", "-A", "127.0.0.2", "-h", "127.0.0.1", "-p", portOf(t, addr), "-i", "by-"+portOf(t, addr), "-t", "x", "-m", "x", "-q", "1")
		if err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
		s.awaitConnected("by-"+portOf(t, addr), "127.0.0.2")
	}
	awaitPort(t, distrusted)
	if out, err := output(t, "mosquitto_pub", "-h", "127.0.0.1", "-p", portOf(t, distrusted), "-t", "x", "-m", "x"); err == nil {
		t.Errorf("a proxy that is not trusted was believed: %s", out)
	}

	awaitPort(t, web)
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	ws, _, err := websocket.Dial(t.Context(), "ws://"+web+"/mqtt", &websocket.DialOptions{
		Subprotocols: []string{"mqtt"}, HTTPClient: &http.Client{Transport: &http.Transport{DialContext: from.DialContext}},
	})
	if err != nil {
		t.Fatal(err)
	}
	connectOver(t, websocket.NetConn(context.Background(), ws, websocket.MessageBinary), codec.Version5, "by-web", nil)
	s.awaitConnected("by-web", "127.0.0.2")
}

// awaitConnected waits for the log line of a client, and checks where it is said to be.
func (s *server) awaitConnected(client, host string) {
	s.t.Helper()
	for end := time.Now().Add(startSeconds * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		for _, r := range s.linesOf("client connected") {
			if r.text("client") != client {
				continue
			}
			if got, _, _ := net.SplitHostPort(r.text("remote")); got != host {
				s.t.Errorf("%s is at %s, want %s", client, r.text("remote"), host)
			}
			return
		}
	}
	s.t.Errorf("%s did not connect", client)
}
