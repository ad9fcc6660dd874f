//go:build invariants

package codec

import "testing"

// TestPoison: a View that is kept too long does not go unnoticed.
func TestPoison(t *testing.T) {
	var r Reader
	r.Reset(0)
	r.Wrote(copy(r.Room(), []byte{0x30, 0x03, 0, 1, 'a', 0xc0, 0}))
	f, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	kept := f.Body
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	for _, c := range kept {
		if c != 0xDB {
			t.Fatalf("%x is still there", []byte(kept))
		}
	}
}
