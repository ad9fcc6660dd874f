package link

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// A caller connects to a listener as if from an address, and says what came of it.
type caller struct {
	f        *tlsFixture
	kind     string
	proxy    bool // the address comes in a header of the PROXY protocol
	forwards bool // it comes in X-Forwarded-For
	dial     func() net.Conn
}

// newCaller opens a listener of which this machine is a trusted proxy, if any.
func newCaller(t *testing.T, n *Network, f *tlsFixture, kind string, proxy, forwards bool) *caller {
	l := f.listener(kind)
	if l.ProxyProtocol, l.ForwardedFor = proxy, forwards; proxy || forwards {
		l.TrustedProxies = loopback
	}
	return &caller{f, kind, proxy, forwards, n.testListenAs(t, l)}
}

// call returns the status of the answer to a request for a WebSocket, 0 if the connection is
// closed in place of one, and for other kinds 101 if what is sent is echoed.
func (c *caller) call(t *testing.T, from string) int {
	t.Helper()
	nc := c.dial()
	defer nc.Close()
	if c.proxy {
		header := "PROXY TCP4 " + from + " 192.0.2.200 4711 1883\r\n"
		if from == "" {
			header = "PROXY UNKNOWN\r\n"
		}
		_, _ = io.WriteString(nc, header) // an error: it is closed
	}
	if c.kind == KindTLS || c.kind == KindWSS {
		secure := tls.Client(nc, c.f.client())
		if err := secure.Handshake(); err != nil {
			return 0
		}
		nc = secure
	}
	if c.kind == KindTCP || c.kind == KindTLS {
		got := make([]byte, 3)
		_, _ = io.WriteString(nc, "abc")
		if _, err := io.ReadFull(nc, got); err != nil {
			if isTimeout(err) {
				t.Error("still open")
			}
			return 0
		}
		return http.StatusSwitchingProtocols
	}
	request := upgradeRequest
	if c.forwards && from != "" {
		request = strings.TrimSuffix(request, "\r\n") + "X-Forwarded-For: " + from + "\r\n\r\n"
	}
	_, _ = io.WriteString(nc, request)
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		return 0
	}
	return resp.StatusCode
}

// ways are those in which it becomes known where a Client is, but for that of its socket.
func ways(t *testing.T, test func(t *testing.T, f *tlsFixture, kind string, proxy, forwards bool)) {
	f := newTLSFixture(t)
	for _, kind := range []string{KindTCP, KindTLS, KindWS, KindWSS} {
		t.Run("PROXY protocol to "+kind, func(t *testing.T) { test(t, f, kind, true, false) })
	}
	for _, kind := range []string{KindWS, KindWSS} {
		t.Run("X-Forwarded-For to "+kind, func(t *testing.T) { test(t, f, kind, false, true) })
	}
}

func (n *Network) expectRefused(t *testing.T, cause string, want int) {
	t.Helper()
	if got := n.c.Metrics.Refused(cause).Get(); got != uint64(want) {
		t.Errorf("%d are counted as %q, not %d", got, cause, want)
	}
}

// TestBannedAddress: a connection from a banned address is closed as soon as the address is
// known, before TLS and before a request is looked at; a proxy is not its clients.
func TestBannedAddress(t *testing.T) {
	banned := netip.MustParseAddr("203.0.113.9")
	ways(t, func(t *testing.T, f *tlsFixture, kind string, proxy, forwards bool) {
		n := newTestNetwork(t, 10, nil)
		n.c.Banned = func(a netip.Addr) bool { return a == banned || a.IsLoopback() }
		c := newCaller(t, n, f, kind, proxy, forwards)
		want := 0
		if forwards {
			want = http.StatusForbidden
		}
		if got := c.call(t, banned.String()); got != want {
			t.Errorf("a banned address: %d", got)
		}
		n.expectRefused(t, bannedAddress, 1)
		if got := c.call(t, banned.Next().String()); got != http.StatusSwitchingProtocols {
			t.Errorf("another address: %d", got)
		}
		if got := c.call(t, ""); got != want {
			t.Errorf("the proxy itself: %d", got)
		}
		n.expectRefused(t, bannedAddress, 2)
		if handshakes := n.c.Metrics.Refused("TLS handshake").Get(); handshakes != 0 {
			t.Errorf("%d handshakes were begun", handshakes)
		}
	})
	f := newTLSFixture(t)
	for _, kind := range []string{KindTCP, KindTLS, KindWS, KindWSS} {
		n := newTestNetwork(t, 10, nil)
		n.c.Banned = netip.Addr.IsLoopback
		if got := newCaller(t, n, f, kind, false, false).call(t, ""); got != 0 {
			t.Errorf("%s: %d", kind, got)
		}
		n.expectRefused(t, bannedAddress, 1)
		n.expectRefused(t, "TLS handshake", 0)
	}
}

// TestRateBehindProxy: behind a proxy the rate of an address counts where the Client is, and not
// the proxy; who is turned away costs others nothing.
func TestRateBehindProxy(t *testing.T) {
	ways(t, func(t *testing.T, f *tlsFixture, kind string, proxy, forwards bool) {
		n := newTestNetwork(t, 100, nil)
		now := time.Now()
		n.c.Now = func() time.Time { return now }
		n.SetRates(20, 3)
		c := newCaller(t, n, f, kind, proxy, forwards)
		want := 0
		if forwards {
			want = http.StatusTooManyRequests
		}
		for i := range 30 {
			if got := c.call(t, "203.0.113.9"); i < 3 && got != http.StatusSwitchingProtocols || i >= 3 && got != want {
				t.Errorf("connection %d: %d", i, got)
			}
		}
		n.expectRefused(t, rateOfAddress, 27)
		for i := range 17 { // of the listener's 20
			from := ""
			if i%2 == 0 {
				from = fmt.Sprintf("203.0.113.%d", 10+i)
			}
			if got := c.call(t, from); got != http.StatusSwitchingProtocols {
				t.Errorf("from %q: %d", from, got)
			}
		}
		n.expectRefused(t, rateOfConnection, 0)
		if got := c.call(t, "203.0.113.200"); got != want {
			t.Errorf("beyond the rate of the listener: %d", got)
		}
		n.expectRefused(t, rateOfConnection, 1)
	})
}

// TestRateOfStrangers: who is no trusted proxy is counted at accept, whatever it says.
func TestRateOfStrangers(t *testing.T) {
	n := newTestNetwork(t, 100, nil)
	now := time.Now()
	n.c.Now = func() time.Time { return now }
	n.SetRates(0, 3)
	dial := n.testListenAs(t, ListenerConfig{Name: "ws", Kind: KindWS, ForwardedFor: true, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	c := &caller{kind: KindWS, forwards: true, dial: dial}
	for i := range 6 {
		want := http.StatusSwitchingProtocols
		if i >= 3 {
			want = 0
		}
		if got := c.call(t, fmt.Sprintf("203.0.113.%d", i)); got != want {
			t.Errorf("connection %d: %d", i, got)
		}
	}
	n.expectRefused(t, rateOfAddress, 3)
}
