package broker_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// TestAcknowledgementsAwaitTheDisk shuts the gate in front of the disk before
// each packet that promises something: its answer must stay away until the gate
// opens, while the connection goes on to answer what promises nothing.
func TestAcknowledgementsAwaitTheDisk(t *testing.T) {
	f := newFixture(t)
	sub := f.connect("sub")
	sub.subscribe(1, "q/#", 2)
	sub.expect(codec.TypeSuback)
	pub := f.connect("pub")

	held := func(name string, p *peer, want codec.PacketType, send func()) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			open := f.store.close()
			defer open()
			send()
			p.quiet()
			open()
			p.expect(want)
		})
	}
	held("PUBREC", pub, codec.TypePubrec, func() { pub.publish(2, 1, "q/2", "two") })
	sub.expect(codec.TypePublish)
	held("PUBREL", sub, codec.TypePubrel, func() { sub.ack(codec.TypePubrec, 1) })
	sub.ack(codec.TypePubcomp, 1)
	held("PUBCOMP", pub, codec.TypePubcomp, func() { pub.ack(codec.TypePubrel, 1) })
	held("SUBACK", sub, codec.TypeSuback, func() { sub.subscribe(2, "other", 1) })
	held("UNSUBACK", sub, codec.TypeUnsuback, func() {
		sub.write(codec.AppendUnsubscribe(nil, &codec.Unsubscribe{PacketID: 3}, []codec.View{codec.View("other")}, codec.Version5))
	})
}

// nothing checks that nothing comes, and the connection stays open, while the
// disk does not answer.
func (p *peer) nothing(f *fixture) {
	p.t.Helper()
	select {
	case <-f.store.entered:
	case <-time.After(time.Minute):
		p.t.Fatal("nothing is to be committed")
	}
	if err := p.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		p.t.Fatal(err)
	}
	if n, err := p.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatalf("%d bytes before the commit (%v)", n, err)
	}
}

// TestConnackAwaitsTheDisk: whatever CONNACK promises. All but the first take the
// Session over from a connection that is open.
func TestConnackAwaitsTheDisk(t *testing.T) {
	f := newFixture(t)
	will := codec.Will{Topic: codec.View("will"), Payload: codec.View("w"), QoS: 1}
	for _, c := range []struct {
		name, id string
		connect  codec.Connect
	}{
		{"new session", "new", codec.Connect{HasSessionExpiry: true, SessionExpirySeconds: 60}},
		{"session present", "old", codec.Connect{HasSessionExpiry: true, SessionExpirySeconds: 60}},
		{"present, will", "old", codec.Connect{HasSessionExpiry: true, SessionExpirySeconds: 60, HasWill: true, Will: will}},
		{"clean start", "old", codec.Connect{CleanStart: true, HasSessionExpiry: true, SessionExpirySeconds: 60}},
		{"clean start, nothing kept", "old", codec.Connect{CleanStart: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.id == "old" {
				_ = f.connect(c.id)
			}
			open := f.store.close()
			defer open()
			p := f.dial()
			p.t = t
			c.connect.ClientID = codec.View(c.id)
			p.write(codec.AppendConnect(nil, &c.connect, codec.Version5))
			p.nothing(f)
			open()
			p.expect(codec.TypeConnack)
		})
	}
}

// TestCloseAwaitsTheDisk: the close after DISCONNECT says that what it asked for
// is on disk, whatever its Reason Code.
func TestCloseAwaitsTheDisk(t *testing.T) {
	f := newFixture(t)
	for name, c := range map[string]struct {
		d      codec.Disconnect
		expiry uint32 // stored; 0: the Session is removed
		void   bool   // the stored Will is removed
	}{
		"will void":         {codec.Disconnect{}, 60, true},
		"other expiry":      {codec.Disconnect{HasSessionExpiry: true, SessionExpirySeconds: 5}, 5, true},
		"session ends":      {codec.Disconnect{HasSessionExpiry: true}, 0, true},
		"will, and expiry":  {codec.Disconnect{Reason: codec.DisconnectWithWill, HasSessionExpiry: true, SessionExpirySeconds: 5}, 5, false},
		"will, session end": {codec.Disconnect{Reason: codec.DisconnectWithWill, HasSessionExpiry: true}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := f.dial()
			p.t = t
			p.write(codec.AppendConnect(nil, &codec.Connect{
				ClientID: codec.View(name), HasSessionExpiry: true, SessionExpirySeconds: 60,
				HasWill: true, Will: codec.Will{Topic: codec.View("will"), Payload: codec.View("w"), QoS: 1, DelaySeconds: 60},
			}, codec.Version5))
			p.expect(codec.TypeConnack)
			open := f.store.close()
			defer open()
			var written *session.Writes
			f.store.setLook(func(b *session.Batch) func() {
				for _, w := range b.Sessions {
					written = w
				}
				return func() {}
			})
			p.write(codec.AppendDisconnect(nil, &c.d, codec.Version5))
			p.nothing(f)
			f.store.setLook(nil)
			w := written
			if r := w.Record; w.Ended != (c.expiry == 0) || !w.Ended && (r == nil || r.Connected || r.ExpirySeconds != c.expiry) {
				t.Errorf("ended %v, record %+v", w.Ended, r)
			}
			if void := w.Ended || w.HasWill && w.Will == nil; void != c.void {
				t.Errorf("the Will is void: %v", void)
			}
			open()
			if f, err := p.next(); err != io.EOF {
				t.Errorf("%v %v, expected the end", f.Type(), err)
			}
		})
	}
}

// TestDeliveryBeforeTheCommit: QoS 1 reaches the subscriber while the disk is
// slow, and QoS 2 does not. What was delivered and acknowledged by then is never
// written.
func TestDeliveryBeforeTheCommit(t *testing.T) {
	f := newFixture(t)
	sub, pub := f.connect("sub"), f.connect("pub")
	sub.subscribe(1, "#", 2)
	sub.expect(codec.TypeSuback)

	open := f.store.close()
	defer open()
	pub.publish(1, 1, "first", "occupies the disk")
	<-f.store.entered
	sub.expect(codec.TypePublish) // QoS 1
	pub.publish(2, 2, "a", "QoS 2")
	pub.quiet()
	sub.quiet()
	for i := range uint16(10) {
		pub.publish(1, 3+i, "b", fmt.Sprint(i))
		frame := sub.expect(codec.TypePublish)
		var p codec.Publish
		if err := p.Decode(frame, codec.Version5); err != nil || p.QoS != 1 {
			t.Fatalf("QoS %d, %v", p.QoS, err)
		}
		sub.ack(codec.TypePuback, p.PacketID)
	}
	sub.quiet() // the broker has taken the last PUBACK
	elided := f.m.CommitElided.Get()
	open()
	for id := uint16(1); id <= 12; id++ { // acknowledged in the order in which they were received
		want := codec.TypePuback
		if id == 2 {
			want = codec.TypePubrec
		}
		var ack codec.Ack
		if err := ack.Decode(pub.expect(want), codec.Version5); err != nil || ack.PacketID != id {
			t.Fatalf("acknowledged %d, expected %d (%v)", ack.PacketID, id, err)
		}
	}
	sub.expect(codec.TypePublish) // QoS 2
	if n := f.m.CommitElided.Get() - elided; n != 10 {
		t.Errorf("%d of 10 entries that were acknowledged in time were elided", n)
	}
}

// TestRefusalKeepsItsPlace: an acknowledgement that refuses, and waits for
// nothing, does not overtake those before it.
func TestRefusalKeepsItsPlace(t *testing.T) {
	f := newFixture(t)
	sub, pub := f.connect("sub"), f.connect("pub")
	sub.subscribe(1, "#", 1)
	sub.expect(codec.TypeSuback)
	open := f.store.close()
	defer open()
	pub.publish(1, 1, "a", "stored")
	pub.publish(1, 2, "$SYS/mine", "refused")
	pub.quiet()
	open()
	for i, want := range []codec.ReasonCode{codec.Success, codec.NotAuthorized} {
		var ack codec.Ack
		if err := ack.Decode(pub.expect(codec.TypePuback), codec.Version5); err != nil || int(ack.PacketID) != i+1 || ack.Reason != want {
			t.Fatalf("identifier %d: %v, expected %v (%v)", ack.PacketID, ack.Reason, want, err)
		}
	}
}

// TestCommitStaysFailed: without a commit there is no acknowledgement, and the
// broker says that it cannot go on.
func TestCommitStaysFailed(t *testing.T) {
	f := newFixture(t)
	sub, pub := f.connect("sub"), f.connect("pub")
	sub.subscribe(1, "#", 1)
	sub.expect(codec.TypeSuback)
	f.store.setFail(errors.New("the disk is gone"))
	pub.publish(1, 1, "a", "lost")
	select {
	case err := <-f.b.Failed():
		if err == nil {
			t.Fatal("no error")
		}
	case <-time.After(patience):
		t.Fatal("the broker did not give up")
	}
	pub.quiet()
}

// TestCommitRecovers: a commit that fails for a while is tried again, and the
// acknowledgement comes then.
func TestCommitRecovers(t *testing.T) {
	f := newFixture(t)
	sub, pub := f.connect("sub"), f.connect("pub")
	sub.subscribe(1, "#", 1)
	sub.expect(codec.TypeSuback)
	f.store.setFail(errors.New("the disk is away"))
	pub.publish(1, 1, "a", "late")
	pub.quiet()
	for f.m.CommitFailures.Get() == 0 {
		time.Sleep(time.Millisecond) // polls; the test's own timeout is the deadline
	}
	f.store.setFail(nil)
	pub.expect(codec.TypePuback)
}
