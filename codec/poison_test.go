//go:build invariants

package codec

import (
	"bytes"
	"testing"
)

// TestPoison: a View that is kept too long does not go unnoticed, and the bytes
// that follow it stay.
func TestPoison(t *testing.T) {
	next := func(r *Reader) Frame {
		f, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for name, end := range map[string]func(*Reader){
		"next":    func(r *Reader) { next(r) },
		"room":    func(r *Reader) { r.Room() },
		"move":    func(r *Reader) { r.Move(make([]byte, 64)) },
		"reset":   func(r *Reader) { r.Reset(0) },
		"reclaim": func(r *Reader) { next(r); r.Reclaim() },
	} {
		var r Reader
		r.Reset(0)
		r.Lend(make([]byte, 64))
		stream := []byte{0x30, 0x03, 0, 1, 'a', 0x30, 0x03, 0, 1, 'b'}
		r.Wrote(copy(r.Room(), stream))
		kept := next(&r).Body
		if !bytes.Equal(kept, stream[2:5]) {
			t.Fatalf("%x", []byte(kept))
		}
		end(&r)
		if name == "room" { // which may have moved other bytes there
			if bytes.Equal(kept, stream[2:5]) {
				t.Errorf("%s: %x is still there", name, []byte(kept))
			}
			if f := next(&r); !bytes.Equal(f.Body, stream[7:]) {
				t.Errorf("%s: the packet behind is %x", name, []byte(f.Body))
			}
			continue
		}
		if !bytes.Equal(kept, bytes.Repeat([]byte{0xDB}, len(kept))) {
			t.Errorf("%s: %x is still there", name, []byte(kept))
		}
	}
}
