package broker

import (
	"fmt"
	"io"
	"net"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/codec"
)

// dialBlocking returns a client whose connection the broker takes for a stream that
// can only block, as TLS is.
func dialBlocking(t *testing.T, b *Broker) net.Conn {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := client.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	go b.ServeConn(struct{ net.Conn }{server})
	return client
}

// started is how many goroutines this process has started.
func started() int {
	s := []metrics.Sample{{Name: "/sched/goroutines-created:goroutines"}}
	metrics.Read(s)
	return int(s[0].Value.Uint64())
}

// TestFlushStartsNoGoroutine: whatever the transport, an answer takes no goroutine of
// its own, over one connection or many.
func TestFlushStartsNoGoroutine(t *testing.T) {
	const pings, most = 2000, 200 // what else runs in this process starts some
	for _, kind := range []string{"TCP", "WebSocket", "blocking"} {
		for _, connections := range []int{1, 50} {
			t.Run(fmt.Sprint(kind, " ", connections), func(t *testing.T) {
				clients := make([]net.Conn, connections)
				b := listening(t)
				if kind == "WebSocket" {
					b = listeningWebSocket(t)
				}
				wrap := func(packet []byte) []byte { return packet }
				for i := range clients {
					switch kind {
					case "TCP":
						clients[i] = dialTCP(t, b)
					case "WebSocket":
						clients[i] = dialWebSocket(t, b)
						wrap = func(packet []byte) []byte { return clientFrame(link.OpBinary, packet) }
					default:
						clients[i] = dialBlocking(t, b)
					}
					defer clients[i].Close()
				}
				exchange := func(nc net.Conn, packet []byte, answer int) {
					t.Helper()
					if kind == "WebSocket" {
						answer += 2
					}
					if _, err := nc.Write(wrap(packet)); err != nil {
						t.Fatal(err)
					}
					if _, err := io.ReadFull(nc, make([]byte, answer)); err != nil {
						t.Fatal(err)
					}
				}
				for i, nc := range clients {
					connect, _ := codec.AppendConnect(nil, &codec.Connect{ClientID: codec.View(fmt.Sprint("c", i)), CleanStart: true}, codec.Version311)
					exchange(nc, connect, 4)
				}
				before := started()
				for i := range pings {
					exchange(clients[i%connections], codec.AppendPingreq(nil), 2)
				}
				if n := started() - before; n > most {
					t.Errorf("%d goroutines started for %d answers", n, pings)
				}
			})
		}
	}
}

// TestIdleBlocking: a stream that can only block holds no buffer and no read state of
// the broker while it waits.
func TestIdleBlocking(t *testing.T) {
	const (
		connections, few = 300, 30
		heapMax          = 3600 // measured 2,500 with the client's end, which is in this process
		stackMax         = 8200
	)
	b := listening(t)
	var clients []net.Conn
	defer func() {
		for _, nc := range clients {
			_ = nc.Close()
		}
	}()
	open := func() {
		nc := dialBlocking(t, b)
		clients = append(clients, nc)
		if _, err := nc.Write(connectPacket(t, fmt.Sprint("idle-", len(clients)))); err != nil {
			t.Fatal(err)
		}
		await(t, nc, codec.TypeConnack)
		if _, err := nc.Write(codec.AppendPingreq(nil)); err != nil {
			t.Fatal(err)
		}
		await(t, nc, codec.TypePingresp)
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
		heap, stack = (now.heap-before.heap)/connections, (now.stacks-before.stacks)/connections
		if !raceEnabled && !invariantsChecked && (heap > heapMax || stack > stackMax) {
			return fmt.Sprintf("%d bytes of heap, %d of stack for each connection: at most %d and %d", heap, stack, heapMax, stackMax)
		}
		return ""
	})
	t.Logf("for each connection %d bytes of heap, with the client's end, and %d of stack", heap, stack)
}
