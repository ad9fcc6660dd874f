package link

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
)

// FuzzWebSocketFrames: whatever comes over a WebSocket, the connection ends with it, what comes
// back is whole frames, and no more than was sent.
func FuzzWebSocketFrames(f *testing.F) {
	long := func(first byte, length uint64) []byte {
		return append(binary.BigEndian.AppendUint64([]byte{first, 0xFF}, length), 1, 2, 3, 4, 'x')
	}
	for _, seed := range [][]byte{
		masked(OpBinary, "abc"), masked(0x02, "a"), append(masked(0x02, "a"), masked(0x80, "b")...), append(masked(0x02, "a"), masked(opPing, "ping")...),
		masked(0x81, "text"), masked(opClose, "\x03\xe8"), masked(opClose, "\x03"), masked(0xC2, "compressed"), masked(0x8F, ""), {0x82, 3, 'a', 'b', 'c'},
		long(OpBinary, 1<<63-1), long(OpBinary, 1<<63), long(OpBinary, 1<<64-1), long(OpBinary, 1), long(opPing, 126), long(opPing, 1<<64-1), {0xFF, 0x7F, 0xFF, 0xFF, 0x0F, 0, 0, 0, 0, 0}, long(0x80, 3),
		{0x82}, {0x82, 0xFE, 0}, bytes.Repeat(masked(0x00, ""), 100), bytes.Repeat(masked(opPing, "x"), 100),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		n := newTestNetwork(t, 10, nil)
		nc := upgraded(t, n.testListen(t, KindWS)())
		go func() {
			_, _ = nc.Write(sent) // an error: it is closed already
			_ = nc.(*net.TCPConn).CloseWrite()
		}()
		got, err := io.ReadAll(nc)
		if err != nil && isTimeout(err) {
			t.Fatal("still open")
		}
		payload := 0
		for len(got) > 0 {
			head, length := 2, 0
			if len(got) < 2 || got[1] > 126 {
				t.Fatalf("no frame of a server: % x", got)
			}
			if length = int(got[1]); length == 126 {
				head, length = 4, int(binary.BigEndian.Uint16(append(got[2:4:4], 0, 0)))
			}
			if len(got) < head+length {
				break // it was cut off by the end
			}
			if got[0] != opClose {
				payload += length
			}
			got = got[head+length:]
		}
		if payload > len(sent) {
			t.Errorf("%d bytes for %d", payload, len(sent))
		}
	})
}
