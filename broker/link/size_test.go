package link

import (
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
