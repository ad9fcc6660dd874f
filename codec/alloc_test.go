package codec

import "testing"

// TestAllocations: no packet allocates to be decoded, nor, when dst has room,
// to be appended; nor does a malformed one.
func TestAllocations(t *testing.T) {
	var p packet
	dst := make([]byte, 0, 1<<12)
	for _, v := range validVectors {
		f, err := frameOf(v.bytes(t), v.version, 0)
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(100, func() {
			if err := p.decode(f, v.version); err != nil {
				t.Fatal(err)
			}
			if dst, err = p.append(dst[:0]); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", v.name, n)
		}
	}
	for _, v := range malformedVectors {
		b := v.bytes(t)
		var r Reader
		buf := make([]byte, 256)
		if n := testing.AllocsPerRun(100, func() {
			r.Reset(1 << 20)
			r.SetVersion(v.version)
			r.Lend(buf)
			r.Wrote(copy(r.Room(), b))
			f, err := r.Next()
			if err == nil {
				err = p.decode(f, v.version)
			}
			if err == nil {
				t.Fatal("no error")
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", v.name, n)
		}
	}
}
