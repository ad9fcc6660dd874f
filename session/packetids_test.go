package session

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func packetIDsOf(ids ...uint16) *PacketIDs {
	p := new(PacketIDs)
	for _, id := range ids {
		p.add(id, 0)
	}
	return p
}

// oldStates are States as earlier versions wrote them, with a list.
var oldStates = []struct {
	bytes []byte
	ids   []uint16
}{
	{[]byte{1, 1, 1, 1, 0, 0, 3, 0, 1, 0, 7, 0xFF, 0xFF}, []uint16{1, 7, 65535}},
	{[]byte{2, 5, 3, 9, 12, 1, 1, 1, 1, 0, 1, 0, 64}, []uint16{64}},
	{[]byte{1, 1, 1, 1, 0, 0, 0}, nil},
}

// TestOldStates: what an earlier version stored is read, and what is short is
// written so again, for it to be read.
func TestOldStates(t *testing.T) {
	for _, old := range oldStates {
		var s, again State
		if err := s.Decode(old.bytes); err != nil {
			t.Errorf("% x: %v", old.bytes, err)
			continue
		}
		if b := s.Append(nil); again.Decode(b) != nil || !bytes.Equal(b, old.bytes) {
			t.Errorf("% x became % x", old.bytes, b)
		}
		for _, st := range []*State{&s, &again} {
			if got := slices.Collect(st.Received.All()); !slices.Equal(got, old.ids) || st.Floor != s.Floor || st.MaybeSent != s.MaybeSent {
				t.Errorf("% x: %+v with %d", old.bytes, st, got)
			}
		}
	}
	long := []byte{2, 5, 3, 9, 12, 1, 1, 1, 1, 0, 0xE8, 0x07} // 1,000 of them
	want := []uint16{}
	for id := range uint16(1000) {
		want = append(want, 30*id+3)
		long = binary.BigEndian.AppendUint16(long, 30*(999-id)+3) // in any order
	}
	var s, again State
	if s.Decode(long) != nil || again.Decode(s.Append(nil)) != nil || again.MaybeSent != 5 ||
		!slices.Equal(slices.Collect(again.Received.All()), want) {
		t.Errorf("%d of 1,000 identifiers are read from a list, then %d", s.Received.Len(), again.Received.Len())
	}
	restored, err := Restore(&Loaded{State: oldStates[0].bytes, Record: Record{ID: 1}}, &simLimits)
	if err != nil {
		t.Fatal(err)
	}
	var fx Effects
	if restored.ReceivePublish(7, 1, false, &fx) != Repeated || !restored.ReceivePubrel(65535, &fx) || restored.ReceivingCount() != 2 {
		t.Errorf("%d identifiers are in use", restored.ReceivingCount())
	}
}

// TestPacketIDs compares the set with a map, and what it encodes to with itself.
func TestPacketIDs(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for _, span := range []int{3, 200, 5000, 65535} {
		p, model := new(PacketIDs), map[uint16]bool{}
		for step := range 4000 {
			id := uint16(65535 - r.IntN(span))
			if span == 200 { // around the lowest
				id = uint16(1 + r.IntN(span))
			}
			switch {
			case !model[id] && r.IntN(3) > 0:
				p.add(id, id|1)
				model[id] = true
			case p.remove(id) != model[id]:
				t.Fatalf("span %d: %d was removed, or was not", span, id)
			default:
				delete(model, id)
			}
			if p.Len() != len(model) || p.Has(id) != model[id] {
				t.Fatalf("span %d: %d of %d identifiers, %d: %v", span, p.Len(), len(model), id, p.Has(id))
			}
			if step%500 == 0 {
				checkEncoding(t, p)
			}
		}
		for _, page := range p.pages { // each digest is there, and no other
			for bit, digest := range page.digests {
				want := uint16(0)
				if id := page.no*idsInPage + uint16(bit); model[id] {
					want = id | 1
				}
				if digest != want {
					t.Errorf("span %d: digest %d, expected %d", span, digest, want)
				}
			}
		}
	}
}

func checkEncoding(t *testing.T, p *PacketIDs) {
	t.Helper()
	encoded := p.append(nil)
	r := stateReader{b: encoded}
	again := r.packetIDs()
	if r.failed || !slices.Equal(slices.Collect(p.All()), slices.Collect(again.All())) || again.Len() != p.Len() {
		t.Fatalf("% x does not decode to what it encodes", encoded)
	}
	if !bytes.Equal(again.append(nil), encoded) {
		t.Errorf("% x is written in another way again", encoded)
	}
}

// TestPacketIDsSize: however many identifiers are in use and which, the State
// stays small.
func TestPacketIDsSize(t *testing.T) {
	for name, c := range map[string]struct {
		n        int
		id       func(int) uint16
		bytesMax int
	}{
		"10 in a row":                {10, func(i int) uint16 { return uint16(1 + i) }, 16},
		"10,000 in a row":            {10_000, func(i int) uint16 { return uint16(100 + i) }, 32},
		"60,000 in a row and around": {60_000, func(i int) uint16 { return uint16((20_000+i)%65535) + 1 }, 48},
		"all":                        {65_535, func(i int) uint16 { return uint16(1 + i) }, 8},
		"every second":               {32_767, func(i int) uint16 { return uint16(2 * (1 + i)) }, 8<<10 + 8},
		"one of each page":           {1024, func(i int) uint16 { return uint16(64*i + 63) }, 8<<10 + 8},
		"every second page":          {512, func(i int) uint16 { return uint16(128*i + 63) }, 8 << 10},
	} {
		p := new(PacketIDs)
		for i := range c.n {
			p.add(c.id(i), 0)
		}
		if n := len(p.append(nil)); n > c.bytesMax {
			t.Errorf("%s: %d bytes, at most %d", name, n, c.bytesMax)
		}
		checkEncoding(t, p)
		for i := range c.n {
			p.remove(c.id(i))
		}
		if p.Len() != 0 || cap(p.pages) > keptPages {
			t.Errorf("%s: %d are left, with memory for %d pages", name, p.Len(), cap(p.pages))
		}
	}
}

// TestIdentifierInUse: another message with an identifier in use is told from
// the same one sent again, on the connection that it came on.
func TestIdentifierInUse(t *testing.T) {
	s := New(1, "c", "", true, &simLimits)
	var fx Effects
	s.Attach(65535, 0, start, &fx)
	receive := func(digest uint16, dup bool, want Reception) {
		t.Helper()
		if got := s.ReceivePublish(9, digest, dup, &fx); got != want {
			t.Errorf("digest %d, DUP %t: %v, expected %v", digest, dup, got, want)
		}
	}
	receive(5, false, Accepted)
	receive(5, false, Repeated)
	receive(6, false, InUse)
	receive(6, true, Repeated)
	receive(0, false, Repeated)
	receive(5, false, Repeated)
	s.ReceivePubrel(9, &fx)
	receive(6, false, Accepted)
	s.Attach(65535, 0, start, &fx)
	receive(5, false, Repeated) // came on another connection
	s.ReceivePubrel(9, &fx)
	receive(0, false, Accepted)
	receive(5, false, Repeated)
}

// BenchmarkOpenIdentifiers is a QoS 2 message and its release, with many others
// that are not released.
func BenchmarkOpenIdentifiers(b *testing.B) {
	for _, n := range []int{10, 10_000, 60_000} {
		for _, how := range []string{"counting", "random"} {
			b.Run(fmt.Sprint(how, "/", n), func(b *testing.B) {
				s := New(1, "c", "", true, &simLimits)
				var fx Effects
				id := func(i int) uint16 {
					if how == "random" {
						return uint16(uint64(i)*40503%65521) + 1
					}
					return uint16(i%65535) + 1
				}
				for i := range n {
					s.ReceivePublish(id(i), 1, false, &fx)
				}
				var dst []byte
				i := n
				b.ReportAllocs()
				for b.Loop() {
					s.ReceivePublish(id(i), 1, false, &fx)
					dst = s.AppendState(dst[:0])
					s.ReceivePubrel(id(i-n), &fx)
					dst = s.AppendState(dst[:0])
					i++
				}
				b.ReportMetric(float64(len(dst)), "B/state")
			})
		}
	}
}
