package broker

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
	"github.com/x0a1b/promptmq/store"
)

// TestConnectionSize bounds what a connection that says nothing is made of.
func TestConnectionSize(t *testing.T) {
	for _, s := range []struct {
		name       string
		bytes, max uintptr
	}{
		{"conn, with its outbox", unsafe.Sizeof(conn{}), 192},
		{"Client", unsafe.Sizeof(Client{}), 112},
		{"Session", unsafe.Sizeof(session.Session{}), 96},
	} {
		t.Logf("%-22s %3d bytes", s.name, s.bytes)
		if s.bytes > s.max {
			t.Errorf("%s has %d bytes: at most %d", s.name, s.bytes, s.max)
		}
	}
	t.Logf("%-22s %3d bytes, while there is something to handle", "read state", unsafe.Sizeof(readState{}))
	t.Logf("%-22s %3d bytes, of a durable Session", "stored", unsafe.Sizeof(stored{}))
}

// listening starts a Broker with a TCP listener.
func listening(t *testing.T) *Broker {
	t.Helper()
	o := DefaultOptions()
	o.Bind, o.WSBind = "127.0.0.1:0", ""
	return listeningWith(t, o)
}

func listeningWith(t *testing.T, o Options) *Broker {
	t.Helper()
	so := store.DefaultOptions()
	so.DataDir = t.TempDir()
	db, err := store.Open(so)
	if err != nil {
		t.Fatal(err)
	}
	b, err := New(o, db)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := b.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func dialTCP(t *testing.T, b *Broker) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return nc
}

func connectPacket(t *testing.T, id string) []byte {
	t.Helper()
	b, err := codec.AppendConnect(nil, &codec.Connect{ClientID: codec.View(id), CleanStart: true, ReceiveMaximum: 65535}, codec.Version5)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// await reads one packet of this type.
func await(t *testing.T, nc net.Conn, want codec.PacketType) {
	t.Helper()
	var r codec.Reader
	r.Reset(0)
	for {
		f, err := r.Next()
		if err == nil {
			if f.Type() != want || r.Buffered() > 0 {
				t.Fatalf("%v and %d bytes, not only %v", f.Type(), r.Buffered(), want)
			}
			return
		}
		if err != codec.ErrIncomplete {
			t.Fatal(err)
		}
		n, err := nc.Read(r.Room())
		if err != nil {
			t.Fatalf("waiting for %v: %v", want, err)
		}
		r.Wrote(n)
	}
}

// eventually waits until ok returns an empty string.
func eventually(t *testing.T, ok func() string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		not := ok()
		if not == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(not)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestIdleConnection: a connection that waits has one goroutine with the
// smallest stack, and neither a buffer nor a read state, which are far larger
// than what it may have on the heap; also after it has handled something.
func TestIdleConnection(t *testing.T) {
	const (
		connections = 500
		few         = 50 // before, for what is allocated once
		// heapMax is for the connection and the client's end of it, which is in
		// this process: measured 1,720 together.
		heapMax = 2400
		// stackMax: stacks have 2 kB, then 4 kB, and come in larger pieces.
		stackMax = 2600
	)
	if !link.Nonblocking {
		t.Skip("here sockets can only block, with a buffer")
	}
	b := listening(t)
	clients := make([]net.Conn, 0, few+connections)
	defer func() {
		for _, nc := range clients {
			_ = nc.Close()
		}
	}()
	open := func() {
		nc := dialTCP(t, b)
		if _, err := nc.Write(connectPacket(t, fmt.Sprint("idle-", len(clients)))); err != nil {
			t.Fatal(err)
		}
		await(t, nc, codec.TypeConnack)
		clients = append(clients, nc)
	}
	for range few {
		open()
	}
	before := measure()
	for range connections {
		open()
	}
	check := func(when string) {
		t.Helper()
		var heapEach, stackEach int
		eventually(t, func() string {
			now := measure()
			if n := now.goroutines - before.goroutines; n > connections+openersMax {
				return fmt.Sprintf("%s: %d goroutines for %d connections", when, n, connections)
			}
			heapEach, stackEach = (now.heap-before.heap)/connections, (now.stacks-before.stacks)/connections
			if !raceEnabled && !invariantsChecked && (heapEach > heapMax || stackEach > stackMax) {
				return fmt.Sprintf("%s: %d bytes of heap, %d of stack for each connection: at most %d and %d",
					when, heapEach, stackEach, heapMax, stackMax)
			}
			return ""
		})
		t.Logf("%s: for each connection %d bytes of heap, with the client's end, and %d of stack", when, heapEach, stackEach)
	}
	check("after CONNECT")
	for _, nc := range clients {
		if _, err := nc.Write(codec.AppendPingreq(nil)); err != nil {
			t.Fatal(err)
		}
		await(t, nc, codec.TypePingresp)
	}
	check("after PINGREQ")
}

// footprint is what this process has, in bytes.
type footprint struct{ heap, stacks, goroutines int }

func measure() footprint {
	runtime.GC()
	runtime.GC() // what the first leaves of pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return footprint{int(m.HeapAlloc), int(m.StackInuse), runtime.NumGoroutine()}
}

// TestPiecemeal sends packets byte by byte, each when the broker has read the one
// before and waits without a read state: what it has of a packet stays.
func TestPiecemeal(t *testing.T) {
	b := listening(t)
	nc := dialTCP(t, b)
	defer nc.Close()
	sent := uint64(0)
	dribble := func(packet []byte) {
		t.Helper()
		for i := range packet {
			if _, err := nc.Write(packet[i : i+1]); err != nil {
				t.Fatal(err)
			}
			sent++
			eventually(t, func() string {
				if got := uint64(b.m.BytesReceived.Get()); got != sent {
					return fmt.Sprintf("%d of %d bytes were read", got, sent)
				}
				return ""
			})
		}
	}
	dribble(connectPacket(t, "piecemeal"))
	await(t, nc, codec.TypeConnack)
	dribble(codec.AppendPingreq(nil))
	await(t, nc, codec.TypePingresp)
	large, err := codec.AppendPublish(nil, &codec.Publish{
		QoS: 1, PacketID: 1, Topic: codec.View("t"), Payload: make([]byte, 3*4096)}, codec.Version5)
	if err != nil {
		t.Fatal(err)
	}
	dribble(large[:5])
	for piece := range 4 { // more than waits in a small buffer
		from, to := 5+piece*(len(large)-5)/4, 5+(piece+1)*(len(large)-5)/4
		if _, err := nc.Write(large[from:to]); err != nil {
			t.Fatal(err)
		}
		sent += uint64(to - from)
		eventually(t, func() string {
			if got := uint64(b.m.BytesReceived.Get()); got != sent {
				return fmt.Sprintf("%d of %d bytes were read", got, sent)
			}
			return ""
		})
	}
	await(t, nc, codec.TypePuback)
}
