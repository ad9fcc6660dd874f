package broker_test

import (
	"net"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// TestNagle: a client that leaves the algorithm of Nagle on, and publishes and
// receives on one connection, does not wait for a delayed acknowledgement with
// each message. If it did none would be there in less than 40 ms, however fast
// the machine.
func TestNagle(t *testing.T) {
	t.Parallel()
	const warmup, rounds, want = 60, 400, 20
	s := newListening(t)
	for name, twice := range map[string]bool{"PUBACK, then PUBLISH": false, "a packet in two writes": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, _ := connectTCP(t, s, codec.Version5, name, nil)
			if err := p.Conn.(*net.TCPConn).SetNoDelay(false); err != nil {
				t.Fatal(err)
			}
			qos := codec.QoS(1)
			if twice {
				qos = 0
			} else {
				p.subscribeOne(name, 1)
			}
			prompt := 0
			for i := 0; i < rounds && prompt < want; i++ {
				began := time.Now()
				packet, err := codec.AppendPublish(nil, &codec.Publish{QoS: qos, PacketID: uint16(qos), Topic: codec.View(name), Payload: make([]byte, 50)}, codec.Version5)
				if err != nil {
					t.Fatal(err)
				}
				if twice {
					packet = codec.AppendPingreq(packet) // which tells when it is there
					p.write(packet[:10], nil)
					p.write(packet[10:], nil)
					p.expect(codec.TypePingresp)
				} else {
					p.write(packet, nil)
					p.echoed()
				}
				if i >= warmup && time.Since(began) < 30*time.Millisecond {
					prompt++
				}
			}
			if prompt < want {
				t.Errorf("%d of %d messages took less than 30 ms", prompt, rounds-warmup)
			}
		})
	}
}

// echoed takes PUBACK and PUBLISH, in any order, and acknowledges.
func (p *peer) echoed() {
	p.t.Helper()
	for range 2 {
		f, err := p.next()
		if err != nil {
			p.t.Fatal(err)
		}
		if f.Type() == codec.TypePublish {
			var m codec.Publish
			if err := m.Decode(f, p.v); err != nil {
				p.t.Fatal(err)
			}
			defer p.write(codec.AppendAck(nil, &codec.Ack{Type: codec.TypePuback, PacketID: m.PacketID}, p.v))
		}
	}
}
