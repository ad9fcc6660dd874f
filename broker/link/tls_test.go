package link

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"
)

func (f *tlsFixture) listener(kind string) ListenerConfig {
	own := f.TLSConfig
	return ListenerConfig{Name: kind, Kind: kind, Key: "key", TLS: &own}
}

// TestTLSKinds: bytes go through TLS and WebSockets over TLS, with TLS 1.2 and 1.3.
func TestTLSKinds(t *testing.T) {
	f := newTLSFixture(t)
	n := newTestNetwork(t, 10, nil)
	dialTLS, dialWSS := n.testListenAs(t, f.listener(KindTLS)), n.testListenAs(t, f.listener(KindWSS))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c := f.client()
		c.MinVersion, c.MaxVersion = version, version
		exchange(t, tls.Client(dialTLS(), c), []byte("abc"), []byte("abc"))
		exchange(t, upgraded(t, tls.Client(dialWSS(), c)), masked(OpBinary, "abc"), AppendFrame(nil, OpBinary, []byte("abc")))
	}
	c := f.client()
	c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if _, err := echoes(dialTLS(), c); err == nil {
		t.Error("TLS 1.1 is accepted")
	}
	eventually(t, func() string {
		if got := n.failures("protocol version"); got != 1 {
			return fmt.Sprint(got, " failures")
		}
		return ""
	})
}

// TestTLSStream: whatever the pieces, all bytes come back, and in order, while both sides
// write as fast as they can.
func TestTLSStream(t *testing.T) {
	f := newTLSFixture(t)
	n := newTestNetwork(t, 10, nil)
	dial := n.testListenAs(t, f.listener(KindTLS))
	for seed := range uint64(8) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		sent := make([]byte, 3_000_000)
		for i := range sent {
			sent[i] = byte(rnd.Uint32())
		}
		nc := tls.Client(dial(), f.client())
		go func() {
			for left := sent; len(left) > 0; {
				k := min(len(left), []int{1, 100, 5000, 20_000, 300_000}[rnd.IntN(5)])
				if _, err := nc.Write(left[:k]); err != nil {
					return // what comes back shows it
				}
				left = left[k:]
			}
		}()
		got := make([]byte, len(sent))
		if k, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("seed %d: %d bytes of %d, or others: %v", seed, k, len(sent), err)
		}
		_ = nc.Close()
	}
}

// TestHalfHandshakes: who begins a handshake and goes on with nothing is closed in time, and
// keeps nobody out.
func TestHalfHandshakes(t *testing.T) {
	f := newTLSFixture(t)
	f.HandshakeTimeout = 500 * time.Millisecond
	n := newTestNetwork(t, 10_000, nil)
	dial := n.testListenAs(t, f.listener(KindTLS))
	const many = handshakesAtOnce + 50
	var half []net.Conn
	for range many {
		nc := dial()
		if _, err := nc.Write([]byte("\x16\x03\x01\x02\x00\x01\x00\x01")); err != nil { // of a ClientHello of 508 bytes
			t.Fatal(err)
		}
		half = append(half, nc)
	}
	if _, err := echoes(dial(), f.client()); err != nil {
		t.Errorf("an honest client: %v", err)
	}
	for i, nc := range half {
		if _, err := io.Copy(io.Discard, nc); err != nil && isTimeout(err) {
			t.Fatalf("%d is still open", i)
		}
	}
	eventually(t, func() string {
		if late, many := n.failures("timeout"), n.failures("too many at once"); late+many != uint64(len(half)) || many < 50 {
			return fmt.Sprintf("%d were late, %d too many", late, many)
		}
		return ""
	})
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

// TestNoTLS: what is no TLS, or claims too much, ends that connection, counted by its reason.
func TestNoTLS(t *testing.T) {
	f := newTLSFixture(t)
	n := newTestNetwork(t, 10, nil)
	dial := n.testListenAs(t, f.listener(KindTLS))
	for _, c := range []struct{ name, send, reason string }{
		{"MQTT", "\x10\x0c\x00\x04MQTT\x05\x02\x00\x00\x00\x00", "no TLS"},
		{"HTTP", "GET / HTTP/1.1\r\n\r\n", "no TLS"},
		{"a record of 64 KB", "\x16\x03\x01\xff\xff", "too large"},
		{"a message of 16 MB", "\x16\x03\x01\x00\x04\x01\xff\xff\xff", "too large"},
		{"a ServerHello", "\x16\x03\x01\x00\x06\x02\x00\x00\x02\x03\x03", "malformed"},
		{"application data", "\x17\x03\x03\x00\x01x", "no TLS"},
	} {
		nc := dial()
		if _, err := io.WriteString(nc, c.send); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, nc); err != nil && isTimeout(err) {
			t.Errorf("%s: still open", c.name)
		}
		eventually(t, func() string {
			if n.c.Metrics.HandshakeFailures(c.reason).Get() == 0 {
				return c.name + ": not counted as " + c.reason
			}
			return ""
		})
		n.c.Metrics.HandshakeFailures(c.reason).Set(0)
	}
}
