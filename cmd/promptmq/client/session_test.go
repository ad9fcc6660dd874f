package client

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// A broker is the other end of a connection, without a mind of its own.
type broker struct {
	t    *testing.T
	conn net.Conn
	in   codec.Reader
}

func (b *broker) next(want codec.PacketType) codec.Frame {
	b.t.Helper()
	for {
		f, err := b.in.Next()
		switch {
		case err == nil && f.Type() == want:
			return f
		case err == nil:
			b.t.Fatalf("%v, not %v", f.Type(), want)
		case !errors.Is(err, codec.ErrIncomplete):
			b.t.Fatal(err)
		}
		n, err := b.conn.Read(b.in.Room())
		if b.in.Wrote(n); err != nil {
			b.t.Fatalf("no %v: %v", want, err)
		}
	}
}

func (b *broker) send(packet []byte, err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.conn.Write(packet); err != nil {
		b.t.Fatal(err)
	}
}

func (b *broker) ack(t codec.PacketType, id uint16) {
	b.t.Helper()
	b.send(codec.AppendAck(nil, &codec.Ack{Type: t, PacketID: id}, codec.Version5))
}

func (b *broker) publish() (id uint16, dup bool) {
	b.t.Helper()
	var p codec.Publish
	if err := p.Decode(b.next(codec.TypePublish), codec.Version5); err != nil {
		b.t.Fatal(err)
	}
	return p.PacketID, p.Dup
}

// accept waits for a connection and answers its CONNECT.
func accept(t *testing.T, dialed <-chan net.Conn, c codec.Connack) *broker {
	t.Helper()
	b := &broker{t: t, conn: <-dialed}
	b.in.Reset(0)
	b.in.SetVersion(codec.Version5)
	b.next(codec.TypeConnect)
	b.send(codec.AppendConnack(nil, &c, codec.Version5))
	return b
}

// pair returns a Session that lasts, what it dials, and what its Run has returned.
func pair(t *testing.T, change func(*Options)) (*Session, <-chan net.Conn, <-chan error) {
	dialed := make(chan net.Conn)
	o := Options{
		Dial: func(context.Context) (net.Conn, error) {
			near, far := net.Pipe()
			dialed <- far
			return near, nil
		},
		Version:   codec.Version5,
		Connect:   codec.Connect{Version: codec.Version5, ClientID: codec.View("c"), HasSessionExpiry: true, SessionExpirySeconds: 100},
		Reconnect: true,
		Debug:     func(string, ...any) {},
		Lost:      func(error, time.Duration) {},
	}
	if change != nil {
		change(&o)
	}
	s, ran := New(o), make(chan error, 1)
	go func() { ran <- s.Run(t.Context()) }()
	return s, dialed, ran
}

func message(qos codec.QoS) codec.Publish {
	return codec.Publish{Topic: codec.View("a"), Payload: codec.View("x"), QoS: qos}
}

// TestReceiveMaximum: no more messages are on their way than the Server takes [MQTT-3.3.4-9], and
// what was is sent again, in its order and with DUP, to a Server that takes fewer.
func TestReceiveMaximum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dialed, ran := pair(t, nil)
		published := make(chan int, 10)
		go func() {
			for i := range 4 {
				if err := s.Publish(t.Context(), message(1)); err != nil {
					t.Error(err)
				}
				published <- i
			}
		}()
		b := accept(t, dialed, codec.Connack{ReceiveMaximum: 3})
		for want := range 3 {
			if id, dup := b.publish(); int(id) != want+1 || dup {
				t.Fatalf("message %d, DUP %t", id, dup)
			}
		}
		synctest.Wait()
		if len(published) != 3 {
			t.Fatalf("%d messages are on their way, and 3 may be", len(published))
		}
		_ = b.conn.Close()
		b = accept(t, dialed, codec.Connack{SessionPresent: true, ReceiveMaximum: 1})
		var ids []uint16
		for i := range 4 {
			id, dup := b.publish()
			if ids = append(ids, id); dup != (i < 3) { // [MQTT-3.3.1-1]
				t.Errorf("message %d has DUP %t", id, dup)
			}
			b.ack(codec.TypePuback, id)
		}
		if !slices.Equal(ids, []uint16{1, 2, 3, 4}) {
			t.Errorf("sent again: %v", ids)
		}
		if err := s.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		go s.Leave()
		b.next(codec.TypeDisconnect)
		_ = b.conn.Close()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
}

// TestReleaseAgain: a message that the Server has taken is not sent again, its PUBREL is
// [MQTT-4.3.3-5]; and is done, also for a Server that knows nothing of it any more.
func TestReleaseAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := codec.UnspecifiedError
		s, dialed, ran := pair(t, func(o *Options) { o.Done = func(_ string, reason codec.ReasonCode) { done = reason } })
		go func() {
			if err := s.Publish(t.Context(), message(2)); err != nil {
				t.Error(err)
			}
		}()
		b := accept(t, dialed, codec.Connack{})
		id, _ := b.publish()
		b.ack(codec.TypePubrec, id)
		b.next(codec.TypePubrel)
		_ = b.conn.Close()
		b = accept(t, dialed, codec.Connack{SessionPresent: true})
		b.next(codec.TypePubrel)
		b.send(codec.AppendAck(nil, &codec.Ack{Type: codec.TypePubcomp, PacketID: id, Reason: codec.PacketIdentifierNotFound}, codec.Version5))
		if err := s.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		go s.Leave()
		b.next(codec.TypeDisconnect)
		_ = b.conn.Close()
		if err := <-ran; err != nil || done != codec.Success {
			t.Errorf("%v, done %v", err, done)
		}
	})
}

// TestRefused: a refusal that stays ends Run, with what the Server refers to; one that passes does not
// once there was a connection.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, dialed, ran := pair(t, nil)
		b := accept(t, dialed, codec.Connack{})
		_ = b.conn.Close()
		b = accept(t, dialed, codec.Connack{Reason: codec.ServerBusy})
		_ = b.conn.Close()
		accept(t, dialed, codec.Connack{Reason: codec.UseAnotherServer, ServerReference: codec.View("b:1883")})
		var refused *Refusal
		if err := <-ran; !errors.As(err, &refused) || refused.Reason != codec.UseAnotherServer || refused.Reference != "b:1883" {
			t.Errorf("%v", err)
		}
	})
}

// TestNotTaken: a message that could not be taken is not acknowledged.
func TestNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("the disk is full")
		_, dialed, ran := pair(t, func(o *Options) {
			o.Message = func(*codec.Publish) (bool, error) { return false, full }
		})
		b := accept(t, dialed, codec.Connack{})
		p := message(1)
		p.PacketID = 1
		b.send(codec.AppendPublish(nil, &p, codec.Version5))
		b.next(codec.TypeDisconnect)
		_ = b.conn.Close()
		if err := <-ran; err != full {
			t.Errorf("%v", err)
		}
	})
}
