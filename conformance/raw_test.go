package conformance

import (
	"encoding/binary"
	"slices"

	"github.com/x0a1b/promptmq/codec"
)

// This file makes packets that the codec refuses to make.

// frame puts a Fixed Header before the parts.
func frame(first byte, parts ...[]byte) []byte {
	body := slices.Concat(parts...)
	b := []byte{first}
	n := len(body)
	for {
		digit := byte(n % 128)
		if n /= 128; n > 0 {
			digit |= 0x80
		}
		b = append(b, digit)
		if n == 0 {
			return append(b, body...)
		}
	}
}

// field is a string or binary data behind its two bytes of length.
func field(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

func uint16Bytes(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }

// properties puts the Property Length before the parts; before MQTT 5 there are
// none.
func (t *T) properties(parts ...[]byte) []byte {
	if !t.v5() {
		return nil
	}
	b := slices.Concat(parts...)
	return append([]byte{byte(len(b))}, b...)
}

// CONNECT flags, section 3.1.2.3.
const (
	flagReserved   = 0x01
	flagClean      = 0x02
	flagWill       = 0x04
	flagWillQoS1   = 0x08
	flagWillQoS2   = 0x10
	flagWillRetain = 0x20
	flagPassword   = 0x40
	flagUserName   = 0x80
)

// level is the Protocol Version of the test.
func (t *T) level() byte { return byte(t.version) }

// rawConnect is a CONNECT with these flags and exactly these fields in the
// Payload.
func (t *T) rawConnect(flags byte, payload ...[]byte) []byte {
	return t.rawConnectAs("MQTT", t.level(), flags, payload...)
}

func (t *T) rawConnectAs(protocol string, level, flags byte, payload ...[]byte) []byte {
	head := slices.Concat(field(protocol), []byte{level, flags, 0, 60}, t.properties())
	return frame(0x10, append([][]byte{head}, payload...)...)
}

// refuses checks that the broker does not accept a CONNECT. Before MQTT 5 a
// CONNECT that breaks the format is not answered at all.
func (t *T) refuses(connect []byte, reasons ...codec.ReasonCode) {
	t.Helper()
	p := t.dial()
	p.send(connect...)
	reason, said := p.end()
	if said && reason == 0 {
		t.Fatalf("% x is accepted", connect)
	}
	if said && !t.v5() {
		t.Errorf("% x is answered with CONNACK (%v), should be closed without", connect, reason) // [MQTT-3.1.4-1] of 3.1.1
	}
	if said && len(reasons) > 0 && !slices.Contains(reasons, reason) {
		t.Errorf("% x is refused with %v, expected one of %v", connect, reason, reasons)
	}
}

// accepts checks that the broker accepts a CONNECT.
func (t *T) accepts(connect []byte) *peer {
	t.Helper()
	p := t.dial()
	p.send(connect...)
	if reason := p.await(codec.TypeConnack).connack.Reason; reason != 0 {
		t.Fatalf("% x is refused with %v", connect, reason)
	}
	return p
}
