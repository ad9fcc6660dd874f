package link

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"
)

// A fakeReader is a Reader that keeps what it has got.
type fakeReader struct {
	room      []byte // nil: it is idle
	size      int
	got       []byte
	state     ReadState
	connected bool
	enough    int // after so many bytes it wants no more; 0: it wants all
	idles     int
}

func (r *fakeReader) Room() []byte {
	if r.room == nil {
		r.room = make([]byte, r.size)
	}
	return r.room
}

func (r *fakeReader) Received(n int) bool {
	r.got = append(r.got, r.room[:n]...)
	r.connected = true
	return r.enough == 0 || len(r.got) < r.enough
}

func (r *fakeReader) Rearm() error      { return nil }
func (r *fakeReader) Idle()             { r.room = nil; r.idles++ }
func (r *fakeReader) Connected() bool   { return r.connected }
func (r *fakeReader) State() *ReadState { return &r.state }

// TestStreamReads: whatever the pieces and the room, what comes is what was sent.
func TestStreamReads(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		a, b := net.Pipe()
		s := NewNetwork(Config{MaxConnections: 1, Log: slog.New(slog.DiscardHandler)}).Transport(b)
		sent := make([]byte, 20_000)
		for i := range sent {
			sent[i] = byte(rnd.Uint32())
		}
		go func() {
			for left := sent; len(left) > 0; {
				n := min(len(left), []int{1, 7, beginningBytes, beginningBytes + 1, 4000}[rnd.IntN(5)])
				if _, err := a.Write(left[:n]); err != nil {
					return // what was read shows it
				}
				left = left[n:]
			}
			_ = a.Close()
		}()
		r := &fakeReader{size: []int{1, 100, beginningBytes, 4096}[seed%4]}
		if err := s.Receive(r); !errors.Is(err, io.EOF) {
			t.Errorf("seed %d: %v", seed, err)
		}
		if !bytes.Equal(r.got, sent) {
			t.Errorf("seed %d: %d bytes came of %d, or others", seed, len(r.got), len(sent))
		}
	}
}

// TestStreamWaitsWithoutRoom: the Reader has no buffer while its stream waits.
func TestStreamWaitsWithoutRoom(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	s := NewNetwork(Config{MaxConnections: 1, Log: slog.New(slog.DiscardHandler)}).Transport(b)
	r := &fakeReader{size: 4096}
	for i := range 3 {
		go func() { _, _ = a.Write([]byte("ping")) }() // an error shows in the read
		r.enough = len(r.got) + 4
		if err := s.Receive(r); err != nil {
			t.Fatal(err)
		}
		if r.idles != i+1 {
			t.Errorf("idle %d times before %d reads", r.idles, i+1)
		}
	}
	s.Wake()
	if err := s.Receive(r); !errors.Is(err, os.ErrDeadlineExceeded) || r.room != nil {
		t.Errorf("woken: %v, %d bytes of a buffer", err, len(r.room))
	}
	if _, err := s.ReadNow(r); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nothing has come, and ReadNow says %v", err)
	}
}

// TestStreamTakesNothingAtOnce: who writes must be ready to block.
func TestStreamTakesNothingAtOnce(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	s := NewNetwork(Config{MaxConnections: 1, Log: slog.New(slog.DiscardHandler)}).Transport(b)
	if n, err := s.TryWrite([]byte("x")); n != 0 || err != nil {
		t.Errorf("took %d bytes, %v", n, err)
	}
	if _, err := s.WriteWithin([]byte("x"), time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nobody reads, and a write says %v", err)
	}
}
