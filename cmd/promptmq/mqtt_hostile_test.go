package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/x0a1b/promptmq/codec"
)

// dialSilentWebSocket returns a WebSocket that is written to and never read, so
// that no close handshake of the broker is ever answered.
func dialSilentWebSocket(t *testing.T, s *server) *websocket.Conn {
	t.Helper()
	ws, _, err := websocket.Dial(t.Context(), "ws://"+s.ws, &websocket.DialOptions{Subprotocols: []string{"mqtt"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	return ws
}

func writeWebSocket(t *testing.T, ws *websocket.Conn, b []byte, err error) {
	t.Helper()
	if err == nil {
		err = ws.Write(t.Context(), websocket.MessageBinary, b)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// soon runs f and fails if it takes as long as a peer that does not answer can
// make the broker wait for it; each time, for a machine may be slow.
func soon(t *testing.T, what string, f func()) {
	t.Helper()
	for tries := 1; ; tries++ {
		began := time.Now()
		f()
		d := time.Since(began)
		if d < 3*time.Second {
			return
		}
		if tries == 5 {
			t.Fatalf("%s took %v", what, d)
		}
		t.Logf("%s took %v: again", what, d)
	}
}

// TestSilentWebSocketHoldsNobodyUp: a peer that is to be closed and does not
// answer the WebSocket close handshake must not delay anybody else: not the
// commits, not who publishes to it, not who takes its session over.
func TestSilentWebSocketHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	bystander := v5Of(t, s, "bystander", nil)
	publishes := func() {
		t.Helper()
		for i := range uint16(10) {
			bystander.publish(codec.Publish{QoS: 1, PacketID: 1 + i, Retain: true, Topic: codec.View("all/kept"), Payload: codec.View("x")})
			bystander.ack(codec.TypePuback)
		}
	}
	connect := func(id string, v codec.Version, then []byte) *websocket.Conn {
		ws := dialSilentWebSocket(t, s)
		b, err := codec.AppendConnect(nil, &codec.Connect{ClientID: codec.View(id), CleanStart: true, RequestProblemInformation: true}, v)
		writeWebSocket(t, ws, append(b, then...), err)
		return ws
	}
	publish, err := codec.AppendPublish(nil, &codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View("k"), Payload: codec.View("x")}, codec.Version5)
	if err != nil {
		t.Fatal(err)
	}
	subscribe, err := codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, []codec.Subscription{{Filter: codec.View("all/#"), QoS: 1}}, codec.Version5)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 { // held acknowledgements, subscribed, then against the protocol
		b := bytes.Join([][]byte{subscribe, publish, {0xF0, 0}}, nil)
		soon(t, "publishing while a wrong peer is closed", func() {
			connect(fmt.Sprint("wrong", i), codec.Version5, b)
			publishes()
		})
	}
	for _, v := range []codec.Version{codec.Version311, codec.Version5} {
		soon(t, "taking over, and publishing meanwhile", func() {
			connect("taken", v, nil)
			eventually(t, "it is connected", func() bool { return s.metric("promptmq_sessions_connected") == 2 })
			next, _ := connectRaw(t, s.mqtt, v, "taken", nil)
			publishes()
			_ = next.Close()
			eventually(t, "it is gone", func() bool { return s.metric("promptmq_sessions_connected") == 1 })
		})
	}
	eventually(t, "the connections are gone", func() bool { return s.metric("promptmq_connections_current") == 1 })
}

// TestIdleHTTPIsClosed: what connects to the WebSocket listener and is no
// WebSocket does not stay.
func TestIdleHTTPIsClosed(t *testing.T) {
	t.Parallel()
	s := start(t, "server: {connect-timeout: 300ms}")
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
			nc := dialTCP(t, s.ws)
			defer nc.Close()
			if _, err := nc.Write([]byte(request)); err != nil {
				t.Fatal(err)
			}
			if err := nc.SetReadDeadline(time.Now().Add(clientSeconds * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, nc); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection stays open")
			}
		})
	}
}

// TestWebSocketTimeouts: the Keep Alive and the read timeout count for
// WebSocket too.
func TestWebSocketTimeouts(t *testing.T) {
	t.Parallel()
	s := start(t, "server: {read-timeout: 5s, connect-timeout: 5s}") // no machine takes as long from connecting to CONNECT
	silent, half := dialSilentWebSocket(t, s), dialSilentWebSocket(t, s)
	gone := func(ws *websocket.Conn, what string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), clientSeconds*time.Second)
		defer cancel()
		for {
			if _, _, err := ws.Read(ctx); err != nil {
				if ctx.Err() != nil {
					t.Errorf("%s: stays open", what)
				}
				return
			}
		}
	}
	b, err := codec.AppendConnect(nil, &codec.Connect{ClientID: codec.View("idle"), CleanStart: true, RequestProblemInformation: true}, codec.Version5)
	writeWebSocket(t, half, append(b, 0x30, 100, 0), err)
	gone(silent, "no CONNECT")
	gone(half, "half a packet")

	// A server of its own, whose read timeout no slow machine reaches before CONNECT.
	s = start(t, "mqtt: {keep-alive: 1}")
	idle := dialSilentWebSocket(t, s)
	writeWebSocket(t, idle, b, nil)
	gone(idle, "nothing sent")
	// The WebSocket ends with its deadline, and the broker learns of it after the peer.
	eventually(t, "the Keep Alive timeout is counted", func() bool { return s.metric("promptmq_keep_alive_timeouts_total") == 1 })
}

// TestCrowdBeforeConnect: many that connect and say nothing keep nobody out and
// leave nothing behind.
func TestCrowdBeforeConnect(t *testing.T) {
	t.Parallel()
	s := start(t, "server: {connect-timeout: 5s}\nmqtt: {max-connections: 2}")
	before := s.metric("promptmq_system_goroutines")
	crowd := make([]net.Conn, 300)
	for i := range crowd {
		crowd[i] = dialTCP(t, []string{s.mqtt, s.ws}[i/2%2])
		defer crowd[i].Close()
		if i%2 == 0 {
			if _, err := crowd[i].Write([]byte{0x10, 0xFF, 0xFF, 0x3F, 0}); err != nil {
				t.Fatal(err)
			}
		}
	}
	p := v5Of(t, s, "guest", nil)
	p.quiet()
	_ = p.Close()
	ws := v5OverWebSocket(t, s, "guest", nil)
	ws.quiet()
	_ = ws.Close()
	eventually(t, "the crowd is gone", func() bool {
		return s.metric("promptmq_connections_current") == 0 && s.metric("promptmq_system_goroutines") <= before+5
	})
}

// TestViolationIsTold: a client that is still sending when it is refused learns
// why, although the broker does not read what it sends.
func TestViolationIsTold(t *testing.T) {
	t.Parallel()
	s := start(t, "mqtt: {max-packet-size: 2048}")
	for range 20 {
		p := v5Of(t, s, "sender", nil)
		_, _ = p.Write(append([]byte{0x30, 0x80, 0x80, 0x10}, make([]byte, 100<<10)...))
		p.closed(codec.PacketTooLarge)
		_ = p.Close()
	}
}
