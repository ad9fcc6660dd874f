package link

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	proxyproto "github.com/pires/go-proxyproto"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// proxyV2Of is a header of version 2, with a TLV.
func proxyV2Of(t *testing.T, source string) []byte {
	t.Helper()
	a := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(source))
	h := proxyproto.HeaderProxyFromAddrs(2, a, a)
	if err := h.SetTLVs([]proxyproto.TLV{{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte("example")}}); err != nil {
		t.Fatal(err)
	}
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestProxyProtocol: behind a trusted proxy a connection has the address that the header
// says, is not local, and has lost no byte; all else is closed.
func TestProxyProtocol(t *testing.T) {
	f := newTLSFixture(t)
	local := []byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00")
	for _, c := range []struct {
		name, header string
		want         string // "": it is closed; "proxy": its own address
		reason       string
	}{
		{"version 1", "PROXY TCP4 203.0.113.9 192.0.2.1 4711 1883\r\n", "203.0.113.9", ""},
		{"version 1, IPv6", "PROXY TCP6 2001:db8::1 2001:db8::2 4711 1883\r\n", "2001:db8::1", ""},
		{"version 1, unknown", "PROXY UNKNOWN\r\n", "proxy", ""},
		{"version 1, unknown, long", "PROXY UNKNOWN ffff:f:f:f:f:f:f:f ffff:f:f:f:f:f:f:f 65535 65535\r\n", "proxy", ""},
		{"version 2", string(proxyV2Of(t, "203.0.113.9:4711")), "203.0.113.9", ""},
		{"version 2, IPv6", string(proxyV2Of(t, "[2001:db8::1]:4711")), "2001:db8::1", ""},
		{"version 2, loopback", string(proxyV2Of(t, "127.0.0.1:4711")), "127.0.0.1", ""},
		{"version 2, local", string(local), "proxy", ""},
		{"none", "\x10\x0c\x00\x04MQTT\x05\x02\x00\x00\x00\x00", "", "no PROXY header"},
		{"no line", "PROXY " + strings.Repeat("x", 200), "", "no PROXY header"},
		{"no address", "PROXY TCP4 x y 1 2\r\n", "", "bad PROXY header"},
		{"half a line", "PROXY TCP4 1.2.3.4\n", "", "bad PROXY header"},
		{"64 KB", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff", "", "no PROXY header"},
		{"too short", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x01x", "", "bad PROXY header"},
		{"nothing", "", "", "no PROXY header"},
	} {
		for _, kind := range []string{KindTCP, KindTLS, KindWS, KindWSS} {
			t.Run(c.name+" "+kind, func(t *testing.T) {
				accepted := make(chan Accepted, 1)
				n := newTestNetwork(t, 10, func(n *Network, a Accepted) {
					accepted <- a
					(&echo{t: a.Transport, n: n}).serve()
				})
				l := f.listener(kind)
				l.ProxyProtocol, l.TrustedProxies = true, loopback
				nc := n.testListenAs(t, l)()
				if _, err := io.WriteString(nc, c.header); err != nil {
					t.Fatal(err)
				}
				if c.want == "" {
					_ = nc.(*net.TCPConn).CloseWrite()
					if _, err := io.Copy(io.Discard, nc); err != nil && isTimeout(err) {
						t.Error("still open")
					}
					eventually(t, func() string {
						if n.c.Metrics.Refused(c.reason).Get() != 1 {
							return "not counted as " + c.reason
						}
						return ""
					})
					return
				}
				if kind == KindTLS || kind == KindWSS {
					nc = tls.Client(nc, f.client())
				}
				sent, want := []byte("abc"), []byte("abc")
				if kind == KindWS || kind == KindWSS {
					upgraded(t, nc)
					sent, want = masked(OpBinary, "abc"), AppendFrame(nil, OpBinary, want)
				}
				exchange(t, nc, sent, want)
				a := <-accepted
				p, is := PeerOf(a.Transport), a.Transport.RemoteAddr().String()
				if c.want == "proxy" {
					if !p.Address.IsLoopback() || is != nc.LocalAddr().String() || a.Local {
						t.Errorf("address %v, %s, local %v", p.Address, is, a.Local)
					}
				} else if p.Address.String() != c.want || !strings.HasSuffix(is, ":4711") || a.Local {
					t.Errorf("address %v, %s, local %v", p.Address, is, a.Local)
				}
			})
		}
	}
}

// TestUntrustedProxy: a header from elsewhere than a trusted proxy is not even read.
func TestUntrustedProxy(t *testing.T) {
	n := newTestNetwork(t, 10, nil)
	nc := n.testListenAs(t, ListenerConfig{Name: "tcp", Kind: KindTCP, ProxyProtocol: true, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})()
	if _, err := nc.Write(proxyV2Of(t, "203.0.113.9:4711")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, nc); err != nil && isTimeout(err) {
		t.Error("still open")
	}
	if got := n.c.Metrics.Refused("untrusted proxy").Get(); got != 1 {
		t.Errorf("%d are counted", got)
	}
}

// TestHalfProxyHeader: who does not go on with a header is closed in time.
func TestHalfProxyHeader(t *testing.T) {
	n := newTestNetwork(t, 10, nil)
	n.c.ConnectTimeout = 300 * time.Millisecond
	dial := n.testListenAs(t, ListenerConfig{Name: "tcp", Kind: KindTCP, ProxyProtocol: true, TrustedProxies: loopback})
	for _, half := range []string{"", "PRO", "PROXY TCP4 1.2", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"} {
		nc := dial()
		if _, err := io.WriteString(nc, half); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, nc); err != nil && isTimeout(err) {
			t.Errorf("%q: still open", half)
		}
	}
}

// FuzzProxyHeader: whatever comes, nothing but the header is read, and nothing panics.
func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 203.0.113.9 192.0.2.1 4711 1883\r\nrest"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x01\x02\x03\x04\x01\x02\x03\x04\x00\x01\x00\x02rest"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		h, err := parseProxyHeader(r)
		if err != nil {
			return
		}
		if read := len(b) - r.Len(); read > proxyV2Max || h.Version == 1 && (read > proxyV1Max || b[read-1] != '\n') {
			t.Errorf("%d bytes of %q were read", read, b)
		}
	})
}

// TestForwardedFor: the last address that no trusted proxy has counts; without one, or from
// elsewhere, the header does not.
func TestForwardedFor(t *testing.T) {
	proxies := append([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, loopback...)
	for _, c := range []struct {
		name    string
		trusted []netip.Prefix
		lines   []string
		want    string // "": 400
	}{
		{"one", proxies, []string{"203.0.113.9"}, "203.0.113.9:0"},
		{"made up before", proxies, []string{"127.0.0.1, 203.0.113.9"}, "203.0.113.9:0"},
		{"two proxies", proxies, []string{"198.51.100.7, 203.0.113.9, 10.1.2.3"}, "203.0.113.9:0"},
		{"two lines", proxies, []string{"198.51.100.7, 203.0.113.9", "10.1.2.3"}, "203.0.113.9:0"},
		{"only proxies", proxies, []string{"10.1.1.1, 10.1.2.3"}, "10.1.1.1:0"},
		{"with a port", proxies, []string{"203.0.113.9:4711"}, "203.0.113.9:4711"},
		{"IPv6", proxies, []string{"2001:db8::1"}, "[2001:db8::1]:0"},
		{"IPv6 with a port", proxies, []string{"[2001:db8::1]:4711"}, "[2001:db8::1]:4711"},
		{"IPv4 in IPv6", proxies, []string{"::ffff:203.0.113.9"}, "203.0.113.9:0"},
		{"no address", proxies, []string{"203.0.113.9, unknown"}, ""},
		{"no address that counts", proxies, []string{"unknown, 203.0.113.9"}, "203.0.113.9:0"},
		{"no header", proxies, nil, "proxy"},
		{"not trusted", proxies[:1], []string{"203.0.113.9"}, "proxy"},
		{"not trusted, no address", proxies[:1], []string{"x"}, "proxy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			accepted := make(chan Accepted, 1)
			n := newTestNetwork(t, 10, func(n *Network, a Accepted) {
				accepted <- a
				(&echo{t: a.Transport, n: n}).serve()
			})
			nc := n.testListenAs(t, ListenerConfig{Name: "ws", Kind: KindWS, ForwardedFor: true, TrustedProxies: c.trusted})()
			head := strings.TrimSuffix(upgradeRequest, "\r\n")
			for _, line := range c.lines {
				head += "X-Forwarded-For: " + line + "\r\n"
			}
			resp := ask(t, nc, head+"\r\n")
			if c.want == "" {
				if resp.StatusCode != http.StatusBadRequest || n.c.Metrics.Refused("forwarded address").Get() != 1 {
					t.Error(resp.Status)
				}
				return
			}
			want := c.want
			if want == "proxy" {
				want = nc.LocalAddr().String()
			}
			if a := <-accepted; a.Transport.RemoteAddr().String() != want || a.Local || PeerOf(a.Transport).Address != netip.MustParseAddrPort(want).Addr() {
				t.Errorf("%v, local %v, want %s", a.Transport.RemoteAddr(), a.Local, want)
			}
		})
	}
}

// TestListenerConfigCheck: what cannot be meant is refused.
func TestListenerConfigCheck(t *testing.T) {
	n := newTestNetwork(t, 10, nil)
	for i, c := range []ListenerConfig{
		{Name: "x", Kind: "udp"}, {Kind: KindTCP}, {Name: "x", Kind: KindTLS}, {Name: "x", Kind: KindTCP, ForwardedFor: true, TrustedProxies: loopback},
		{Name: "x", Kind: KindTCP, ProxyProtocol: true}, {Name: "x", Kind: KindWS, ForwardedFor: true}, {Name: "x", Kind: KindUnix, ProxyProtocol: true, TrustedProxies: loopback},
	} {
		c.Address, c.Key = "127.0.0.1:0", fmt.Sprintf("server.listeners[%d].address", i)
		if err := n.Listen(c); err == nil || !strings.Contains(err.Error(), c.Key) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
