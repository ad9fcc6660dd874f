package link

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestRequestInPieces: a request, and what follows it, may come in any pieces.
func TestRequestInPieces(t *testing.T) {
	f := newTLSFixture(t)
	payload := strings.Repeat("early", 20)
	frames := strings.Repeat(string(masked(OpBinary, payload)), 100) // more than the HTTP server reads at a time
	for _, kind := range []string{KindWS, KindWSS} {
		for _, size := range []int{1, 7, len(upgradeRequest) - 2, len(upgradeRequest), 1 << 20} {
			t.Run(fmt.Sprintf("%s %d", kind, size), func(t *testing.T) {
				n := newTestNetwork(t, 10, nil)
				nc := n.testListenAs(t, f.listener(kind))()
				if kind == KindWSS {
					nc = tls.Client(nc, f.client())
				}
				sent := []byte(upgradeRequest + frames)
				if size < 10 {
					sent = []byte(upgradeRequest + frames[:2*(6+len(payload))])
				}
				for b := sent; len(b) > 0; b = b[min(size, len(b)):] {
					if _, err := nc.Write(b[:min(size, len(b))]); err != nil {
						t.Fatal(err)
					}
				}
				var head []byte
				for one := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); head = append(head, one...) {
					if _, err := nc.Read(one); err != nil {
						t.Fatalf("%q, %v", head, err)
					}
				}
				count := (len(sent) - len(upgradeRequest)) / (6 + len(payload))
				got, _ := readFrames(t, nc, count*len(payload), 0)
				if !bytes.Equal(got, bytes.Repeat([]byte(payload), count)) {
					t.Errorf("%d bytes came back of %d, or others", len(got), count*len(payload))
				}
			})
		}
	}
}

// TestNoRequest: what is no request, or not the whole of one, is answered or closed, and counted
// once; nothing is waited for behind a header.
func TestNoRequest(t *testing.T) {
	for _, c := range []struct {
		name, send string
		late       bool   // the end is that of the time for it
		answer     string // how it begins
		reason     string
	}{
		{"nothing", "", true, "", "no CONNECT"},
		{"half a request", "GET / HTTP/1.1\r\nHost: x\r\n", true, "", "no WebSocket request"},
		{"no HTTP", "hello\n", true, "", "no WebSocket request"},
		{"no HTTP, and its end", "hello\n\n", false, "HTTP/1.1 400 ", "no WebSocket request"},
		{"two hosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", false, "HTTP/1.1 400 ", "no WebSocket request"},
		{"lines without CR", "GET / HTTP/1.1\nHost: x\n\n", false, "HTTP/1.1 426 ", "no WebSocket request"},
		{"a body that does not come", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", false, "HTTP/1.1 426 ", "no WebSocket request"},
		{"a header that never ends", "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", heldMax), false, "HTTP/1.1 431 ", "no WebSocket request"},
		{"MQTT", "\x10\x10\x00\x04MQTT", false, "", "foreign protocol"},
		{"TLS", "\x16\x03\x01\x02\x00", false, "", "foreign protocol"},
		{"PROXY protocol", "PROXY TCP4 ", false, "", "foreign protocol"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := newTestNetwork(t, 10, nil)
			if n.c.ConnectTimeout = time.Hour; c.late {
				n.c.ConnectTimeout = 2 * time.Second // also for a machine that is slow to bring the bytes
			}
			nc := n.testListen(t, KindWS)()
			if _, err := io.WriteString(nc, c.send); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(nc)
			if err != nil && isTimeout(err) {
				t.Error("still open")
			}
			if !strings.HasPrefix(string(answer), c.answer) || c.answer == "" && len(answer) > 0 {
				t.Errorf("answered %q", answer)
			}
			eventually(t, func() string {
				if got := n.c.Metrics.Refused(c.reason).Get(); got != 1 {
					return fmt.Sprintf("counted %d times", got)
				}
				if n.Sockets() != 0 {
					return "it is not closed"
				}
				return ""
			})
		})
	}
}

// TestStopWhileRequestsCome: a Network that stops does not leave those whose request has not
// come, or that are in a handshake, to their deadlines.
func TestStopWhileRequestsCome(t *testing.T) {
	f := newTLSFixture(t)
	n := newTestNetwork(t, 10, nil)
	n.c.ConnectTimeout = time.Hour
	var all []net.Conn
	for _, kind := range []string{KindWS, KindWSS} {
		dial := n.testListenAs(t, f.listener(kind))
		for _, sent := range []string{"", "GET / HTTP/1.1\r\n", "\x16\x03\x01"} {
			if sent[:min(1, len(sent))] == "\x16" && kind == KindWS {
				continue // closed at once
			}
			nc := dial()
			if _, err := io.WriteString(nc, sent); err != nil {
				t.Fatal(err)
			}
			all = append(all, nc)
		}
	}
	eventually(t, func() string {
		if n.Sockets() < int64(len(all))-1 { // in the clear to TLS: closed at once
			return "not all are open"
		}
		return ""
	})
	n.Stop()
	for _, nc := range all {
		if _, err := io.Copy(io.Discard, nc); err != nil && isTimeout(err) {
			t.Error("still open")
		}
	}
}

// TestHeaderEnd: where a header ends does not depend on the pieces in which it comes.
func TestHeaderEnd(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, "GET / HTTP/1.1\r\n": 0, "\r\n": 0, "a\n\n": 3, "a\r\n\r\nrest": 5, "a\n\r\nrest": 4, "a\r\n\nrest": 4, "a\nb\n\n": 5, "\n\r\r\n": 0, "a\r\n \r\n\r\n": 8, "\n\n": 2,
	} {
		if got := headerEnd([]byte(text), 0); got != want {
			t.Errorf("%q: %d, not %d", text, got, want)
		}
		got := 0
		for i := 0; i < len(text) && got == 0; i++ {
			got = headerEnd([]byte(text[:i+1]), i)
		}
		if got != want {
			t.Errorf("%q byte by byte: %d, not %d", text, got, want)
		}
	}
}
