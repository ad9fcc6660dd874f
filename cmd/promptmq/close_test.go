package main

import (
	"errors"
	"net"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// TestLastWordIsRead: a Client that is still sending when the server ends its
// connection can read why.
func TestLastWordIsRead(t *testing.T) {
	s := start(t, "")
	flood := make([]byte, 1<<20)
	for name, c := range map[string]struct {
		begin func() *raw
		sends func(p *raw)
		want  codec.ReasonCode
	}{
		"DISCONNECT for an error": {
			func() *raw { return v5Of(t, s, "wrong", nil) },
			func(p *raw) { p.send(append(codec.AppendPingresp(nil), flood...), nil) },
			codec.ProtocolError,
		},
		"CONNACK for an error": {
			func() *raw { return dialRaw(t, s.mqtt, codec.Version311) },
			func(p *raw) {
				b, err := codec.AppendConnect(nil, &codec.Connect{}, codec.Version311)
				p.send(append(b, flood...), err)
			},
			codec.ClientIdentifierNotValid,
		},
		"DISCONNECT for a takeover": {
			func() *raw { return v5Of(t, s, "twice", nil) },
			func(p *raw) {
				b, err := codec.AppendPublish(nil, &codec.Publish{Topic: codec.View("t"), Payload: flood[:1000]}, codec.Version5)
				for range 4 {
					b = append(b, b...)
				}
				_ = v5Of(t, s, "twice", nil)
				for range 50 {
					p.send(b, err)
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
	s := start(t, "")
	absent := v5Of(t, s, "absent", lasting)
	absent.subscribeOne("t/#", 2)
	absent.drop()
	for _, v := range []codec.Version{codec.Version311, codec.Version5} {
		for _, disconnects := range []bool{false, true} {
			for range 10 {
				p := dialRaw(t, s.mqtt, v)
				b, errs := []byte(nil), make([]error, 5)
				b, errs[0] = codec.AppendConnect(b, &codec.Connect{ClientID: codec.View("brief"), HasSessionExpiry: v == codec.Version5,
					SessionExpirySeconds: 60}, v)
				b, errs[1] = codec.AppendSubscribe(b, &codec.Subscribe{PacketID: 9}, []codec.Subscription{{Filter: codec.View("x")}}, v)
				b, errs[2] = codec.AppendPublish(b, &codec.Publish{Topic: codec.View("t/1"), QoS: 1, PacketID: 1}, v)
				b, errs[3] = codec.AppendPublish(b, &codec.Publish{Topic: codec.View("t/2"), QoS: 2, PacketID: 2}, v)
				if disconnects {
					b, errs[4] = codec.AppendDisconnect(b, &codec.Disconnect{}, v)
				}
				p.send(b, errors.Join(errs...))
				if err := p.Conn.(*net.TCPConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
				for _, want := range []codec.PacketType{codec.TypeConnack, codec.TypeSuback, codec.TypePuback, codec.TypePubrec} {
					p.expect(want, func(codec.Frame) error { return nil })
				}
				p.closed(codec.Success)
				p = dialRaw(t, s.mqtt, v) // ends the Session, so that the next PUBLISH is another one
				b, errs[0] = codec.AppendConnect(nil, &codec.Connect{ClientID: codec.View("brief"), CleanStart: true}, v)
				p.send(b, errs[0])
				p.expect(codec.TypeConnack, func(codec.Frame) error { return nil })
				_ = p.Close()
			}
		}
	}
}
