package main

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/x0a1b/promptmq/codec"
)

// clientSeconds bounds every single answer; only what fails waits for it.
const clientSeconds = 60

func dialTCP(t *testing.T, addr string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return nc
}

func dialWebSocket(t *testing.T, addr string) net.Conn {
	t.Helper()
	ws, _, err := websocket.Dial(t.Context(), "ws://"+addr+"/any/path", &websocket.DialOptions{Subprotocols: []string{"mqtt"}})
	if err != nil {
		t.Fatal(err)
	}
	return websocket.NetConn(context.Background(), ws, websocket.MessageBinary)
}

// A raw is a client that sends any bytes and takes answers apart strictly.
type raw struct {
	net.Conn
	t *testing.T
	v codec.Version
	r codec.Reader
}

func dialRaw(t *testing.T, addr string, v codec.Version) *raw {
	t.Helper()
	return newRaw(t, dialTCP(t, addr), v)
}

func newRaw(t *testing.T, nc net.Conn, v codec.Version) *raw {
	p := &raw{Conn: nc, t: t, v: v}
	p.r.Reset(0)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// connectRaw connects with a Clean Start; change may alter the CONNECT.
func connectRaw(t *testing.T, addr string, v codec.Version, id string, change func(*codec.Connect)) (*raw, codec.Connack) {
	t.Helper()
	return connectOver(t, dialTCP(t, addr), v, id, change)
}

func connectOver(t *testing.T, nc net.Conn, v codec.Version, id string, change func(*codec.Connect)) (*raw, codec.Connack) {
	t.Helper()
	p := newRaw(t, nc, v)
	c := codec.Connect{ClientID: codec.View(id), CleanStart: true, ReceiveMaximum: 65535, RequestProblemInformation: true}
	if change != nil {
		change(&c)
	}
	p.send(codec.AppendConnect(nil, &c, v))
	var ack codec.Connack
	p.expect(codec.TypeConnack, func(f codec.Frame) error { return ack.Decode(f, v) })
	return p, ack
}

func v5Of(t *testing.T, s *server, id string, change func(*codec.Connect)) *raw {
	t.Helper()
	p, ack := connectRaw(t, s.mqtt, codec.Version5, id, change)
	if ack.Reason != codec.Success {
		t.Fatalf("CONNACK %v", ack.Reason)
	}
	return p
}

func lasting(c *codec.Connect) { c.HasSessionExpiry, c.SessionExpirySeconds = true, 3600 }

// resumed is a CONNECT without Clean Start of a session that lasts.
func resumed(c *codec.Connect) { lasting(c); c.CleanStart = false }

func (p *raw) send(b []byte, err error) {
	p.t.Helper()
	if err == nil {
		_, err = p.Write(b)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *raw) next() (codec.Frame, error) {
	for {
		f, err := p.r.Next()
		if err != codec.ErrIncomplete {
			return f, err
		}
		if err := p.SetReadDeadline(time.Now().Add(clientSeconds * time.Second)); err != nil {
			return f, err
		}
		n, err := p.Read(p.r.Room())
		if err != nil {
			return f, err
		}
		p.r.Wrote(n)
	}
}

func (p *raw) expect(t codec.PacketType, decode func(codec.Frame) error) {
	p.t.Helper()
	f, err := p.next()
	if err != nil {
		p.t.Fatalf("waiting for %v: %v", t, err)
	}
	if f.Type() != t {
		p.t.Fatalf("got %v, expected %v", f.Type(), t)
	}
	if err := decode(f); err != nil {
		p.t.Fatal(err)
	}
}

// quiet checks that the broker answers and has nothing else to send.
func (p *raw) quiet() {
	p.t.Helper()
	p.send(codec.AppendPingreq(nil), nil)
	p.expect(codec.TypePingresp, codec.DecodePing)
}

// closed checks that the broker ends the connection, and with which Reason Code
// in a DISCONNECT or CONNACK; Success: without one.
func (p *raw) closed(want codec.ReasonCode) {
	p.t.Helper()
	got := codec.Success
	for {
		f, err := p.next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			p.t.Fatal("the connection stays open")
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
		p.t.Errorf("closed with %v, expected %v", got, want)
	}
}

// drop ends the connection without a DISCONNECT, and returns when the server
// has let go of it: what is published then is queued, and was never sent.
func (p *raw) drop() {
	p.t.Helper()
	if err := p.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		p.t.Fatal(err)
	}
	p.closed(codec.Success)
	_ = p.Close()
}

func (p *raw) subscribe(subs ...codec.Subscription) []codec.ReasonCode {
	p.t.Helper()
	p.send(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, subs, p.v))
	var ack codec.Suback
	p.expect(codec.TypeSuback, func(f codec.Frame) error { return ack.Decode(f, p.v) })
	reasons := make([]codec.ReasonCode, len(ack.Reasons))
	for i, r := range ack.Reasons {
		reasons[i] = codec.ReasonCode(r)
	}
	return reasons
}

func (p *raw) subscribeOne(filter string, qos codec.QoS) codec.ReasonCode {
	p.t.Helper()
	return p.subscribe(codec.Subscription{Filter: codec.View(filter), QoS: qos})[0]
}

func (p *raw) publish(pub codec.Publish) {
	p.t.Helper()
	p.send(codec.AppendPublish(nil, &pub, p.v))
}

// publish1 publishes at QoS 1 and returns the Reason Code of PUBACK.
func (p *raw) publish1(id uint16, topic, payload string) codec.ReasonCode {
	p.t.Helper()
	p.publish(codec.Publish{QoS: 1, PacketID: id, Topic: codec.View(topic), Payload: codec.View(payload)})
	return p.ack(codec.TypePuback).Reason
}

func (p *raw) ack(t codec.PacketType) codec.Ack {
	p.t.Helper()
	var a codec.Ack
	p.expect(t, func(f codec.Frame) error { return a.Decode(f, p.v) })
	return a
}

func (p *raw) sendAck(t codec.PacketType, id uint16) {
	p.t.Helper()
	p.send(codec.AppendAck(nil, &codec.Ack{Type: t, PacketID: id}, p.v))
}

func (p *raw) receive() codec.Publish {
	p.t.Helper()
	var pub codec.Publish
	p.expect(codec.TypePublish, func(f codec.Frame) error { return pub.Decode(f, p.v) })
	return pub
}

// publish2 publishes at QoS 2 up to PUBREC and returns its Reason Code.
func (p *raw) publish2(id uint16, topic, payload string, dup bool) codec.ReasonCode {
	p.t.Helper()
	p.publish(codec.Publish{QoS: 2, Dup: dup, PacketID: id, Topic: codec.View(topic), Payload: codec.View(payload)})
	return p.ack(codec.TypePubrec).Reason
}
