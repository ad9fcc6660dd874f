package broker_test

import (
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/codec"
)

// TestLastWordIsRead: a Client that is still sending when the server ends its
// connection can read why.
func TestLastWordIsRead(t *testing.T) {
	s := newListening(t)
	flood := make([]byte, 1<<20)
	for name, c := range map[string]struct {
		begin func() *peer
		sends func(p *peer)
		want  codec.ReasonCode
	}{
		"DISCONNECT for an error": {
			func() *peer { return v5OverTCP(t, s, "wrong", nil) },
			func(p *peer) { p.write(append(codec.AppendPingresp(nil), flood...), nil) },
			codec.ProtocolError,
		},
		"CONNACK for an error": {
			func() *peer { return dialPeer(t, s, codec.Version311) },
			func(p *peer) {
				b, err := codec.AppendConnect(nil, &codec.Connect{}, codec.Version311)
				p.write(append(b, flood...), err)
			},
			codec.ClientIdentifierNotValid,
		},
		"DISCONNECT for a takeover": {
			func() *peer { return v5OverTCP(t, s, "twice", nil) },
			func(p *peer) {
				b, err := codec.AppendPublish(nil, &codec.Publish{Topic: codec.View("t"), Payload: flood[:1000]}, codec.Version5)
				for range 4 {
					b = append(b, b...)
				}
				_ = v5OverTCP(t, s, "twice", nil)
				for range 50 {
					p.write(b, err)
				}
			},
			codec.SessionTakenOver,
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range 3 {
				p := c.begin()
				c.sends(p)
				p.closed(c.want)
			}
		})
	}
}

// TestHalfClose: a Client that has sent all and says so gets what it is owed for it,
// when it is on disk.
func TestHalfClose(t *testing.T) {
	s := newListening(t)
	absent := v5OverTCP(t, s, "absent", lasting)
	absent.subscribeOne("t/#", 2)
	absent.drop()
	for _, v := range []codec.Version{codec.Version311, codec.Version5} {
		for _, disconnects := range []bool{false, true} {
			for range 10 {
				p := dialPeer(t, s, v)
				b, errs := []byte(nil), make([]error, 5)
				b, errs[0] = codec.AppendConnect(b, &codec.Connect{ClientID: codec.View("brief"), HasSessionExpiry: v == codec.Version5,
					SessionExpirySeconds: 60}, v)
				b, errs[1] = codec.AppendSubscribe(b, &codec.Subscribe{PacketID: 9}, []codec.Subscription{{Filter: codec.View("x")}}, v)
				b, errs[2] = codec.AppendPublish(b, &codec.Publish{Topic: codec.View("t/1"), QoS: 1, PacketID: 1}, v)
				b, errs[3] = codec.AppendPublish(b, &codec.Publish{Topic: codec.View("t/2"), QoS: 2, PacketID: 2}, v)
				if disconnects {
					b, errs[4] = codec.AppendDisconnect(b, &codec.Disconnect{}, v)
				}
				p.write(b, errors.Join(errs...))
				if err := p.Conn.(*net.TCPConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
				for _, want := range []codec.PacketType{codec.TypeConnack, codec.TypeSuback, codec.TypePuback, codec.TypePubrec} {
					p.expect(want)
				}
				p.closed(codec.Success)
				p = dialPeer(t, s, v) // ends the Session, so that the next PUBLISH is another one
				b, errs[0] = codec.AppendConnect(nil, &codec.Connect{ClientID: codec.View("brief"), CleanStart: true}, v)
				p.write(b, errs[0])
				p.expect(codec.TypeConnack)
				_ = p.Close()
			}
		}
	}
}

// TestEndComesWithLastPacket: a client without a Keep Alive that ends with its last
// packet in flight is gone at once, and its Will published, also after it has sent
// so much before that its socket is no longer read until it is empty.
func TestEndComesWithLastPacket(t *testing.T) {
	t.Parallel()
	const clients, before = 40, 30
	s := newListening(t)
	wills := v5OverTCP(t, s, "wills", nil)
	wills.subscribeOne("gone/#", 0)
	want := make(map[string]bool)
	for i := range clients {
		name := fmt.Sprint("gone/", i)
		want[name] = true
		p, _ := connectTCP(t, s, codec.Version5, fmt.Sprint("c", i), func(c *codec.Connect) {
			c.HasWill, c.Will.Topic = true, codec.View(name)
		})
		for range before {
			p.quiet()
		}
		p.write(codec.AppendPublish(nil, &codec.Publish{Topic: codec.View("last")}, p.v))
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for range clients {
		m := wills.receive()
		if !want[m.Topic.String()] {
			t.Errorf("%s twice, or not asked for", m.Topic)
		}
		delete(want, m.Topic.String())
	}
}

// TestViolationIsTold: a client that is still sending when it is refused learns
// why, although the broker does not read what it sends.
func TestViolationIsTold(t *testing.T) {
	t.Parallel()
	s := newListening(t, func(o *broker.Options) { o.MaxPacketSize = 2048 })
	for range 20 {
		p := v5OverTCP(t, s, "sender", nil)
		_, _ = p.Write(append([]byte{0x30, 0x80, 0x80, 0x10}, make([]byte, 100<<10)...))
		p.closed(codec.PacketTooLarge)
		_ = p.Close()
	}
}
