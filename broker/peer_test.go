package broker_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// A peer is a Client that sends any bytes and takes answers apart strictly.
type peer struct {
	net.Conn
	t *testing.T
	v codec.Version
	r codec.Reader
}

func newPeer(t *testing.T, nc net.Conn, v codec.Version) *peer {
	p := &peer{Conn: nc, t: t, v: v}
	p.r.Reset(0)
	t.Cleanup(func() { _ = nc.Close() })
	return p
}

// connect sends CONNECT with a Clean Start, which change may alter, and returns
// CONNACK.
func (p *peer) connect(id string, change func(*codec.Connect)) codec.Connack {
	p.t.Helper()
	c := codec.Connect{ClientID: codec.View(id), CleanStart: true, ReceiveMaximum: 65535, RequestProblemInformation: true}
	if change != nil {
		change(&c)
	}
	p.write(codec.AppendConnect(nil, &c, p.v))
	var ack codec.Connack
	p.expect(codec.TypeConnack, func(f codec.Frame) error { return ack.Decode(f, p.v) })
	// What is decoded is valid until the next packet.
	ack.AssignedClientID, ack.ReasonString = ack.AssignedClientID.Clone(), ack.ReasonString.Clone()
	ack.UserProperties = codec.MakeUserProperties(ack.UserProperties.AppendTo(nil))
	return ack
}

// sendConnect asks for a durable Session.
func (p *peer) sendConnect(id string) {
	p.t.Helper()
	p.write(codec.AppendConnect(nil, &codec.Connect{
		ClientID: codec.View(id), HasSessionExpiry: true, SessionExpirySeconds: 3600,
		ReceiveMaximum: 65535, RequestProblemInformation: true,
	}, p.v))
}

func (p *peer) write(b []byte, err error) {
	p.t.Helper()
	if err == nil {
		_, err = p.Write(b)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) publish(qos codec.QoS, id uint16, topic, payload string) {
	p.t.Helper()
	p.sendPublish(codec.Publish{QoS: qos, PacketID: id, Topic: codec.View(topic), Payload: codec.View(payload)})
}

func (p *peer) sendPublish(pub codec.Publish) {
	p.t.Helper()
	p.write(codec.AppendPublish(nil, &pub, p.v))
}

// publish1 publishes at QoS 1 and returns the Reason Code of PUBACK.
func (p *peer) publish1(id uint16, topic, payload string) codec.ReasonCode {
	p.t.Helper()
	p.publish(1, id, topic, payload)
	return p.acked(codec.TypePuback).Reason
}

// publish2 publishes at QoS 2 up to PUBREC and returns its Reason Code.
func (p *peer) publish2(id uint16, topic, payload string, dup bool) codec.ReasonCode {
	p.t.Helper()
	p.sendPublish(codec.Publish{QoS: 2, Dup: dup, PacketID: id, Topic: codec.View(topic), Payload: codec.View(payload)})
	return p.acked(codec.TypePubrec).Reason
}

func (p *peer) release(id uint16) codec.ReasonCode {
	p.t.Helper()
	p.ack(codec.TypePubrel, id)
	return p.acked(codec.TypePubcomp).Reason
}

// ack sends an acknowledgement, and acked receives one.
func (p *peer) ack(t codec.PacketType, id uint16) {
	p.t.Helper()
	p.write(codec.AppendAck(nil, &codec.Ack{Type: t, PacketID: id}, p.v))
}

func (p *peer) acked(t codec.PacketType) codec.Ack {
	p.t.Helper()
	var a codec.Ack
	p.expect(t, func(f codec.Frame) error { return a.Decode(f, p.v) })
	return a
}

func (p *peer) receive() codec.Publish {
	p.t.Helper()
	var pub codec.Publish
	p.expect(codec.TypePublish, func(f codec.Frame) error { return pub.Decode(f, p.v) })
	return pub
}

// subscribe does not wait for SUBACK.
func (p *peer) subscribe(id uint16, filter string, qos codec.QoS) {
	p.t.Helper()
	p.write(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: id},
		[]codec.Subscription{{Filter: codec.View(filter), QoS: qos}}, p.v))
}

// subscribed subscribes and returns the Reason Codes of SUBACK.
func (p *peer) subscribed(subs ...codec.Subscription) []codec.ReasonCode {
	p.t.Helper()
	p.write(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, subs, p.v))
	var ack codec.Suback
	p.expect(codec.TypeSuback, func(f codec.Frame) error { return ack.Decode(f, p.v) })
	reasons := make([]codec.ReasonCode, len(ack.Reasons))
	for i, r := range ack.Reasons {
		reasons[i] = codec.ReasonCode(r)
	}
	return reasons
}

func (p *peer) subscribeOne(filter string, qos codec.QoS) codec.ReasonCode {
	p.t.Helper()
	return p.subscribed(codec.Subscription{Filter: codec.View(filter), QoS: qos})[0]
}

// expect returns the next packet, which must be of type t.
func (p *peer) expect(t codec.PacketType, decode ...func(codec.Frame) error) codec.Frame {
	p.t.Helper()
	f, err := p.next()
	if err != nil {
		p.t.Fatalf("waiting for %v: %v", t, err)
	}
	if f.Type() != t {
		p.t.Fatalf("got %v, expected %v", f.Type(), t)
	}
	for _, d := range decode {
		if err := d(f); err != nil {
			p.t.Fatal(err)
		}
	}
	return f
}

// next returns the next packet.
func (p *peer) next() (codec.Frame, error) {
	for {
		f, err := p.r.Next()
		if err != codec.ErrIncomplete {
			return f, err
		}
		if err := p.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return f, err
		}
		n, err := p.Read(p.r.Room())
		if err != nil {
			return f, err
		}
		p.r.Wrote(n)
	}
}

// quiet checks that the broker answers but has nothing else to send.
func (p *peer) quiet() {
	p.t.Helper()
	p.write(codec.AppendPingreq(nil), nil)
	p.expect(codec.TypePingresp)
}

// closed checks that the broker ends the connection, and with which Reason Code
// in a DISCONNECT or CONNACK; Success: without one. What fails is said to be about
// what.
func (p *peer) closed(want codec.ReasonCode, what ...any) {
	p.t.Helper()
	got := codec.Success
	for {
		f, err := p.next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			p.t.Fatal(append(what, "the connection stays open")...)
		}
		if err != nil {
			break
		}
		switch f.Type() {
		case codec.TypeDisconnect:
			var d codec.Disconnect
			err, got = d.Decode(f, p.v), d.Reason
		case codec.TypeConnack:
			var c codec.Connack
			err, got = c.Decode(f, p.v), c.Reason
		default:
			continue // what was under way
		}
		if err != nil {
			p.t.Fatal(err)
		}
	}
	if got != want {
		p.t.Error(append(what, fmt.Sprintf("closed with %v, expected %v", got, want))...)
	}
}

// drop ends the connection without a DISCONNECT, and returns when the broker
// has let go of it: what is published then is queued, and was never sent.
func (p *peer) drop() {
	p.t.Helper()
	if err := p.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		p.t.Fatal(err)
	}
	p.closed(codec.Success)
	_ = p.Close()
}

// leave disconnects; with a Session Expiry Interval if it is not nil.
func (p *peer) leave(expirySeconds *uint32) {
	p.t.Helper()
	var d codec.Disconnect
	if expirySeconds != nil {
		d.HasSessionExpiry, d.SessionExpirySeconds = true, *expirySeconds
	}
	p.write(codec.AppendDisconnect(nil, &d, p.v))
	p.closed(codec.Success)
}
