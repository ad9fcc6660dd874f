package codec

import "testing"

func benchmarkPublishes() []vector {
	return []vector{
		{name: "qos0", version: 5, hex: "30 52 000f 73656e736f72732f6b69746368656e 00" + payload64},
		{name: "qos1", version: 5, hex: "32 54 000f 73656e736f72732f6b69746368656e 0001 00" + payload64},
		{name: "properties", version: 5, hex: "32 6e 000f 73656e736f72732f6b69746368656e 0001 1a" +
			"02 0000000a 01 01 03 0001 74 08 0001 72 09 0001 63 26 0001 6b 0001 76" + payload64},
	}
}

const payload64 = "00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"

func BenchmarkDecodePublish(b *testing.B) {
	for _, v := range benchmarkPublishes() {
		b.Run(v.name, func(b *testing.B) {
			f, err := frameOf(v.bytes(b), v.version, 0)
			if err != nil {
				b.Fatal(err)
			}
			var p Publish
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Decode(f, v.version); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendPublish(b *testing.B) {
	for _, v := range benchmarkPublishes() {
		b.Run(v.name, func(b *testing.B) {
			f, err := frameOf(v.bytes(b), v.version, 0)
			if err != nil {
				b.Fatal(err)
			}
			var p Publish
			if err := p.Decode(f, v.version); err != nil {
				b.Fatal(err)
			}
			dst := make([]byte, 0, 256)
			b.ReportAllocs()
			for b.Loop() {
				if dst, err = AppendPublish(dst[:0], &p, v.version); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecodeAck(b *testing.B) {
	f := Frame{First: 0x40, Body: View{0, 1}}
	var a Ack
	b.ReportAllocs()
	for b.Loop() {
		if err := a.Decode(f, Version5); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendAck(b *testing.B) {
	a := Ack{Type: TypePuback, PacketID: 1}
	dst := make([]byte, 0, 16)
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if dst, err = AppendAck(dst[:0], &a, Version5); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeConnect(b *testing.B) {
	for _, v := range validVectors {
		if v.name != "connect 3.1.1" && v.name != "connect 5 properties" && v.name != "connect 5 will" {
			continue
		}
		b.Run(v.name, func(b *testing.B) {
			f, err := frameOf(v.bytes(b), v.version, 0)
			if err != nil {
				b.Fatal(err)
			}
			var c Connect
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Decode(f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReader(b *testing.B) {
	v := benchmarkPublishes()[0]
	packet := v.bytes(b)
	var r Reader
	r.Reset(0)
	r.Lend(make([]byte, 4096))
	b.ReportAllocs()
	for b.Loop() {
		r.Wrote(copy(r.Room(), packet))
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}
