package broker

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/codec"
)

// listeningWebSocket starts a Broker with a WebSocket listener.
func listeningWebSocket(t *testing.T) *Broker {
	t.Helper()
	o := DefaultOptions()
	o.Bind, o.WSBind = "", "127.0.0.1:0"
	return listeningWith(t, o)
}

// dialWebSocket returns the socket of a WebSocket after the handshake.
func dialWebSocket(t *testing.T, b *Broker) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", b.WSAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(nc, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	var head []byte
	for one := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); { // no byte of what follows
		if _, err := nc.Read(one); err != nil {
			t.Fatal(err)
		}
		head = append(head, one[0])
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
		t.Fatalf("%s", head)
	}
	return nc
}

// clientFrame is a frame as clients send it.
func clientFrame(first byte, payload []byte) []byte {
	b := link.AppendFrame(nil, first, payload)
	header := len(b) - len(payload)
	key := [4]byte{0xA1, 0xB2, 0xC3, byte(len(payload))}
	masked := append([]byte(nil), b[:header]...)
	masked[1] |= 0x80
	masked = append(masked, key[:]...)
	for i, c := range payload {
		masked = append(masked, c^key[i%4])
	}
	return masked
}

// awaitFrame reads a binary frame with these bytes.
func awaitFrame(t *testing.T, nc net.Conn, want []byte) {
	t.Helper()
	got := make([]byte, 2+len(want))
	if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, link.AppendFrame(nil, link.OpBinary, want)) {
		t.Fatalf("% x, %v; not the frame with % x", got, err, want)
	}
}

// TestWebSocketStream: whatever the frames, fragments and control frames in which
// packets are sent, and the pieces in which these arrive, the packets are the same.
func TestWebSocketStream(t *testing.T) {
	b := listeningWebSocket(t)
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		nc := dialWebSocket(t, b)
		stream := connectPacket(t, fmt.Sprint("stream-", seed))
		sizes := []int{0, 1, 2, 7, 125, 126, 127, 300, 4096, 65535, 65536, 100000}
		pings, wire, inMessage := 0, []byte(nil), false
		const publishes = 20
		for range publishes {
			p := codec.Publish{Topic: codec.View("t"), Payload: make([]byte, sizes[rnd.IntN(len(sizes))])}
			stream, _ = codec.AppendPublish(stream, &p, codec.Version5)
		}
		stream = codec.AppendPingreq(stream)
		for len(stream) > 0 {
			n := min(sizes[rnd.IntN(len(sizes))], len(stream))
			first := byte(0x02)
			if inMessage {
				first = 0x00
			}
			inMessage = rnd.IntN(2) == 0 && n < len(stream)
			if !inMessage {
				first |= 0x80
			}
			wire = append(wire, clientFrame(first, stream[:n])...)
			if stream = stream[n:]; rnd.IntN(3) == 0 && len(stream) > 0 {
				wire = append(wire, clientFrame(0x89, make([]byte, rnd.IntN(126)))...)
				pings++
			}
		}
		go func() {
			for len(wire) > 0 {
				n := min(len(wire), []int{1, 1, 2, 5, 130, 3000, 40000}[rnd.IntN(7)])
				if _, err := nc.Write(wire[:n]); err != nil {
					return // the reader says why
				}
				wire = wire[n:]
			}
		}()
		checkAnswers(t, nc, seed, pings)
		_ = nc.Close()
	}
	eventually(t, func() string {
		if n := b.network.Sockets(); n != 0 {
			return fmt.Sprintf("%d sockets are left", n)
		}
		return ""
	})
	if n := b.m.MessagesReceived[0].Get(); n != 20*20 {
		t.Errorf("%d messages came", n)
	}
}

// checkAnswers reads frames until PINGRESP, which must come after CONNACK and
// with so many pongs before it.
func checkAnswers(t *testing.T, nc net.Conn, seed uint64, pings int) {
	t.Helper()
	var got []byte
	for pongs := 0; ; {
		var h [4]byte
		if _, err := io.ReadFull(nc, h[:2]); err != nil {
			t.Fatalf("seed %d: %v after % x", seed, err, got)
		}
		payload := make([]byte, h[1]) // none is longer than 125
		if _, err := io.ReadFull(nc, payload); err != nil {
			t.Fatal(err)
		}
		switch h[0] {
		case link.OpBinary:
			got = append(got, payload...)
		case 0x8A:
			pongs++
		default:
			t.Fatalf("seed %d: frame %#x: % x", seed, h[0], payload)
		}
		if bytes.HasSuffix(got, []byte{0xD0, 0}) {
			if got[0] != 0x20 || pongs != pings {
				t.Errorf("seed %d: % x, %d pongs for %d pings", seed, got, pongs, pings)
			}
			return
		}
	}
}

// TestIdleWebSocket: a WebSocket that waits has one goroutine and no buffer.
func TestIdleWebSocket(t *testing.T) {
	const (
		connections = 300
		few         = 30
		heapMax     = 6000 // measured 3,320 with the client's end, which is in this process
		stackMax    = 4700
	)
	if !link.Nonblocking {
		t.Skip("here sockets can only block, with a buffer")
	}
	b := listeningWebSocket(t)
	var clients []net.Conn
	defer func() {
		for _, nc := range clients {
			_ = nc.Close()
		}
	}()
	open := func() {
		nc := dialWebSocket(t, b)
		clients = append(clients, nc)
		if _, err := nc.Write(clientFrame(link.OpBinary, connectPacket(t, fmt.Sprint("idle-", len(clients))))); err != nil {
			t.Fatal(err)
		}
		var h [2]byte
		if _, err := io.ReadFull(nc, h[:]); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, nc, int64(h[1])); err != nil {
			t.Fatal(err)
		}
		if _, err := nc.Write(clientFrame(link.OpBinary, codec.AppendPingreq(nil))); err != nil {
			t.Fatal(err)
		}
		awaitFrame(t, nc, []byte{0xD0, 0})
	}
	for range few {
		open()
	}
	before := measure()
	for range connections {
		open()
	}
	var heap, stack int
	eventually(t, func() string {
		now := measure()
		if n := now.goroutines - before.goroutines - openersMax; n > connections {
			return fmt.Sprintf("%d goroutines for %d connections", n, connections)
		}
		heap, stack = (now.heap-before.heap)/connections, (now.stacks-before.stacks)/connections
		if !raceEnabled && !invariantsChecked && (heap > heapMax || stack > stackMax) {
			return fmt.Sprintf("%d bytes of heap, %d of stack for each connection: at most %d and %d", heap, stack, heapMax, stackMax)
		}
		return ""
	})
	t.Logf("for each connection %d bytes of heap, with the client's end, and %d of stack", heap, stack)
}
