package conformance

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/coder/websocket"
	"github.com/x0a1b/promptmq/codec"
)

// Network Connections: section 4.2 (7.1.1 of 3.1.1), and 6, WebSocket.
var transportTests = []test{
	{"transport/byte-by-byte", "4.2-1", "7.1.1-1", func(t *T) {
		p := t.dial()
		stream, topic := t.script(p)
		for _, b := range stream {
			p.send(b)
		}
		p.checkScript(topic)
	}},
	{"transport/one-write", "4.2-1", "7.1.1-1", func(t *T) {
		p := t.dial()
		stream, topic := t.script(p)
		p.send(stream...)
		p.checkScript(topic)
	}},
	{"transport/two-writes", "4.2-1", "7.1.1-1", func(t *T) {
		p := t.connect()
		topic := t.topic()
		p.subscribe(sub(topic, 0))
		p.eachCut(topic, func(head, tail []byte) {
			p.send(head...)
			p.send(tail...)
		})
	}},
	{"transport/ordered-and-lossless", "4.2-1", "7.1.1-1", func(t *T) {
		// More than any buffer on the way holds, each byte at its place.
		p := t.connect()
		topic := t.topic()
		p.subscribe(sub(topic, 0))
		size := 200_000
		if limit := int(offered.packetBytesMax); limit > 0 {
			size = min(size, limit-100)
		}
		payload := make([]byte, size)
		for i := range payload {
			payload[i] = byte(i * 7 / 3)
		}
		for i := range 5 {
			payload[0] = byte(i)
			p.publish(topic, string(payload), 0)
			if m := p.take(); m.payload != string(payload) {
				t.Fatalf("%d bytes came back as %d others", size, len(m.payload))
			}
		}
	}},
	{"transport/no-extension", "beyond", "7.0.0-2", func(t *T) {
		// The least a client can do: no property, no option.
		p := t.accepts(t.rawConnect(flagClean, field(t.clientID())))
		topic := t.topic()
		p.filters[topic] = true
		p.send(frame(0x82, uint16Bytes(1), t.properties(), field(topic), []byte{0})...)
		p.await(codec.TypeSuback)
		p.send(frame(0x30, field(topic), t.properties(), []byte("plain"))...)
		if got := p.next(); got.typ != codec.TypePublish || !bytes.Equal(got.body, bytes.Join([][]byte{field(topic), t.properties(), []byte("plain")}, nil)) {
			t.Errorf("%v, % x", got, got.body)
		}
		p.isOpen()
		p.send(0xE0, 0)
		p.closedAnyhow()
	}},
	{"transport/websocket-sub-protocol", "6.0.0-4", "6.0.0-4", func(t *T) {
		for _, offer := range [][]string{{"mqtt"}, {"chat", "mqtt"}, {"mqtt", "superchat"}, {"Mqtt", "mqtt"}} {
			ws := t.webSocket(offer...)
			if got := ws.Subprotocol(); got != "mqtt" {
				t.Errorf("the Server selects %q out of %q", got, offer)
			}
			p := t.peerOn(webSocketConn(ws))
			p.handshake()
			p.isOpen()
		}
	}},
	{"transport/websocket-text-frame", "6.0.0-1", "6.0.0-1", func(t *T) {
		first := t.webSocket("mqtt")
		p := t.peerOn(webSocketConn(first))
		t.write(first, websocket.MessageText, t.rawConnect(flagClean, field("conformance")))
		p.closedAnyhow()
		for _, text := range []string{"\xC0\x00", "", "text"} {
			ws := t.webSocket("mqtt")
			p := t.peerOn(webSocketConn(ws))
			p.handshake()
			t.write(ws, websocket.MessageText, []byte(text))
			p.closed()
		}
	}},
	{"transport/websocket-binary-frames", "6.0.0-1", "6.0.0-1", func(t *T) {
		// Whatever the Server sends comes in binary frames: the connection of the
		// peer fails on others.
		p := t.peerOn(webSocketConn(t.webSocket("mqtt")))
		p.handshake()
		topic := t.topic()
		p.subscribe(sub(topic, offered.qos))
		for qos := range offered.qos + 1 {
			p.publish(topic, "text", qos)
			p.expect("text")
		}
		p.unsubscribe(topic)
		p.isOpen()
	}},
	{"transport/websocket-split-connect", "6.0.0-2", "6.0.0-2", func(t *T) {
		connect := t.rawConnect(flagClean, field(unique("")))
		for cut := range connect {
			ws := t.webSocket("mqtt")
			p := t.peerOn(webSocketConn(ws))
			t.write(ws, websocket.MessageBinary, connect[:cut])
			t.write(ws, websocket.MessageBinary, connect[cut:])
			if reason := p.await(codec.TypeConnack).connack.Reason; reason != 0 {
				t.Errorf("cut at %d: %v", cut, reason)
			}
			p.drop()
		}
	}},
	{"transport/websocket-split-packets", "6.0.0-2", "6.0.0-2", func(t *T) {
		ws := t.webSocket("mqtt")
		p := t.peerOn(webSocketConn(ws))
		p.handshake()
		topic := t.topic()
		p.subscribe(sub(topic, 0))
		p.eachCut(topic, func(head, tail []byte) {
			t.write(ws, websocket.MessageBinary, head)
			t.write(ws, websocket.MessageBinary, tail)
		})
	}},
	{"transport/websocket-frame-for-each-byte", "6.0.0-2", "6.0.0-2", func(t *T) {
		ws := t.webSocket("mqtt")
		p := t.peerOn(webSocketConn(ws))
		stream, topic := t.script(p)
		for i := range stream {
			t.write(ws, websocket.MessageBinary, stream[i:i+1])
		}
		p.checkScript(topic)
	}},
	{"transport/websocket-one-frame-for-all", "6.0.0-2", "6.0.0-2", func(t *T) {
		ws := t.webSocket("mqtt")
		p := t.peerOn(webSocketConn(ws))
		stream, topic := t.script(p)
		t.write(ws, websocket.MessageBinary, stream)
		p.checkScript(topic)
	}},
	{"transport/websocket-not-aligned", "6.0.0-2", "6.0.0-2", func(t *T) {
		// Frames that end in the middle of one packet and begin in that of another.
		for _, size := range []int{3, 7, 64, 125, 126, 127, 200} {
			ws := t.webSocket("mqtt")
			p := t.peerOn(webSocketConn(ws))
			stream, topic := t.script(p)
			for len(stream) > 0 {
				n := min(size, len(stream))
				t.write(ws, websocket.MessageBinary, stream[:n])
				stream = stream[n:]
			}
			p.checkScript(topic)
		}
	}},
	{"transport/websocket-continuation-frames", "6.0.0-2", "6.0.0-2", func(t *T) {
		ws := t.webSocket("mqtt")
		p := t.peerOn(webSocketConn(ws))
		stream, topic := t.script(p)
		ctx, cancel := context.WithTimeout(context.Background(), answerTime)
		defer cancel()
		w, err := ws.Writer(ctx, websocket.MessageBinary)
		for len(stream) > 0 && err == nil {
			n := min(11, len(stream))
			_, err = w.Write(stream[:n])
			stream = stream[n:]
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatalf("%v", err)
		}
		p.checkScript(topic)
	}},
	{"transport/websocket-large", "6.0.0-2", "6.0.0-2", func(t *T) {
		if limit := offered.packetBytesMax; limit > 0 && limit < 101_000 {
			t.NotOffered("packets of 100,000 bytes")
		}
		p := t.peerOn(webSocketConn(t.webSocket("mqtt")))
		p.handshake()
		topic := t.topic()
		p.subscribe(sub(topic, 0))
		for _, size := range []int{4095, 4096, 4097, 65535, 65536, 100_000} {
			payload := strings.Repeat("0123456789", size/10+1)[:size]
			p.publish(topic, payload, 0)
			if m := p.take(); m.payload != payload {
				t.Fatalf("%d bytes came back as %d others", size, len(m.payload))
			}
		}
	}},
	{"transport/websocket-any-path", "beyond", "beyond", func(t *T) {
		if *brokerFlag != "" {
			t.NotRun("the paths of a foreign broker are unknown")
		}
		host, _ := strings.CutSuffix(t.target.ws, "/mqtt")
		for _, path := range []string{"/mqtt", "/", "", "/ws", "/any/path?query=1"} {
			ws, err := openWebSocket(host + path)
			if err != nil {
				t.Errorf("%q: %v", path, err)
				continue
			}
			p := t.peerOn(webSocketConn(ws))
			p.handshake()
			p.isOpen()
		}
	}},
	{"transport/websocket-will", "3.1.2-8", "3.1.2-8", func(t *T) {
		watch, topic := t.watch(0)
		p := t.peerOn(webSocketConn(t.webSocket("mqtt")))
		p.handshake(will(topic, "closed without DISCONNECT"))
		p.drop()
		watch.expect("closed without DISCONNECT")
	}},
}

// webSocket opens a WebSocket connection with these Sub Protocols.
func (t *T) webSocket(protocols ...string) *websocket.Conn {
	t.Helper()
	if t.target.ws == "" {
		t.NotRun("needs -broker-ws")
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	o, err := dialOptions(protocols...)
	if err != nil {
		t.Fatalf("%v", err)
	}
	ws, _, err := websocket.Dial(ctx, t.target.ws, o)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	return ws
}

// write sends one WebSocket message. That the broker has closed already is for
// the next read to find.
func (t *T) write(ws *websocket.Conn, typ websocket.MessageType, b []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	_ = ws.Write(ctx, typ, b)
}

// scripted is how many messages script publishes.
const scripted = 20

// script is a stream from CONNECT to PINGREQ, for a peer that has not connected
// yet.
func (t *T) script(p *peer) (stream []byte, topic string) {
	t.Helper()
	topic = t.topic()
	p.connect, p.filters[topic] = t.newConnect(), true
	b, err := codec.AppendConnect(nil, &p.connect, p.version)
	if err == nil {
		b, err = codec.AppendSubscribe(b, &codec.Subscribe{PacketID: 1}, []codec.Subscription{sub(topic, 0)}, p.version)
	}
	for i := range scripted {
		if err == nil {
			b, err = codec.AppendPublish(b, &codec.Publish{Topic: codec.View(topic), Payload: codec.View(fmt.Sprint(i))}, p.version)
		}
	}
	if err != nil {
		t.Fatalf("the suite cannot encode: %v", err)
	}
	return codec.AppendPingreq(b), topic
}

// checkScript checks that script was understood.
func (p *peer) checkScript(topic string) {
	p.t.Helper()
	if got := p.next(); got.typ != codec.TypeConnack || got.connack.Reason != 0 {
		p.t.Fatalf("%v comes first", got)
	}
	p.await(codec.TypeSuback)
	for i := range scripted {
		if m := p.expect(fmt.Sprint(i)); m.topic != topic {
			p.t.Errorf("%v, was published to %q", m, topic)
		}
	}
	p.await(codec.TypePingresp)
	p.isOpen()
}

// eachCut sends two packets as one stream that is cut at each byte, and checks
// that both are understood.
func (p *peer) eachCut(topic string, send func(head, tail []byte)) {
	p.t.Helper()
	for cut := 0; ; cut++ {
		payload := fmt.Sprintf("cut at %3d", cut)
		b, err := codec.AppendPublish(nil, &codec.Publish{Topic: codec.View(topic), Payload: codec.View(payload)}, p.version)
		if err != nil {
			p.t.Fatalf("the suite cannot encode: %v", err)
		}
		b = codec.AppendPingreq(b)
		if cut > len(b) {
			return
		}
		send(b[:cut], b[cut:])
		p.expect(payload)
		p.await(codec.TypePingresp)
	}
}
