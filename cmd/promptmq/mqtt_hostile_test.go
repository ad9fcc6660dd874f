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

// TestWrongStates311 sends each packet type to a connection of 3.1.1 and of 3.1:
// before CONNECT and after. No DISCONNECT exists for the broker to send.
func TestWrongStates311(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	connect := []byte{0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, 1, 'x'}
	for _, c := range []struct {
		packet []byte
		stays  bool
	}{
		{connect, false},
		{[]byte{0x20, 2, 0, 0}, false},
		{[]byte{0x30, 3, 0, 1, 'a'}, true},
		{[]byte{0x40, 2, 0, 1}, true},
		{[]byte{0x50, 2, 0, 1}, true},
		{[]byte{0x62, 2, 0, 1}, true},
		{[]byte{0x70, 2, 0, 1}, true},
		{[]byte{0x82, 6, 0, 1, 0, 1, 'a', 0}, true},
		{[]byte{0x90, 3, 0, 1, 0}, false},
		{[]byte{0xA2, 5, 0, 1, 0, 1, 'a'}, true},
		{[]byte{0xB0, 2, 0, 1}, false},
		{[]byte{0xC0, 0}, true},
		{[]byte{0xD0, 0}, false},
		{[]byte{0xE0, 0}, false},
		{[]byte{0xF0, 0}, false},
	} {
		typ := codec.PacketType(c.packet[0] >> 4)
		for _, v := range []codec.Version{codec.Version311, codec.Version31} {
			t.Run(fmt.Sprintf("%v to %v", typ, v), func(t *testing.T) {
				if typ != codec.TypeConnect {
					early := dialRaw(t, s.mqtt, v)
					early.send(c.packet, nil)
					early.closed(codec.Success)
				}
				p, _ := connectRaw(t, s.mqtt, v, "states", nil)
				p.send(c.packet, nil)
				if !c.stays {
					p.closed(codec.Success)
					return
				}
				p.send(codec.AppendPingreq(nil), nil)
				for {
					f, err := p.next()
					if err != nil {
						t.Fatal(err)
					}
					if f.Type() == codec.TypePingresp {
						return
					}
				}
			})
		}
	}
}

// TestEveryCut sends each packet cut at each byte and goes away; and each in
// single bytes, which must be as good as whole.
func TestEveryCut(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	var packets [][]byte
	add := func(b []byte, err error) {
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, b)
	}
	add(codec.AppendPublish(nil, &codec.Publish{QoS: 2, PacketID: 7, Topic: codec.View("cut/a"), Payload: codec.View("x"), Retain: true,
		Forward: codec.ForwardBytes(codec.AppendUserProperty(codec.AppendContentType(nil, []byte("c")), []byte("k"), []byte("v")))}, codec.Version5))
	add(codec.AppendAck(nil, &codec.Ack{Type: codec.TypePubrel, PacketID: 7}, codec.Version5))
	add(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1, SubscriptionID: 5}, []codec.Subscription{{Filter: codec.View("cut/#"), QoS: 1}}, codec.Version5))
	add(codec.AppendUnsubscribe(nil, &codec.Unsubscribe{PacketID: 2}, []codec.View{codec.View("cut/#")}, codec.Version5))
	add(codec.AppendPingreq(nil), nil)
	add(codec.AppendDisconnect(nil, &codec.Disconnect{Reason: codec.DisconnectWithWill, HasSessionExpiry: true}, codec.Version5))
	all := bytes.Join(packets, nil)
	connect, err := codec.AppendConnect(nil, &codec.Connect{ClientID: codec.View("cut"), CleanStart: true, RequestProblemInformation: true,
		HasWill: true, Will: codec.Will{Topic: codec.View("w"), Payload: codec.View("p")}, HasUserName: true, UserName: codec.View("u")}, codec.Version5)
	if err != nil {
		t.Fatal(err)
	}
	for cut := 1; cut < len(connect)+len(all); cut++ {
		p := dialRaw(t, s.mqtt, codec.Version5)
		b := append(bytes.Clone(connect), all...)[:cut]
		p.send(b, nil)
		_ = p.Close()
	}
	eventually(t, "the cut ones have come and are gone", func() bool {
		return s.metric("promptmq_connections_total") == float64(len(connect)+len(all)-1) && s.metric("promptmq_connections_current") == 0
	})
	p := dialRaw(t, s.mqtt, codec.Version5)
	bye := len(all) - len(packets[len(packets)-1])
	for _, b := range append(bytes.Clone(connect), all[:bye]...) {
		p.send([]byte{b}, nil)
	}
	var got []codec.PacketType
	for {
		f, err := p.next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("after %v: the connection stays open", got)
		}
		if err != nil {
			break
		}
		got = append(got, f.Type())
		if len(got) == 7 { // six answers and the retained message
			p.send(all[bye:], nil)
		}
	}
	count := make(map[codec.PacketType]int)
	for _, typ := range got {
		count[typ]++
	}
	for _, typ := range []codec.PacketType{codec.TypeConnack, codec.TypePubrec, codec.TypePubcomp, codec.TypeSuback, codec.TypeUnsuback, codec.TypePingresp} {
		if count[typ] != 1 {
			t.Errorf("%d %v in %v", count[typ], typ, got)
		}
	}
	eventually(t, "all is gone", func() bool {
		return s.metric("promptmq_connections_current") == 0 && s.metric("promptmq_sessions") == 0
	})
}

// TestHostileFields: string fields that TestHostile leaves out.
func TestHostileFields(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	bystander := v5Of(t, s, "bystander", nil)
	forward := func(b []byte) codec.Forward { return codec.ForwardBytes(b) }
	for _, bad := range []string{"\x00", "a\x00b", "\xff", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf4\x90\x80\x80", "\xc0\x80", "\xe2\x82"} {
		// The codec does not encode some of them, so they go over a good packet.
		marker := bytes.Repeat([]byte("Z"), len(bad))
		marked := codec.MakeUserProperties(codec.AppendUserProperty(nil, []byte("k"), marker))
		p := dialRaw(t, s.mqtt, codec.Version5)
		b, err := codec.AppendConnect(nil, &codec.Connect{ClientID: codec.View("fields"), CleanStart: true,
			RequestProblemInformation: true, UserProperties: marked}, codec.Version5)
		p.send(bytes.ReplaceAll(b, marker, []byte(bad)), err)
		p.closed(codec.MalformedPacket)
		for name, change := range map[string]func(*codec.Connect){
			"authentication method": func(c *codec.Connect) { c.HasAuthenticationMethod, c.AuthenticationMethod = true, codec.View(bad) },
			"will content type": func(c *codec.Connect) {
				c.HasWill, c.Will = true, codec.Will{Topic: codec.View("w"), Forward: forward(codec.AppendContentType(nil, []byte(bad)))}
			},
			"will response topic": func(c *codec.Connect) {
				c.HasWill, c.Will = true, codec.Will{Topic: codec.View("w"), Forward: forward(codec.AppendResponseTopic(nil, []byte(bad)))}
			},
			"will user property": func(c *codec.Connect) {
				c.HasWill, c.Will = true, codec.Will{Topic: codec.View("w"), Forward: forward(codec.AppendUserProperty(nil, []byte(bad), nil))}
			},
		} {
			if _, ack := connectRaw(t, s.mqtt, codec.Version5, "fields", change); ack.Reason != codec.MalformedPacket {
				t.Errorf("%s %q: %v", name, bad, ack.Reason)
			}
		}
		for name, send := range map[string]func(p *raw){
			"content type": func(p *raw) {
				p.publish(codec.Publish{Topic: codec.View("a"), Forward: forward(codec.AppendContentType(nil, []byte(bad)))})
			},
			"name of a user property": func(p *raw) {
				p.publish(codec.Publish{Topic: codec.View("a"), Forward: forward(codec.AppendUserProperty(nil, []byte(bad), nil))})
			},
			"user property of SUBSCRIBE": func(p *raw) {
				b, err := codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1, UserProperties: marked}, []codec.Subscription{{Filter: codec.View("a")}}, codec.Version5)
				p.send(bytes.ReplaceAll(b, marker, []byte(bad)), err)
			},
			"filter of UNSUBSCRIBE": func(p *raw) {
				p.send(codec.AppendUnsubscribe(nil, &codec.Unsubscribe{PacketID: 1}, []codec.View{codec.View(bad)}, codec.Version5))
			},
			"a share's filter": func(p *raw) {
				p.send(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, []codec.Subscription{{Filter: codec.View("$share/g/" + bad)}}, codec.Version5))
			},
			"reason string": func(p *raw) { // PUBACK 1 with a Reason String
				p.send(append([]byte{0x40, byte(7 + len(bad)), 0, 1, 0, byte(3 + len(bad)), 0x1F, 0, byte(len(bad))}, bad...), nil)
			},
		} {
			p := v5Of(t, s, "fields", nil)
			send(p)
			t.Run(fmt.Sprintf("%s %q", name, bad), func(t *testing.T) { p.t = t; p.closed(codec.MalformedPacket) })
		}
		// Payloads, passwords and correlation data are any bytes.
		_, ack := connectRaw(t, s.mqtt, codec.Version5, "fields", func(c *codec.Connect) {
			c.HasUserName, c.HasPassword, c.Password = true, true, codec.View(bad)
			c.HasWill, c.Will = true, codec.Will{Topic: codec.View("w"), Payload: codec.View(bad)}
		})
		if ack.Reason != codec.Success {
			t.Errorf("password %q: %v", bad, ack.Reason)
		}
	}
	bystander.quiet()
}

// TestMalformedShares: a name without a filter, a filter without a name.
func TestMalformedShares(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	for filter, want := range map[string]codec.ReasonCode{
		"$share":         codec.Success, // no share without the separator
		"$share/":        codec.ProtocolError,
		"$share//":       codec.ProtocolError,
		"$share//a":      codec.ProtocolError,
		"$share/g":       codec.ProtocolError,
		"$share/g/":      codec.ProtocolError,
		"$share/+/a":     codec.ProtocolError,
		"$share/g#/a":    codec.ProtocolError,
		"$share/g/a#":    codec.MalformedPacket,
		"$share/g/a+/b":  codec.MalformedPacket,
		"$share/g/#/b":   codec.MalformedPacket,
		"$share/g//a":    codec.Success, // the filter is "/a"
		"$share/g/+/#":   codec.Success,
		"$shared/g":      codec.Success, // no share at all
		"$SHARE/g/a":     codec.Success,
		"$share/ ' [/a":  codec.Success,
		"x/$share/g/a":   codec.Success,
		"$share/g/$SYS/": codec.Success,
	} {
		t.Run(filter, func(t *testing.T) {
			p := v5Of(t, s, "shares", nil)
			p.send(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, []codec.Subscription{{Filter: codec.View(filter)}}, codec.Version5))
			if want != codec.Success {
				p.closed(want)
				return
			}
			var ack codec.Suback
			p.expect(codec.TypeSuback, func(f codec.Frame) error { return ack.Decode(f, codec.Version5) })
			if string(ack.Reasons) != "\x00" {
				t.Errorf("%x", []byte(ack.Reasons))
			}
		})
	}
	p := v5Of(t, s, "shares", nil)
	p.send(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, []codec.Subscription{{Filter: codec.View("$share/g/a"), NoLocal: true}}, codec.Version5))
	p.closed(codec.ProtocolError) // [MQTT-3.8.3-4]
}

// TestThousandIdentifiers: hostile Client Identifiers stay sessions of their
// own, with their own subscription and queue, also after a crash. The race
// detector sees some of them.
func TestThousandIdentifiers(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	pieces := []string{"../", "..\\", "'", "\"", "\n", "\r", "\t", "[", "]", "{", "%00", "%", "+", "#", "/", "$", "\\", " ", "é", "e\u0301", "\u202e", "\ufeff", "auto-", "*", "?", ";--", "''", "\U0001F600", "a", "A", "1", "01"}
	const many = 1000 / raceSlowdown
	ids := make([]string, 0, many)
	for i := range many {
		ids = append(ids, pieces[i%32]+pieces[i/32%32])
	}
	ids[many-1] = strings.Repeat("x", 65535)
	seen := make(map[string]bool)
	resume := func(c *codec.Connect) { lasting(c); c.CleanStart = false }
	for i, id := range ids {
		if seen[id] { // "''" is "'" twice
			ids[i] += "-"
			id = ids[i]
		}
		seen[id] = true
		p, ack := connectRaw(t, s.mqtt, codec.Version5, id, resume)
		if ack.SessionPresent || ack.Reason != codec.Success {
			t.Errorf("%.30q: session present %v, %v", id, ack.SessionPresent, ack.Reason)
		}
		p.subscribeOne(fmt.Sprint("own/", i), 1)
		_ = p.Close()
	}
	pub := v5Of(t, s, "the publisher", nil)
	for i := range ids {
		pub.publish1(1, fmt.Sprint("own/", i), fmt.Sprint(i))
	}
	s.kill()
	s.restart()
	if n := s.metric("promptmq_sessions"); n != many {
		t.Errorf("%v sessions", n)
	}
	for i, id := range ids {
		p, ack := connectRaw(t, s.mqtt, codec.Version5, id, resume)
		if !ack.SessionPresent {
			t.Fatalf("%.30q: the session is gone", id)
		}
		m := p.receive()
		if string(m.Payload) != fmt.Sprint(i) {
			t.Errorf("%.30q got %q", id, m.Payload)
		}
		p.sendAck(codec.TypePuback, m.PacketID)
		p.quiet()
		_ = p.Close()
	}
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
