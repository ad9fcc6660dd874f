package link

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/metrics"
)

// echo is a Reader that sends back what comes.
type echo struct {
	t         Transport
	n         *Network
	room      []byte
	state     ReadState
	connected bool
}

func (e *echo) Room() []byte {
	if e.room == nil {
		e.room = ReadBuffers.Get(4096)[:4096]
	}
	return e.room
}

func (e *echo) Received(n int) bool {
	if !e.connected {
		e.connected = true
		e.n.Connected(e.t)
	}
	if _, err := e.t.WriteWithin(e.room[:n], time.Minute); err != nil {
		e.state.Ended = err
	}
	return e.state.Ended == nil
}

func (e *echo) Idle() {
	if e.room != nil {
		ReadBuffers.Put(e.room)
		e.room = nil
	}
}

func (e *echo) Rearm() error      { return nil }
func (e *echo) Connected() bool   { return e.connected }
func (e *echo) State() *ReadState { return &e.state }

// serve echoes until the connection ends.
func (e *echo) serve() {
	defer e.t.Close()
	for e.t.Receive(e) == nil && e.state.Ended == nil {
	}
}

// newTestNetwork returns a Network whose connections echo, or do what serve says.
func newTestNetwork(t *testing.T, connections int64, serve func(n *Network, a Accepted)) *Network {
	t.Helper()
	m := metrics.NewBroker()
	log := slog.New(slog.DiscardHandler)
	notices := notice.New(log, m)
	var n *Network
	var mu sync.Mutex // no connection is begun once ended is set: a handshake may be under way
	var ended bool
	var serving sync.WaitGroup
	n = NewNetwork(Config{
		Serve: func(a Accepted) {
			mu.Lock()
			defer mu.Unlock()
			if ended {
				_ = a.Transport.Close()
				return
			}
			serving.Go(func() {
				if serve != nil {
					serve(n, a)
					return
				}
				(&echo{t: a.Transport, n: n}).serve()
			})
		},
		Now: time.Now, MaxConnections: connections, ReadBuffer: 4096, ConnectTimeout: 10 * time.Second,
		Log: log, Notices: notices, Metrics: m,
	})
	t.Cleanup(func() {
		n.Stop()
		mu.Lock()
		ended = true
		mu.Unlock()
		serving.Wait()
		n.Close()
		notices.Close()
	})
	return n
}

// testListen opens a listener of a kind, and returns a way to connect to it.
func (n *Network) testListen(t *testing.T, kind string) func() net.Conn {
	t.Helper()
	return n.testListenAs(t, ListenerConfig{Name: kind, Kind: kind, Key: "key"})
}

// testListenAs is testListen with settings.
func (n *Network) testListenAs(t *testing.T, c ListenerConfig) func() net.Conn {
	t.Helper()
	if c.Address == "" {
		c.Address = "127.0.0.1:0"
	}
	if c.Subprotocols == nil {
		c.Subprotocols = Subprotocols
	}
	if c.Origins == "" {
		c.Origins, c.OriginsKey = SameOrigin, "origins key"
	}
	if err := n.Listen(c); err != nil {
		t.Fatal(err)
	}
	addr := n.Listener(c.Name).Addr()
	return func() net.Conn {
		t.Helper()
		nc, err := net.Dial(addr.Network(), addr.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = nc.Close() })
		if err := nc.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		return nc
	}
}

// exchange sends bytes and awaits others.
func exchange(t *testing.T, nc net.Conn, send, want []byte) {
	t.Helper()
	if _, err := nc.Write(send); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if n, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("% x, %v; want % x", got[:n], err, want)
	}
}

// eventually waits until ok returns an empty string.
func eventually(t *testing.T, ok func() string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		not := ok()
		if not == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(not)
		}
	}
}

const upgradeRequest = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"

// upgraded makes a WebSocket of nc.
func upgraded(t *testing.T, nc net.Conn) net.Conn {
	t.Helper()
	if _, err := io.WriteString(nc, upgradeRequest); err != nil {
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

// masked is a frame as clients send it.
func masked(first byte, payload string) []byte {
	b := []byte{first, 0x80 | byte(len(payload)), 1, 2, 3, 4}
	for i := range len(payload) {
		b = append(b, payload[i]^byte(i%4+1))
	}
	return b
}

// TestKinds: each kind of listener hands on what it accepts, says who it is, and ends.
func TestKinds(t *testing.T) {
	names := make(chan string, 2)
	n := newTestNetwork(t, 10, func(n *Network, a Accepted) {
		names <- a.Transport.Listener().String()
		if !a.Local || a.At.IsZero() || !a.Transport.Listener().Accepts() {
			t.Errorf("%+v", a)
		}
		(&echo{t: a.Transport, n: n}).serve()
	})
	tcp, ws := n.testListen(t, KindTCP), n.testListen(t, KindWS)
	a := tcp()
	exchange(t, a, []byte("abc"), []byte("abc"))
	if name := <-names; name != KindTCP {
		t.Errorf("the listener is %q", name)
	}
	b := upgraded(t, ws())
	exchange(t, b, masked(OpBinary, "abc"), AppendFrame(nil, OpBinary, []byte("abc")))
	if name := <-names; name != KindWS {
		t.Errorf("the listener is %q", name)
	}
	if got := n.Sockets(); got != 2 {
		t.Errorf("%d sockets", got)
	}
	_ = a.Close()
	_ = b.Close()
	eventually(t, func() string {
		if got := n.Sockets(); got != 0 {
			return fmt.Sprint(got, " sockets are left")
		}
		return ""
	})
	n.Stop()
	if n.Listener(KindTCP) != nil || n.Listener(KindWS) != nil {
		t.Error("a listener is left")
	}
	if n.direct.Accepts() || (*Listener)(nil).Accepts() {
		t.Error("what no listener accepted is taken for its own")
	}
}

// TestRoomForNewSockets: when as many sockets are open as may be, a new one takes the
// place of the one that has been silent longest, and of none that has connected.
func TestRoomForNewSockets(t *testing.T) {
	n := newTestNetwork(t, 2, nil) // and handshakesMin more
	dial := n.testListen(t, KindTCP)
	const most = 2 + handshakesMin
	if n.SocketsMax() != most {
		t.Fatalf("%d sockets may be open", n.SocketsMax())
	}
	connected := dial()
	exchange(t, connected, []byte("x"), []byte("x"))
	silent := make([]net.Conn, most)
	for i := range silent { // one more than there is room for
		silent[i] = dial()
		want := min(int64(i+2), most)
		eventually(t, func() string {
			if i+2 > most {
				if got := n.c.Metrics.Refused("too many connections").Get(); got != 1 {
					return fmt.Sprint(got, " were refused")
				}
			}
			if got := n.Sockets(); got != want {
				return fmt.Sprintf("%d sockets, want %d", got, want)
			}
			return ""
		})
	}
	if _, err := silent[0].Read(make([]byte, 1)); err == nil {
		t.Error("the one that had waited longest is still there")
	}
	exchange(t, connected, []byte("y"), []byte("y"))
	exchange(t, silent[most-1], []byte("z"), []byte("z"))
}

// TestLingersMax: no more than so many connections linger, and none when the broker
// stops.
func TestLingersMax(t *testing.T) {
	n := NewNetwork(Config{MaxConnections: 1, Log: slog.New(slog.DiscardHandler)})
	for i := range lingersMax {
		if !n.MayLinger() {
			t.Fatal(i)
		}
	}
	if n.MayLinger() || n.Lingering() != lingersMax {
		t.Errorf("%d linger", n.Lingering())
	}
	n.Lingered()
	n.Stop()
	if n.MayLinger() {
		t.Error("one may linger after Stop")
	}
}

// TestShareFiles: sockets leave files for the store and for who asks for metrics.
func TestShareFiles(t *testing.T) {
	for _, test := range []struct {
		limit            uint64
		listeners, extra int
		kept, sockets    int64
	}{
		{64, 2, 0, 52, 12}, {256, 2, 0, 76, 180}, {256, 5, 25, 107, 149}, {1024, 2, 0, 108, 916}, {1 << 20, 2, 0, 108, 1<<20 - 108},
		{1, 1, 0, 46, 1}, {0, 2, 0, 0, math.MaxInt64}, {math.MaxUint64, 2, 0, 0, math.MaxInt64},
	} {
		if f := shareFiles(test.limit, test.listeners, test.extra); f.kept != test.kept || f.sockets != test.sockets {
			t.Errorf("%+v: %+v", test, f)
		}
	}
	if l := limitSockets(1000, shareFiles(0, 2, 0)); l.sockets != 2000 || l.key != "mqtt.max-connections" {
		t.Errorf("%+v", l)
	}
	if l := limitSockets(1000, shareFiles(500, 2, 0)); l.sockets != 500-44-62 || l.shown != l.sockets || l.key != causeFiles {
		t.Errorf("%+v", l)
	}
	n := NewNetwork(Config{MaxConnections: math.MaxInt32, Log: slog.New(slog.DiscardHandler)})
	before := n.SocketsMax()
	if n.SetFilesBeside(20); before < math.MaxInt32 && n.SocketsMax() != before-20 {
		t.Errorf("%d sockets, %d after 20 files more for others", before, n.SocketsMax())
	}
}
