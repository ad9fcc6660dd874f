package broker_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/codec"
)

// TestSocketsAreLimited: what connects and says nothing is counted from accept on
// and closed when there are too many, whichever listener it is.
func TestSocketsAreLimited(t *testing.T) {
	t.Parallel()
	s := newListening(t, func(o *broker.Options) { o.ConnectTimeout = time.Hour; o.MaxConnections = 4 })
	const most, many = 4 + 8, 60
	var silent []net.Conn
	defer func() {
		for _, nc := range silent {
			_ = nc.Close()
		}
	}()
	for i := range many {
		silent = append(silent, dialTCP(t, []string{s.addr(), s.wsAddr()}[i%2]))
	}
	refused := func() float64 { return s.refused("too many connections") }
	eventually(t, "those that are too many are closed", func() bool { return refused() == many-most })
	eventually(t, fmt.Sprintf("all but %d of %d are closed", most, many), func() bool {
		open := 0
		for _, nc := range silent {
			if err := nc.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			if _, err := nc.Read(make([]byte, 1)); isTimeout(err) { // an end that is late looks so too
				open++
			}
		}
		return open == most
	})
	// Who is in stays, however many come.
	a, b := v5OverTCP(t, s, "a", nil), v5OverWebSocket(t, s, "b", nil)
	for i := range many {
		silent = append(silent, dialTCP(t, []string{s.addr(), s.wsAddr()}[i%2]))
	}
	eventually(t, "the others are closed", func() bool { return refused() == 2*many+2-most })
	a.quiet()
	b.quiet()
	lines := 0
	for _, r := range s.journal.all() {
		if strings.HasPrefix(r.text("msg"), "too many connections") {
			lines++
			if r.text("key") != "mqtt.max-connections" || r.text("remote") == "" {
				t.Errorf("%v", r)
			}
		}
	}
	if lines == 0 || lines > 6 { // one a minute for each listener
		t.Errorf("%d lines for %d connections", lines, int(refused()))
	}
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// TestEndedSocketsMakeRoom: connections that were refused, or have ended, and
// whose peers do not close keep nobody out.
func TestEndedSocketsMakeRoom(t *testing.T) {
	t.Parallel()
	s := newListening(t, func(o *broker.Options) { o.MaxConnections = 2 })
	for range 40 {
		p, _ := connectTCP(t, s, codec.Version5, "wrong", nil)
		p.write([]byte{0xF0, 0}, nil) // AUTH, which ends the connection, and then nothing
		ws := openWebSocket(t, s)
		q, _ := overWebSocket(t, ws, "wrong too", nil)
		q.write([]byte{0xF0, 0}, nil)
		q.closed(codec.ProtocolError)
		p.closed(codec.ProtocolError)
	}
	eventually(t, "their sessions are gone", func() bool { return s.metric("promptmq_sessions_connected") == 0 })
	v5OverTCP(t, s, "good", nil).quiet()
	v5OverWebSocket(t, s, "good too", nil).quiet()
	if n := s.refused("too many connections"); n != 0 {
		t.Errorf("%v are counted as refused", n)
	}
}

// TestIdleHTTPIsClosed: what connects to the WebSocket listener and is no
// WebSocket does not stay.
func TestIdleHTTPIsClosed(t *testing.T) {
	t.Parallel()
	s := newListening(t, func(o *broker.Options) { o.ConnectTimeout = 300 * time.Millisecond })
	for name, request := range map[string]string{
		"silence":     "",
		"half a head": "GET / HTTP/1.1\r\nHost: x\r\n",
		"no upgrade":  "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"kept alive":  "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
		"a body":      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx",
		"HTTP/1.0":    "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
		"HTTP/2":      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"to HTTP/2":   "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
		"long head":   "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 100<<10),
		"wrong key":   "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n",
		"MQTT":        "\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00",
		"binary":      "\x00\xff\x00\xff\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			nc := dialTCP(t, s.wsAddr())
			defer nc.Close()
			if _, err := nc.Write([]byte(request)); err != nil {
				t.Fatal(err)
			}
			if err := nc.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, nc); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection stays open")
			}
		})
	}
}
