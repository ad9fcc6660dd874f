package codec

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestStrings compares the checks, which take eight bytes at a time, with what
// they mean: every byte at every place of strings of every length around eight.
func TestStrings(t *testing.T) {
	for length := range 26 {
		for at := range length {
			for c := range 256 {
				v := bytes.Repeat([]byte("a"), length)
				v[at] = byte(c)
				checkBoth(t, v)
			}
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	runes := []string{"\xff", "\xed\xa0\x80", "\x00", "#", "+", "\u00e9", "\u20ac", "\U0001f600", "\ufeff", "\x01", "\x7f", "/", "a"}
	for range 20000 {
		var v []byte
		some := runes[r.IntN(len(runes)):] // without the first, most strings are well-formed
		for range r.IntN(20) {
			v = append(v, some[r.IntN(len(some))]...)
		}
		checkBoth(t, v)
	}
}

func checkBoth(t *testing.T, v []byte) {
	t.Helper()
	var want *Error
	switch {
	case bytes.IndexByte(v, 0) >= 0:
		want = errNull
	case !utf8.Valid(v):
		want = errUTF8
	}
	if got := checkString(v); got != want {
		t.Errorf("%q as a string: %v, expected %v", v, got, want)
	}
	if ValidUTF8(v) != (want == nil) {
		t.Errorf("%q: ValidUTF8 disagrees", v)
	}
	if want == nil && strings.ContainsAny(string(v), "+#") {
		want = errTopicWildcard
	}
	if got := checkTopicName(v); got != want {
		t.Errorf("%q as a Topic Name: %v, expected %v", v, got, want)
	}
}

// TestVarints: every boundary, both ways, and what is too long. [MQTT-1.5.5-1]
func TestVarints(t *testing.T) {
	for _, v := range []uint32{0, 1, 127, 128, 16383, 16384, 2097151, 2097152, maxVarint} {
		b := appendVarint(nil, v)
		got, n, err := readVarint(b)
		if got != v || n != len(b) || n != varintSize(v) || err != nil {
			t.Errorf("%d: %x is %d, %d bytes, %v", v, b, got, n, err)
		}
		for i := range b { // incomplete is not an error
			if _, n, err := readVarint(b[:i]); n != 0 || err != nil {
				t.Errorf("%x: %d bytes, %v", b[:i], n, err)
			}
		}
		if len(b) < 4 { // one byte more than needed
			b[len(b)-1] |= 0x80
			if _, _, err := readVarint(append(b, 0)); err != errVarint {
				t.Errorf("%x 00: %v", b, err)
			}
		}
	}
	if _, _, err := readVarint([]byte{0xff, 0xff, 0xff, 0xff}); err != errVarint {
		t.Error(err)
	}
}
