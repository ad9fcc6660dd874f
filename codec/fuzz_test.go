package codec

import (
	"bytes"
	"testing"
)

// FuzzReader cuts a stream in two ways: the frames, the errors and where they
// stand must be the same, and the reader must not grow beyond what arrived.
func FuzzReader(f *testing.F) {
	var all []byte
	for _, v := range validVectors {
		b := v.bytes(f)
		all = append(all, b...)
		f.Add(b, uint8(1), uint16(0))
	}
	for _, v := range malformedVectors {
		f.Add(v.bytes(f), uint8(3), uint16(100))
	}
	f.Add(all, uint8(7), uint16(0))
	f.Fuzz(func(t *testing.T, stream []byte, chunk uint8, limit uint16) {
		whole, errWhole := readAll(t, stream, len(stream)+1, int(limit))
		pieces, errPieces := readAll(t, stream, int(chunk)+1, int(limit))
		if errWhole != errPieces || !bytes.Equal(whole, pieces) {
			t.Errorf("in one piece %x, %v\nin pieces    %x, %v", whole, errWhole, pieces, errPieces)
		}
		if !bytes.HasPrefix(stream, whole) {
			t.Errorf("read %x from %x", whole, stream)
		}
	})
}

// readAll reads a stream in chunks and returns the bytes of the whole packets,
// rebuilt from their frames, and the error that ended it.
func readAll(t *testing.T, stream []byte, chunk, limit int) (packets []byte, err error) {
	var r Reader
	r.Reset(limit)
	fed := 0
	for {
		f, err := r.Next()
		if err == nil {
			at := len(packets)
			packets = append(packets, f.First)
			packets = appendVarint(packets, uint32(len(f.Body)))
			packets = append(packets, f.Body...)
			if f.Size() != len(packets)-at { // 1 + n + Remaining Length
				t.Errorf("size %d of %d bytes", f.Size(), len(packets)-at)
			}
			continue
		}
		if err != ErrIncomplete || fed == len(stream) {
			return packets, err
		}
		room := r.Room()
		if len(r.buf) > 2*fed+roomMin {
			t.Errorf("a buffer of %d bytes for %d", len(r.buf), fed)
		}
		n := copy(room[:min(len(room), chunk)], stream[fed:])
		r.Wrote(n)
		fed += n
	}
}

// fuzzPackets checks that decode, append and decode again is the identity, for
// packets of the given types and in every version.
func fuzzPackets(f *testing.F, types ...PacketType) {
	of := packets(types...)
	for _, vs := range [][]vector{validVectors, malformedVectors} {
		for _, v := range vs {
			frame, err := frameOf(v.bytes(f), v.version, 0)
			if err == nil && of.has(frame.Type()) {
				f.Add(frame.First, []byte(frame.Body), byte(v.version))
			}
		}
	}
	f.Fuzz(func(t *testing.T, first byte, body []byte, version byte) {
		frame := Frame{First: first, Body: body}
		if !of.has(frame.Type()) || checkHeader(first, Version31+Version(version%3)) != nil {
			return
		}
		v := Version31 + Version(version%3)
		var p packet
		if p.decode(frame, v) != nil {
			return
		}
		b, err := p.append(nil)
		if err != nil {
			t.Fatalf("decoded, but not appended: %v: %s", err, p.meaning())
		}
		checkIdentity(t, &p, b)
	})
}

func FuzzConnect(f *testing.F)     { fuzzPackets(f, TypeConnect) }
func FuzzConnack(f *testing.F)     { fuzzPackets(f, TypeConnack) }
func FuzzPublish(f *testing.F)     { fuzzPackets(f, TypePublish) }
func FuzzAck(f *testing.F)         { fuzzPackets(f, TypePuback, TypePubrec, TypePubrel, TypePubcomp) }
func FuzzSubscribe(f *testing.F)   { fuzzPackets(f, TypeSubscribe) }
func FuzzSuback(f *testing.F)      { fuzzPackets(f, TypeSuback) }
func FuzzUnsubscribe(f *testing.F) { fuzzPackets(f, TypeUnsubscribe) }
func FuzzUnsuback(f *testing.F)    { fuzzPackets(f, TypeUnsuback) }
func FuzzDisconnect(f *testing.F)  { fuzzPackets(f, TypeDisconnect) }
func FuzzAuth(f *testing.F)        { fuzzPackets(f, TypeAuth) }
func FuzzPing(f *testing.F)        { fuzzPackets(f, TypePingreq, TypePingresp) }
