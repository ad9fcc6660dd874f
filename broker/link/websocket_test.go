package link

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"testing"
)

// TestWebSocketFrames: whatever the frames, fragments and control frames in which
// bytes are sent, and the pieces in which these arrive, the bytes are the same, and go
// back in whole binary frames.
func TestWebSocketFrames(t *testing.T) {
	n := newTestNetwork(t, 10, nil)
	dial := n.testListen(t, KindWS)
	for seed := range uint64(10) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		nc := upgraded(t, dial())
		var wire, sent []byte
		pings, inMessage := 0, false
		for range 50 {
			payload := make([]byte, rnd.IntN(126))
			for i := range payload {
				payload[i] = byte(rnd.Uint32())
			}
			first := byte(OpBinary)
			if inMessage {
				first = 0x80
			}
			if inMessage = rnd.IntN(2) == 0; inMessage {
				first &^= 0x80
			}
			wire, sent = append(wire, masked(first, string(payload))...), append(sent, payload...)
			if rnd.IntN(3) == 0 {
				wire = append(wire, masked(0x89, "ping")...)
				pings++
			}
		}
		go func() {
			for len(wire) > 0 {
				k := min(len(wire), []int{1, 2, 5, 130, 3000}[rnd.IntN(5)])
				if _, err := nc.Write(wire[:k]); err != nil {
					return // the reader says why
				}
				wire = wire[k:]
			}
		}()
		got, pongs := readFrames(t, nc, len(sent), pings)
		if !bytes.Equal(got, sent) || pongs != pings {
			t.Errorf("seed %d: %d bytes of %d, or others, and %d pongs for %d pings", seed, len(got), len(sent), pongs, pings)
		}
		_ = nc.Close()
	}
}

// readFrames reads until so many bytes and pongs have come.
func readFrames(t *testing.T, nc net.Conn, size, pings int) (got []byte, pongs int) {
	t.Helper()
	for len(got) < size || pongs < pings {
		var h [4]byte
		if _, err := io.ReadFull(nc, h[:2]); err != nil {
			t.Fatal(err)
		}
		length := int(h[1])
		if length == 126 {
			if _, err := io.ReadFull(nc, h[2:]); err != nil {
				t.Fatal(err)
			}
			length = int(binary.BigEndian.Uint16(h[2:]))
		}
		payload := make([]byte, length)
		if _, err := io.ReadFull(nc, payload); err != nil {
			t.Fatal(err)
		}
		switch h[0] {
		case OpBinary:
			got = append(got, payload...)
		case 0x8A:
			pongs++
		default:
			t.Fatalf("frame %#x", h[0])
		}
	}
	return got, pongs
}

// TestWebSocketFarewell: a peer that closes is answered, and a frame that is wrong gets
// a close frame with its reason.
func TestWebSocketFarewell(t *testing.T) {
	n := newTestNetwork(t, 10, nil)
	dial := n.testListen(t, KindWS)
	for name, c := range map[string]struct {
		send   []byte
		status uint16
	}{
		"a close frame":        {masked(0x88, "\x03\xe8"), 1000},
		"a text frame":         {masked(0x81, "text"), 1003},
		"an unknown frame":     {masked(0x83, "x"), 1002},
		"a frame without mask": {[]byte{0x82, 1, 'x'}, 1002},
	} {
		t.Run(name, func(t *testing.T) {
			nc := upgraded(t, dial())
			exchange(t, nc, c.send, []byte{opClose})
			rest, err := io.ReadAll(nc)
			if err != nil || len(rest) < 3 || binary.BigEndian.Uint16(rest[1:]) != c.status {
				t.Errorf("% x, %v: want the status %d", rest, err, c.status)
			}
		})
	}
}
