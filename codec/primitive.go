package codec

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

const (
	maxVarint = 268435455 // section 1.5.5
	maxString = 65535     // section 1.5.4
)

// readVarint decodes a Variable Byte Integer and returns its length in bytes;
// n is 0 if b ends before it does. [MQTT-1.5.5-1]
func readVarint(b []byte) (v uint32, n int, err *Error) {
	for i := 0; i < 4; i++ {
		if i == len(b) {
			return 0, 0, nil
		}
		v |= uint32(b[i]&0x7F) << (7 * i)
		if b[i] < 0x80 {
			if b[i] == 0 && i > 0 {
				return 0, 0, errVarint
			}
			return v, i + 1, nil
		}
	}
	return 0, 0, errVarint
}

func appendVarint(dst []byte, v uint32) []byte {
	if v < 0x80 { // inlined
		return append(dst, byte(v))
	}
	return appendLongVarint(dst, v)
}

func appendLongVarint(dst []byte, v uint32) []byte {
	for v >= 0x80 {
		dst = append(dst, byte(v)|0x80)
		v >>= 7
	}
	return append(dst, byte(v))
}

func varintSize(v uint32) int {
	switch {
	case v < 1<<7:
		return 1
	case v < 1<<14:
		return 2
	case v < 1<<21:
		return 3
	}
	return 4
}

func appendString(dst, s []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}

// ValidUTF8 reports whether v is a well-formed UTF-8 Encoded String: no
// surrogates [MQTT-1.5.4-1], no U+0000 [MQTT-1.5.4-2]. U+FEFF is a character
// like any other. [MQTT-1.5.4-3]
func ValidUTF8(v View) bool { return checkString(v) == nil }

func checkString(v View) *Error {
	if plain(v, 0) {
		return nil
	}
	if bytes.IndexByte(v, 0) >= 0 {
		return errNull
	}
	if !utf8.Valid(v) {
		return errUTF8
	}
	return nil
}

// checkTopicName checks a string that is a Topic Name, which may be empty.
func checkTopicName(v View) *Error {
	if plain(v, wildcards) {
		return nil
	}
	if err := checkString(v); err != nil {
		return err
	}
	if bytes.ContainsAny(v, "+#") { // [MQTT-3.3.2-2] [MQTT-4.7.0-1]
		return errTopicWildcard
	}
	return nil
}

// Eight bytes at a time: bit 7 of each, the value 1 in each, and the bit in
// which "+" (0x2B) and "#" (0x23) differ in each.
const (
	highs     uint64 = 0x8080808080808080
	ones      uint64 = 0x0101010101010101
	wildcards uint64 = 0x0808080808080808
)

// plain reports whether all of v is ASCII other than U+0000 and, if mask is
// wildcards, other than "+" and "#".
func plain(v []byte, mask uint64) bool {
	if len(v) < 8 {
		x := ones * 'a' // the bytes that are not there
		for _, c := range v {
			x = x<<8 | uint64(c)
		}
		return plain8(x, mask) == 0
	}
	found := plain8(binary.LittleEndian.Uint64(v[len(v)-8:]), mask)
	for ; len(v) > 8; v = v[8:] {
		found |= plain8(binary.LittleEndian.Uint64(v), mask)
	}
	return found == 0
}

// plain8 sets bit 7 where a byte is not plain, and perhaps in bytes above.
func plain8(x, mask uint64) uint64 {
	found := (x - ones) | x
	if mask != 0 {
		y := (x | mask) ^ ones*'+'
		found |= (y - ones) &^ y
	}
	return found & highs
}

// A fields walks the fields of a packet. The first failure stays.
type fields struct {
	b   []byte
	err *Error
}

func (f *fields) fail(err *Error) {
	if f.err == nil {
		f.err = err
	}
	f.b = nil
}

func (f *fields) byte() byte {
	if len(f.b) < 1 {
		f.fail(errShort)
		return 0
	}
	v := f.b[0]
	f.b = f.b[1:]
	return v
}

func (f *fields) uint16() uint16 {
	if len(f.b) < 2 {
		f.fail(errShort)
		return 0
	}
	v := binary.BigEndian.Uint16(f.b)
	f.b = f.b[2:]
	return v
}

func (f *fields) uint32() uint32 {
	if len(f.b) < 4 {
		f.fail(errShort)
		return 0
	}
	v := binary.BigEndian.Uint32(f.b)
	f.b = f.b[4:]
	return v
}

func (f *fields) varint() uint32 {
	v, n, err := readVarint(f.b)
	if err != nil {
		f.fail(err)
		return 0
	}
	if n == 0 {
		f.fail(errShort)
		return 0
	}
	f.b = f.b[n:]
	return v
}

func (f *fields) binary() View {
	n := int(f.uint16())
	if len(f.b) < n {
		f.fail(errShort)
		return nil
	}
	v := f.b[:n:n]
	f.b = f.b[n:]
	return v
}

func (f *fields) string() View {
	v := f.binary()
	if err := checkString(v); err != nil {
		f.fail(err)
		return nil
	}
	return v
}

func (f *fields) packetID() uint16 {
	id := f.uint16()
	if id == 0 && f.err == nil {
		f.fail(errPacketID)
	}
	return id
}

// properties cuts off the properties with their length.
func (f *fields) properties() View {
	n := f.varint()
	if uint64(n) > uint64(len(f.b)) {
		f.fail(errPropertyLength)
		return nil
	}
	v := f.b[:n:n]
	f.b = f.b[n:]
	return v
}

// end reports the first failure, or bytes that are left over.
func (f *fields) end() error {
	if f.err != nil {
		return f.err
	}
	if len(f.b) > 0 {
		return errTrailing
	}
	return nil
}

// finishPacket puts the fixed header in front of the body at dst[start:],
// which begins with room for the longest header.
func finishPacket(dst []byte, start int, first byte) ([]byte, error) {
	body := len(dst) - start - headerRoom
	if body > maxVarint {
		return dst[:start], errEncodeLength
	}
	n := varintSize(uint32(body))
	if shift := headerRoom - 1 - n; shift > 0 {
		copy(dst[start+1+n:], dst[start+headerRoom:])
		dst = dst[:len(dst)-shift]
	}
	dst[start] = first
	appendVarint(dst[:start+1], uint32(body))
	return dst, nil
}

// headerRoom is the longest fixed header: the first byte and the length.
const headerRoom = 5

var noHeader [headerRoom]byte

func startPacket(dst []byte) []byte { return append(dst, noHeader[:]...) }
