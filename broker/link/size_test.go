package link

import (
	"net"
	"testing"
	"unsafe"
)

// TestTransportSize bounds what a connection that says nothing has here.
func TestTransportSize(t *testing.T) {
	for _, s := range []struct {
		name       string
		bytes, max uintptr
	}{
		{"Outbox, with 16 for its Transport", unsafe.Sizeof(Outbox{}), 96},
		{"raw", unsafe.Sizeof(raw{}), 48},
		{"socket", unsafe.Sizeof(socket{}), 96},
		{"webSocket", unsafe.Sizeof(webSocket{}), 256},
	} {
		t.Logf("%-10s %3d bytes", s.name, s.bytes)
		if s.bytes > s.max {
			t.Errorf("%s has %d bytes: at most %d", s.name, s.bytes, s.max)
		}
	}
}

// TestTransportAllocations: what a connection over TCP does not use is not made for it,
// least of all the buffer of a stream.
func TestTransportAllocations(t *testing.T) {
	if !Nonblocking {
		t.Skip("sockets can only block here")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	s := &socket{netSocket: nc.(*net.TCPConn)}
	var kept Transport
	allocations := testing.AllocsPerRun(100, func() { kept = newTransport(s) })
	if _, ok := kept.(*raw); !ok {
		t.Fatalf("a %T", kept)
	}
	if allocations > 3 { // raw, its method value, the RawConn
		t.Errorf("%v allocations", allocations)
	}
	t.Logf("%v allocations", allocations)
}
