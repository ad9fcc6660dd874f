package link

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ask sends a request and returns the answer, with its body read.
func ask(t *testing.T, nc net.Conn, request string) *http.Response {
	t.Helper()
	if _, err := io.WriteString(nc, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// TestWebSocketSettings: each listener has its path, origins and sub-protocols.
func TestWebSocketSettings(t *testing.T) {
	n := newTestNetwork(t, 20, nil)
	f := newTLSFixture(t)
	for _, l := range []ListenerConfig{
		{Name: "open", Kind: KindWS, Origins: AnyOrigin},
		{Name: "narrow", Kind: KindWSS, TLS: &f.TLSConfig, Path: "/mqtt", Origins: "https://app.example", OriginsKey: "server.listeners[1].origins", Subprotocols: []string{"mqtt"}},
	} {
		dial := n.testListenAs(t, l)
		for _, c := range []struct {
			path, origin, protocol string
			open, narrow           int // status
			says                   string
		}{
			{"/mqtt", "https://app.example", "mqtt", 101, 101, ""},
			{"/mqtt", "", "mqtt", 101, 101, ""},
			{"/", "https://app.example", "mqtt", 101, 404, `"narrow"`},
			{"/mqtt/", "https://app.example", "mqtt", 101, 404, "/mqtt/"},
			{"/mqtt", "https://evil.example", "mqtt", 101, 403, `"https://evil.example"`},
			{"/mqtt", "https://evil.example", "mqtt", 101, 403, "server.listeners[1].origins"},
			{"/mqtt", "null", "mqtt", 101, 403, "null"},
			{"/mqtt", "", "mqttv3.1", 101, 400, "mqttv3.1"},
			{"/mqtt", "", "amqp", 400, 400, "amqp"},
		} {
			nc := dial()
			if l.Kind == KindWSS {
				nc = tls.Client(nc, f.client())
			}
			request := strings.NewReplacer("GET /", "GET "+c.path, "Protocol: mqtt", "Protocol: "+c.protocol).Replace(upgradeRequest)
			if c.origin != "" {
				request = strings.TrimSuffix(request, "\r\n") + "Origin: " + c.origin + "\r\n\r\n"
			}
			resp := ask(t, nc, request)
			want := c.open
			if l.Name == "narrow" {
				want = c.narrow
			}
			if resp.StatusCode != want {
				t.Errorf("%s, %+v: %s", l.Name, c, resp.Status)
			}
			if resp.StatusCode == 101 {
				if got := resp.Header.Get("Sec-WebSocket-Protocol"); got != c.protocol {
					t.Errorf("%s, %+v: sub-protocol %q", l.Name, c, got)
				}
			} else if body, _ := io.ReadAll(resp.Body); l.Name == "narrow" && !strings.Contains(string(body), c.says) {
				t.Errorf("%+v: the answer is %q", c, body)
			}
			_ = nc.Close()
		}
	}
}

// TestPings: a WebSocket on which nothing is sent gets Pings, one that is busy none; the
// bytes that follow are not disturbed.
func TestPings(t *testing.T) {
	f := newTLSFixture(t)
	n := newTestNetwork(t, 20, nil)
	for _, kind := range []string{KindWS, KindWSS} {
		l := f.listener(kind)
		l.PingInterval = 200 * time.Millisecond
		nc := n.testListenAs(t, l)()
		if kind == KindWSS {
			nc = tls.Client(nc, f.client())
		}
		upgraded(t, nc)
		began := time.Now()
		for range 3 {
			exchange(t, nc, nil, []byte{opPing, 0})
			exchange(t, nc, masked(0x8A, ""), nil) // a Pong
		}
		if d := time.Since(began); d < 3*150*time.Millisecond-50*time.Millisecond {
			t.Errorf("%s: three Pings in %v", kind, d)
		}
		exchange(t, nc, masked(OpBinary, "abc"), AppendFrame(nil, OpBinary, []byte("abc")))
		got := make([]byte, 2)
		if _, err := io.ReadFull(nc, got); err != nil || got[0] != opPing {
			t.Errorf("%s: % x, %v", kind, got, err)
		}
	}
	quiet := f.listener(KindWS)
	quiet.Name = "quiet"
	nc := upgraded(t, n.testListenAs(t, quiet)())
	if err := nc.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if k, err := nc.Read(make([]byte, 2)); !isTimeout(err) {
		t.Errorf("without pings came %d bytes, %v", k, err)
	}
	eventually(t, func() string {
		l := n.Listener(KindWS)
		l.pings.mu.Lock()
		defer l.pings.mu.Unlock()
		if k := len(l.pings.all); k != 1 {
			return fmt.Sprint(k, " WebSockets are known")
		}
		return ""
	})
}

// TestMaxConnections: a listener that has as many as it may refuses more, and the others do
// not notice.
func TestMaxConnections(t *testing.T) {
	n := newTestNetwork(t, 1000, nil)
	small := n.testListenAs(t, ListenerConfig{Name: "small", Kind: KindTCP, MaxConnections: 3})
	other := n.testListenAs(t, ListenerConfig{Name: "other", Kind: KindTCP})
	for range 3 {
		exchange(t, small(), []byte("x"), []byte("x"))
		exchange(t, other(), []byte("x"), []byte("x"))
	}
	if _, err := small().Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("the fourth: %v", err)
	}
	eventually(t, func() string {
		if got := n.c.Metrics.ListenerRefused("small").Get(); got != 1 {
			return fmt.Sprintf("%d are counted", got)
		}
		return ""
	})
	for range 3 {
		exchange(t, other(), []byte("x"), []byte("x"))
	}
	eventually(t, func() string {
		if got := n.Listener("small").open.Load(); got != 3 {
			return fmt.Sprintf("%d are open", got)
		}
		return ""
	})
}

// TestUnixSocket: its peers are local; it has its mode, replaces one that nobody listens on
// and no other, and is gone in the end.
func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mqtt.sock")
	private := path + ".new"
	if err := os.Mkdir(private, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, filepath.Join(private, "s")} {
		stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		stale.SetUnlinkOnClose(false)
		if err := stale.Close(); err != nil { // as if it was killed
			t.Fatal(err)
		}
	}
	accepted := make(chan Accepted, 1)
	n := newTestNetwork(t, 10, func(n *Network, a Accepted) {
		accepted <- a
		(&echo{t: a.Transport, n: n}).serve()
	})
	c := ListenerConfig{Name: "unix", Kind: KindUnix, Address: path, Key: "key", Mode: 0o620}
	nc := n.testListenAs(t, c)()
	exchange(t, nc, []byte("abc"), []byte("abc"))
	a := <-accepted
	if !a.Local || PeerOf(a.Transport).Address.IsValid() || a.Transport.RemoteAddr().String() != "unix" {
		t.Errorf("local %v, address %v, %q", a.Local, PeerOf(a.Transport).Address, a.Transport.RemoteAddr())
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o620 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := os.Lstat(private); !os.IsNotExist(err) {
		t.Errorf("where it was made: %v", err)
	}
	c.Name = "second"
	if err := n.Listen(c); err == nil || !strings.Contains(err.Error(), "another program") {
		t.Errorf("a socket that is in use: %v", err)
	}
	exchange(t, nc, []byte("abc"), []byte("abc"))
	n.Stop()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("after the end: %v", err)
	}
	if err := os.WriteFile(path, []byte("a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n.Listen(c); err == nil {
		t.Error("a file that is no socket was replaced")
	}
}

// TestUpdate: what can change does, what cannot is named and stays, and what is bad changes
// nothing.
func TestUpdate(t *testing.T) {
	n := newTestNetwork(t, 10, nil)
	f := newTLSFixture(t)
	c := f.listener(KindTLS)
	c.Key = "server.listeners[0].address"
	dial := n.testListenAs(t, c)
	c.Address = n.Listener(KindTLS).Config().Address
	next := c
	next.Anonymous, next.MaxConnections = AnonymousNever, 7
	take, restart, err := n.Update([]ListenerConfig{next})
	if err != nil || len(restart) > 0 {
		t.Fatal(restart, err)
	}
	if n.Listener(KindTLS).Anonymous() == AnonymousNever {
		t.Error("it changes before it is taken")
	}
	take()
	if is := n.Listener(KindTLS).Config(); is.Anonymous != AnonymousNever || is.MaxConnections != 7 {
		t.Errorf("%+v", is)
	}
	next.Address, next.ProxyProtocol, next.TrustedProxies = "127.0.0.1:1", true, loopback
	next.MaxConnections = 8
	added := ListenerConfig{Name: "added", Kind: KindTCP, Address: "127.0.0.1:0", Key: "server.listeners[1].address"}
	take, restart, err = n.Update([]ListenerConfig{next, added})
	if want := "[server.listeners[0].address server.listeners[0].proxy-protocol server.listeners[1].address]"; err != nil || fmt.Sprint(restart) != want {
		t.Errorf("%v, %v", restart, err)
	}
	take()
	if is := n.Listener(KindTLS).Config(); is.ProxyProtocol || is.MaxConnections != 8 {
		t.Errorf("%+v", is)
	}
	if _, err := echoes(dial(), f.client()); err != nil {
		t.Error(err)
	}
	f.write(f.CertFile, []byte("no certificate"))
	if _, _, err := n.Update([]ListenerConfig{c}); err == nil || !strings.Contains(err.Error(), f.CertFile) {
		t.Errorf("a bad certificate: %v", err)
	}
}
