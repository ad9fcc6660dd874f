package broker_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/codec"
)

// This file has the peers of a broker that listens: over TCP, and over WebSocket
// frame by frame.

// newListening starts a broker with listeners on free ports of 127.0.0.1.
func newListening(t *testing.T, settings ...func(*broker.Options)) *fixture {
	t.Helper()
	listens := func(o *broker.Options) { o.Bind, o.WSBind = "127.0.0.1:0", "127.0.0.1:0" }
	return newFixtureWith(t, append(settings, listens)...)
}

func (f *fixture) addr() string   { return f.b.Addr().String() }
func (f *fixture) wsAddr() string { return f.b.WSAddr().String() }

func dialTCP(t *testing.T, addr string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return nc
}

func dialPeer(t *testing.T, s *fixture, v codec.Version) *peer {
	t.Helper()
	return newPeer(t, dialTCP(t, s.addr()), v)
}

// connectTCP and v5OverTCP are connectAs and connectV5 over TCP.
func connectTCP(t *testing.T, s *fixture, v codec.Version, id string, change func(*codec.Connect)) (*peer, codec.Connack) {
	t.Helper()
	p := dialPeer(t, s, v)
	return p, p.connect(id, change)
}

func v5OverTCP(t *testing.T, s *fixture, id string, change func(*codec.Connect)) *peer {
	t.Helper()
	p, ack := connectTCP(t, s, codec.Version5, id, change)
	if ack.Reason != codec.Success {
		t.Fatalf("CONNACK %v", ack.Reason)
	}
	return p
}

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
func askUpgrade(t *testing.T, s *fixture, lines ...string) (*webSocket, *http.Response) {
	t.Helper()
	nc := dialTCP(t, s.wsAddr())
	head := strings.Join(append([]string{"GET /mqtt HTTP/1.1"}, lines...), "\r\n") + "\r\n"
	for _, line := range []string{"Host: " + s.wsAddr(), "Connection: keep-alive, Upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: mqtt"} {
		if name, _, _ := strings.Cut(line, " "); !strings.Contains(head, "\r\n"+name) {
			head += line + "\r\n"
		}
	}
	if err := nc.SetReadDeadline(time.Now().Add(patience)); err != nil {
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
func openWebSocket(t *testing.T, s *fixture, lines ...string) *webSocket {
	t.Helper()
	ws, resp := askUpgrade(t, s, lines...)
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
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
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
				w.status = int(binary.BigEndian.Uint16(control))
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
		length = int(binary.BigEndian.Uint16(h[:]))
	case 127:
		_, err = io.ReadFull(w.br, h[:8])
		length = int(binary.BigEndian.Uint64(h[:]))
	}
	return first, length, err
}

// overWebSocket makes a peer of a WebSocket, and connects it.
func overWebSocket(t *testing.T, ws *webSocket, id string, change func(*codec.Connect)) (*peer, codec.Connack) {
	t.Helper()
	p := newPeer(t, ws, codec.Version5)
	return p, p.connect(id, change)
}

func v5OverWebSocket(t *testing.T, s *fixture, id string, change func(*codec.Connect)) *peer {
	t.Helper()
	p, ack := overWebSocket(t, openWebSocket(t, s), id, change)
	if ack.Reason != codec.Success {
		t.Fatalf("CONNACK %v", ack.Reason)
	}
	return p
}

// refused is how many connections were, for a reason.
func (f *fixture) refused(reason string) float64 {
	f.t.Helper()
	n, _ := f.findMetric(fmt.Sprintf("promptmq_connections_refused_total{reason=%q}", reason)) // not there before the first
	return n
}
