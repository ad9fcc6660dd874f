package main

import (
	"bufio"
	"bytes"
	numbers "encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// A webSocket is the client's end of one, frame by frame: what is read are the
// payloads of binary frames, what is written becomes one.
type webSocket struct {
	net.Conn
	t      *testing.T
	br     *bufio.Reader
	left   int // of the payload of a binary frame
	status int // of the close frame; 0: none came
	pongs  int
}

// askUpgrade sends the request of a WebSocket with these header lines, and those
// that it needs and are not among them, and reads the answer.
func askUpgrade(t *testing.T, addr string, lines ...string) (*webSocket, *http.Response) {
	t.Helper()
	nc := dialTCP(t, addr)
	t.Cleanup(func() { _ = nc.Close() })
	head := strings.Join(append([]string{"GET /mqtt HTTP/1.1"}, lines...), "\r\n") + "\r\n"
	for _, line := range []string{"Host: " + addr, "Connection: keep-alive, Upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: mqtt"} {
		if name, _, _ := strings.Cut(line, " "); !strings.Contains(head, "\r\n"+name) {
			head += line + "\r\n"
		}
	}
	if err := nc.SetReadDeadline(time.Now().Add(clientSeconds * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Write([]byte(head + "\r\n")); err != nil {
		t.Fatal(err)
	}
	ws := &webSocket{Conn: nc, t: t, br: bufio.NewReader(nc)}
	resp, err := http.ReadResponse(ws.br, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ws, resp
}

// openWebSocket is askUpgrade where it must succeed.
func openWebSocket(t *testing.T, s *server, lines ...string) *webSocket {
	t.Helper()
	ws, resp := askUpgrade(t, s.ws, lines...)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(resp.Body)
		t.Fatalf("%s: %s", resp.Status, body)
	}
	return ws
}

// frame sends one frame, masked.
func (w *webSocket) frame(first byte, payload []byte) {
	w.t.Helper()
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = numbers.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = numbers.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	key := []byte{0x12, 0x34, 0x56, 0x78}
	b = append(b, key...)
	for i, c := range payload {
		b = append(b, c^key[i%4])
	}
	if _, err := w.Conn.Write(b); err != nil {
		w.t.Fatal(err)
	}
}

func (w *webSocket) Write(b []byte) (int, error) {
	w.frame(0x82, b)
	return len(b), nil
}

func (w *webSocket) Read(b []byte) (int, error) {
	for w.left == 0 {
		first, payload, err := w.next()
		switch {
		case err != nil:
			return 0, err
		case first == 0x82:
			w.left = payload
		default:
			control := make([]byte, payload)
			if _, err := io.ReadFull(w.br, control); err != nil {
				return 0, err
			}
			switch {
			case first == 0x88 && len(control) >= 2:
				w.status = int(numbers.BigEndian.Uint16(control))
				return 0, io.EOF
			case first == 0x8A && string(control) == "ping":
				w.pongs++
			default:
				w.t.Errorf("frame %#x with %q", first, control)
			}
		}
	}
	n, err := w.br.Read(b[:min(len(b), w.left)])
	w.left -= n
	return n, err
}

// next reads the header of a frame.
func (w *webSocket) next() (first byte, length int, err error) {
	var h [8]byte
	if _, err := io.ReadFull(w.br, h[:2]); err != nil {
		return 0, 0, err
	}
	first, length = h[0], int(h[1])
	switch length {
	case 126:
		_, err = io.ReadFull(w.br, h[:2])
		length = int(numbers.BigEndian.Uint16(h[:]))
	case 127:
		_, err = io.ReadFull(w.br, h[:8])
		length = int(numbers.BigEndian.Uint64(h[:]))
	}
	return first, length, err
}

// overWebSocket makes a raw client of a WebSocket, and connects it.
func overWebSocket(t *testing.T, ws *webSocket, id string, change func(*codec.Connect)) (*raw, codec.Connack) {
	t.Helper()
	p := &raw{Conn: ws, t: t, v: codec.Version5}
	p.r.Reset(0)
	c := codec.Connect{ClientID: codec.View(id), CleanStart: true, ReceiveMaximum: 65535, RequestProblemInformation: true}
	if change != nil {
		change(&c)
	}
	p.send(codec.AppendConnect(nil, &c, codec.Version5))
	var ack codec.Connack
	p.expect(codec.TypeConnack, func(f codec.Frame) error { return ack.Decode(f, codec.Version5) })
	return p, ack
}

func v5OverWebSocket(t *testing.T, s *server, id string, change func(*codec.Connect)) *raw {
	t.Helper()
	p, ack := overWebSocket(t, openWebSocket(t, s), id, change)
	if ack.Reason != codec.Success {
		t.Fatalf("CONNACK %v", ack.Reason)
	}
	return p
}

// refused is how many connections were, for a reason.
func (s *server) refused(reason string) float64 {
	s.t.Helper()
	name := fmt.Sprintf("promptmq_connections_refused_total{reason=%q}", reason)
	if _, body := s.get("/metrics"); !strings.Contains(body, name) {
		return 0 // there was none yet
	}
	return s.metric(name)
}

// TestSocketsAreLimited: what connects and says nothing is counted from accept on
// and closed when there are too many, whichever listener it is.
func TestSocketsAreLimited(t *testing.T) {
	t.Parallel()
	s := start(t, "server: {connect-timeout: 1h}\nmqtt: {max-connections: 4}")
	const most, many = 4 + 8, 60
	var silent []net.Conn
	defer func() {
		for _, nc := range silent {
			_ = nc.Close()
		}
	}()
	for i := range many {
		silent = append(silent, dialTCP(t, []string{s.mqtt, s.ws}[i%2]))
	}
	refused := func() float64 { return s.refused("too many connections") }
	eventually(t, "those that are too many are closed", func() bool { return refused() == many-most })
	open := 0
	for _, nc := range silent {
		if err := nc.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := nc.Read(make([]byte, 1)); isTimeout(err) {
			open++
		}
	}
	if open != most {
		t.Errorf("%d of %d are open, not %d", open, many, most)
	}
	// Who is in stays, however many come.
	a, b := v5Of(t, s, "a", nil), v5OverWebSocket(t, s, "b", nil)
	for i := range many {
		silent = append(silent, dialTCP(t, []string{s.mqtt, s.ws}[i%2]))
	}
	eventually(t, "the others are closed", func() bool { return refused() == 2*many+2-most })
	a.quiet()
	b.quiet()
	lines := 0
	for _, r := range s.log() {
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

// TestWebSocketRefusals: a client that will not become one is told why in place
// of 101, and the connection is closed, counted and logged.
func TestWebSocketRefusals(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	for _, c := range []struct {
		name   string
		lines  []string
		status int
		body   string
		reason string
	}{
		{"another case", []string{"Sec-WebSocket-Protocol: Mqtt"}, 400, `"Mqtt"`, "sub-protocol"},
		{"none", []string{"Sec-WebSocket-Protocol: "}, 400, "must offer the WebSocket sub-protocol mqtt", "sub-protocol"},
		{"others", []string{"Sec-WebSocket-Protocol: chat, mqtt5"}, 400, `"chat, mqtt5"`, "sub-protocol"},
		{"no WebSocket", []string{"Upgrade: h2c"}, 426, "MQTT over WebSocket", "no WebSocket request"},
		{"origin", []string{"Origin: http://evil.example"}, 403, `"http://evil.example"`, "origin"},
		{"no origin", []string{"Origin: null"}, 403, `"null"`, "origin"},
		{"version", []string{"Sec-WebSocket-Version: 12"}, 400, "WebSocket protocol version", "bad WebSocket request"},
		{"key", []string{"Sec-WebSocket-Key: x"}, 400, "Sec-WebSocket-Key", "bad WebSocket request"},
	} {
		before := s.refused(c.reason)
		ws, resp := askUpgrade(t, s.ws, c.lines...)
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != c.status || !strings.Contains(string(body), c.body) {
			t.Errorf("%s: %s %q %v", c.name, resp.Status, body, err)
		}
		if _, err := ws.br.ReadByte(); err != io.EOF {
			t.Errorf("%s: the connection stays open: %v", c.name, err)
		}
		if n := s.refused(c.reason) - before; n != 1 {
			t.Errorf("%s: counted %v times", c.name, n)
		}
	}
	logged := map[string]bool{}
	for _, r := range s.log() {
		if r.text("msg") == "WebSocket request refused" {
			logged[r.text("origin")] = true
		}
	}
	if !logged["http://evil.example"] || !logged["null"] {
		t.Errorf("logged origins: %v", logged)
	}
}

// TestSubprotocol: the answer is what the client offered and the broker speaks,
// letter by letter. [MQTT-6.0.0-3] [MQTT-6.0.0-4]
func TestSubprotocol(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	for offer, want := range map[string]string{
		"Mqtt, mqtt": "mqtt", "chat,mqtt": "mqtt", "mqttv3.1, mqtt": "mqtt", "mqttv3.1": "mqttv3.1", "chat\r\nSec-WebSocket-Protocol: mqtt": "mqtt",
	} {
		ws, resp := askUpgrade(t, s.ws, "Sec-WebSocket-Protocol: "+offer)
		if got := resp.Header.Values("Sec-WebSocket-Protocol"); resp.StatusCode != 101 || len(got) != 1 || got[0] != want {
			t.Errorf("%q: %s %q", offer, resp.Status, got)
			continue
		}
		p, ack := overWebSocket(t, ws, "c", nil)
		if ack.Reason != codec.Success {
			t.Errorf("%q: %v", offer, ack.Reason)
		}
		p.quiet()
		_ = p.Close()
	}
}

// testOrigins: which pages may connect is a setting.
func testOrigins(t *testing.T, s *server) {
	for origin, want := range map[string]int{
		"https://app.example.com":       101,
		"http://app.example.com":        403,
		"https://APP.example.com":       101,
		"https://app.example.com:444":   403,
		"https://a.example.org:8443":    101,
		"https://a.example.org":         403,
		"https://a.b.example.org:8443":  101,
		"https://aexample.org:8443":     403,
		"http://" + s.ws:                101,
		"null":                          403,
		"https://app.example.com.evil":  403,
		"https://evil/app.example.com":  403,
		"https://app.example.com@evil/": 403,
	} {
		if _, resp := askUpgrade(t, s.ws, "Origin: "+origin); resp.StatusCode != want {
			t.Errorf("%s: %s, not %d", origin, resp.Status, want)
		}
	}
	anybody := start(t, "server: {ws-origins: any}")
	list := start(t, "server: {ws-origins: ['null', app.example.com]}")
	for _, c := range []struct {
		s      *server
		origin string
		want   int
	}{
		{anybody, "http://evil.example", 101}, {anybody, "null", 101}, {anybody, "%%", 101},
		{list, "null", 101}, {list, "https://app.example.com:1", 101}, {list, "http://" + list.ws, 403}, {list, "%%", 403},
	} {
		if _, resp := askUpgrade(t, c.s.ws, "Origin: "+c.origin); resp.StatusCode != c.want {
			t.Errorf("%s: %s, not %d", c.origin, resp.Status, c.want)
		}
	}
}

// TestWebSocketSaysWhy: over WebSocket too the last that a client gets is
// DISCONNECT with the reason, and then comes a close frame with a code that fits.
func TestWebSocketSaysWhy(t *testing.T) {
	t.Parallel()
	s := start(t, "server: {read-timeout: 2s}\nmqtt: {max-packet-size: 2048}")
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
		v5Of(t, s, "taken", nil)
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
	s := start(t, "server: {shutdown-notice: true}")
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
	s := start(t, "")
	watch := v5Of(t, s, "watch", nil)
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
	s := start(t, "")
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
	p.expect(codec.TypePingresp, codec.DecodePing)
	if ws.pongs != pinged {
		t.Errorf("%d pongs for %d pings", ws.pongs, pinged)
	}
}

// TestWebSocketWritesAreCounted: each once, and its bytes.
func TestWebSocketWritesAreCounted(t *testing.T) {
	t.Parallel()
	s := start(t, "")
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
	s := start(t, "")
	watch := v5Of(t, s, "watch", nil)
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

// TestEndedSocketsMakeRoom: connections that were refused, or have ended, and
// whose peers do not close keep nobody out.
func TestEndedSocketsMakeRoom(t *testing.T) {
	t.Parallel()
	s := start(t, "mqtt: {max-connections: 2}")
	for range 40 {
		p, _ := connectRaw(t, s.mqtt, codec.Version5, "wrong", nil)
		p.send([]byte{0xF0, 0}, nil) // AUTH, which ends the connection, and then nothing
		ws := openWebSocket(t, s)
		q, _ := overWebSocket(t, ws, "wrong too", nil)
		q.send([]byte{0xF0, 0}, nil)
		q.closed(codec.ProtocolError)
		p.closed(codec.ProtocolError)
	}
	eventually(t, "their sessions are gone", func() bool { return s.metric("promptmq_sessions_connected") == 0 })
	v5Of(t, s, "good", nil).quiet()
	v5OverWebSocket(t, s, "good too", nil).quiet()
	if n := s.refused("too many connections"); n != 0 {
		t.Errorf("%v are counted as refused", n)
	}
}
