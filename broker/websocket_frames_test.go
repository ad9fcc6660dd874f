package broker_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/codec"
)

// TestWebSocketSaysWhy: over WebSocket too the last that a client gets is
// DISCONNECT with the reason, and then comes a close frame with a code that fits.
func TestWebSocketSaysWhy(t *testing.T) {
	t.Parallel()
	s := newListening(t, func(o *broker.Options) { o.ReadTimeout = 2 * time.Second; o.MaxPacketSize = 2048 })
	for _, c := range []struct {
		name      string
		keepAlive uint16
		send      []byte
		reason    codec.ReasonCode
		status    int
	}{
		{"Keep Alive", 1, nil, codec.KeepAliveTimeout, 1008},
		{"half a packet", 0, []byte{0x30, 100, 0}, codec.ProtocolError, 1002},
		{"not allowed", 0, []byte{0xF0, 0}, codec.ProtocolError, 1002},
		{"malformed", 0, []byte{0xC0, 1, 0}, codec.MalformedPacket, 1002},
		{"too large", 0, []byte{0x30, 0xFF, 0xFF, 3}, codec.PacketTooLarge, 1009},
		{"a topic not to be published to", 0, []byte{0x30, 7, 0, 3, '+', '/', '#', 0, 0}, codec.TopicNameInvalid, 1008},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ws := openWebSocket(t, s)
			p, _ := overWebSocket(t, ws, c.name, func(k *codec.Connect) { k.KeepAliveSeconds = c.keepAlive })
			if c.send != nil {
				ws.frame(0x82, c.send)
			}
			p.closed(c.reason)
			if ws.status != c.status {
				t.Errorf("close frame %d, not %d", ws.status, c.status)
			}
		})
	}
	t.Run("taken over", func(t *testing.T) {
		t.Parallel()
		ws := openWebSocket(t, s)
		p, _ := overWebSocket(t, ws, "taken", nil)
		v5OverTCP(t, s, "taken", nil)
		if p.closed(codec.SessionTakenOver); ws.status != 1008 {
			t.Errorf("close frame %d", ws.status)
		}
	})
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		ws := openWebSocket(t, s)
		p, ack := overWebSocket(t, ws, "refused", func(k *codec.Connect) {
			k.HasWill, k.Will.Topic = true, codec.View("$SYS/x")
		})
		if p.closed(codec.Success); ack.Reason != codec.NotAuthorized || ws.status != 1008 {
			t.Errorf("%v, close frame %d", ack.Reason, ws.status)
		}
	})
}

// TestWebSocketShutdown: at the end of the broker come DISCONNECT and a close
// frame.
func TestWebSocketShutdown(t *testing.T) {
	t.Parallel()
	s := newListening(t, func(o *broker.Options) { o.ShutdownNotice = true })
	ws := openWebSocket(t, s)
	p, _ := overWebSocket(t, ws, "c", nil)
	s.stop()
	if p.closed(codec.ServerShuttingDown); ws.status != 1001 {
		t.Errorf("close frame %d", ws.status)
	}
}

// TestWebSocketViolations: what breaks WebSocket ends the connection and the
// Session's part in it at once, also if the peer answers nothing, and is told to
// it with the right code. [MQTT-6.0.0-1]
func TestWebSocketViolations(t *testing.T) {
	t.Parallel()
	s := newListening(t)
	watch := v5OverTCP(t, s, "watch", nil)
	watch.subscribeOne("wills/#", 0)
	for _, c := range []struct {
		name   string
		bytes  []byte // as they go to the socket
		status int
	}{
		{"text", []byte{0x81, 0x80, 0, 0, 0, 0}, 1003},
		{"not masked", []byte{0x82, 2, 0xC0, 0}, 1002},
		{"reserved bit", []byte{0xC2, 0x80, 0, 0, 0, 0}, 1002},
		{"unknown frame", []byte{0x83, 0x80, 0, 0, 0, 0}, 1002},
		{"continuation of nothing", []byte{0x80, 0x80, 0, 0, 0, 0}, 1002},
		{"message in a message", []byte{0x02, 0x80, 0, 0, 0, 0, 0x82, 0x80, 0, 0, 0, 0}, 1002},
		{"long ping", append([]byte{0x89, 0xFE, 0, 126, 0, 0, 0, 0}, make([]byte, 126)...), 1002},
		{"negative length", []byte{0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 1002},
	} {
		soon(t, c.name, func() {
			ws := openWebSocket(t, s)
			p, _ := overWebSocket(t, ws, "c", func(k *codec.Connect) {
				k.HasWill, k.Will.Topic, k.Will.Payload = true, codec.View("wills/c"), codec.View(c.name)
			})
			if _, err := ws.Conn.Write(c.bytes); err != nil {
				t.Fatal(err)
			}
			if got := watch.receive(); string(got.Payload) != c.name { // the Session is detached
				t.Errorf("%s: %q", c.name, got.Payload)
			}
			if p.closed(codec.Success); ws.status != c.status {
				t.Errorf("%s: close frame %d, not %d", c.name, ws.status, c.status)
			}
			if _, err := ws.br.ReadByte(); err != io.EOF {
				t.Errorf("%s: after the close frame: %v", c.name, err)
			}
		})
	}
}

// TestWebSocketPieces: packets may be cut in any way: over frames, over fragments
// of a message with control frames between them, and over what the socket brings.
func TestWebSocketPieces(t *testing.T) {
	t.Parallel()
	s := newListening(t)
	ws := openWebSocket(t, s)
	p, _ := overWebSocket(t, ws, "c", nil)
	p.subscribeOne("t", 0)
	payload := bytes.Repeat([]byte("0123456789"), 9000)
	packet, err := codec.AppendPublish(nil, &codec.Publish{Topic: codec.View("t"), Payload: payload}, codec.Version5)
	if err != nil {
		t.Fatal(err)
	}
	pinged := 0
	for _, sizes := range [][]int{{len(packet)}, {1, 0, 5, 125, 126, 0, 65535, 65536}, {30000}} {
		rest, first := packet, byte(0x02)
		for i := 0; len(rest) > 0; i++ {
			n := min(sizes[i%len(sizes)], len(rest))
			if n == len(rest) {
				first |= 0x80
			}
			ws.frame(first, rest[:n])
			rest, first = rest[n:], 0
			if len(rest) > 0 {
				ws.frame(0x89, []byte("ping"))
				pinged++
			}
		}
		if got := p.receive(); !bytes.Equal(got.Payload, payload) {
			t.Errorf("%v: %d bytes came", sizes, len(got.Payload))
		}
	}
	// A byte at a time on the socket.
	mask := []byte{0x82, 0x82, 1, 2, 3, 4, 0xC0 ^ 1, 0 ^ 2}
	for i := range mask {
		if _, err := ws.Conn.Write(mask[i : i+1]); err != nil {
			t.Fatal(err)
		}
	}
	p.expect(codec.TypePingresp)
	if ws.pongs != pinged {
		t.Errorf("%d pongs for %d pings", ws.pongs, pinged)
	}
}

// TestWebSocketWritesAreCounted: each once, and its bytes.
func TestWebSocketWritesAreCounted(t *testing.T) {
	t.Parallel()
	s := newListening(t)
	p := v5OverWebSocket(t, s, "c", nil)
	eventually(t, "CONNACK is counted", func() bool { return s.metric("promptmq_bytes_sent_total") > 0 })
	writes, sent := s.metric("promptmq_socket_writes_total"), s.metric("promptmq_bytes_sent_total")
	const pings = 50
	for range pings {
		p.quiet()
	}
	eventually(t, "all are counted", func() bool { return s.metric("promptmq_bytes_sent_total")-sent == 2*pings })
	if n := s.metric("promptmq_socket_writes_total") - writes; n != pings {
		t.Errorf("%v writes are counted for %d", n, pings)
	}
}

// TestWebSocketTakeover: what a client sent before it connected again is handled
// before that, over WebSocket too, and its DISCONNECT makes the Will void.
func TestWebSocketTakeover(t *testing.T) {
	t.Parallel()
	s := newListening(t)
	watch := v5OverTCP(t, s, "watch", nil)
	watch.subscribeOne("from/#", 0)
	const rounds, messages = 20, 50
	for round := range rounds {
		ws := openWebSocket(t, s)
		overWebSocket(t, ws, "c", func(k *codec.Connect) {
			k.HasWill, k.Will.Topic, k.Will.Payload = true, codec.View("from/will"), codec.View("will")
		})
		for i := range messages {
			b, err := codec.AppendPublish(nil, &codec.Publish{Topic: codec.View("from/c"), Payload: codec.View(fmt.Sprint(round, i))}, codec.Version5)
			if err != nil {
				t.Fatal(err)
			}
			ws.frame(0x82, b)
		}
		ws.frame(0x82, []byte{0xE0, 0})
		_ = ws.Conn.Close()
		next := v5OverWebSocket(t, s, "c", nil)
		for i := range messages {
			if got := watch.receive(); string(got.Payload) != fmt.Sprint(round, i) {
				t.Fatalf("round %d, message %d: %s %q", round, i, got.Topic, got.Payload)
			}
		}
		watch.quiet()
		_ = next.Close()
	}
}
