package broker_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/codec"
)

// dialSilentWebSocket returns a WebSocket that is written to and never read, so
// that no close handshake of the broker is ever answered.
func dialSilentWebSocket(t *testing.T, s *fixture) *websocket.Conn {
	t.Helper()
	ws, _, err := websocket.Dial(t.Context(), "ws://"+s.wsAddr(), &websocket.DialOptions{Subprotocols: []string{"mqtt"}})
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
	s := newListening(t)
	bystander := v5OverTCP(t, s, "bystander", nil)
	publishes := func() {
		t.Helper()
		for i := range uint16(10) {
			bystander.sendPublish(codec.Publish{QoS: 1, PacketID: 1 + i, Retain: true, Topic: codec.View("all/kept"), Payload: codec.View("x")})
			bystander.acked(codec.TypePuback)
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
			next, _ := connectTCP(t, s, v, "taken", nil)
			publishes()
			_ = next.Close()
			eventually(t, "it is gone", func() bool { return s.metric("promptmq_sessions_connected") == 1 })
		})
	}
	eventually(t, "the connections are gone", func() bool { return s.metric("promptmq_connections_current") == 1 })
}

// TestWebSocketTimeouts: the Keep Alive and the read timeout count for
// WebSocket too.
func TestWebSocketTimeouts(t *testing.T) {
	t.Parallel()
	s := newListening(t, func(o *broker.Options) { o.ReadTimeout = 5 * time.Second; o.ConnectTimeout = 5 * time.Second }) // no machine takes as long from connecting to CONNECT
	silent, half := dialSilentWebSocket(t, s), dialSilentWebSocket(t, s)
	gone := func(ws *websocket.Conn, what string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
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
	s = newListening(t, func(o *broker.Options) { o.KeepAliveSeconds = 1 })
	idle := dialSilentWebSocket(t, s)
	writeWebSocket(t, idle, b, nil)
	gone(idle, "nothing sent")
	// The WebSocket ends with its deadline, and the broker learns of it after the peer.
	eventually(t, "the Keep Alive timeout is counted", func() bool { return s.metric("promptmq_keep_alive_timeouts_total") == 1 })
}
