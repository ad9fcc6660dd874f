package broker_test

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// A deafConn cannot be woken while it reads, and is not closed by who says so: its
// reader comes back when something comes.
type deafConn struct{ net.Conn }

func (deafConn) SetReadDeadline(time.Time) error { return nil }
func (deafConn) Close() error                    { return nil }

// dialDeaf connects a Client whose connection does not end when it should.
func (f *fixture) dialDeaf(id string) *peer {
	f.t.Helper()
	client, server := net.Pipe()
	go f.b.ServeConn(deafConn{server})
	p := &peer{Conn: client, t: f.t, v: codec.Version5}
	p.r.Reset(0)
	f.t.Cleanup(func() { _ = client.Close() })
	p.sendConnect(id)
	p.expect(codec.TypeConnack)
	return p
}

// TestLateConnection: a connection that does not end in time is taken over all the
// same, and what it brings from then on has no effect, whatever its QoS.
func TestLateConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		watcher := f.connect("watcher")
		watcher.subscribe(1, "late/#", 1)
		watcher.expect(codec.TypeSuback)
		old := f.dialDeaf("device")
		began := time.Now()
		p := f.connect("device")
		if took := time.Since(began); took < time.Second || took > 10*time.Second {
			t.Errorf("taken over after %v", took)
		}
		if n := f.m.TakeoversCutShort.Get(); n != 1 {
			t.Errorf("%v takeovers are counted as cut short", n)
		}
		var d codec.Disconnect
		if err := d.Decode(old.expect(codec.TypeDisconnect), codec.Version5); err != nil || d.Reason != codec.SessionTakenOver {
			t.Errorf("DISCONNECT %v, %v", d.Reason, err)
		}
		b, err := codec.AppendPublish(nil, &codec.Publish{Topic: codec.View("late/0")}, codec.Version5)
		old.write(b, err)
		for qos := codec.QoS(0); qos <= 2; qos++ { // whichever comes first ends it
			late := f.dialDeaf("device " + string('0'+rune(qos)))
			next := f.connect("device " + string('0'+rune(qos)))
			late.expect(codec.TypeDisconnect)
			late.write(codec.AppendPublish(nil, &codec.Publish{
				Topic: codec.View("late/x"), Payload: codec.View("x"), QoS: qos, PacketID: uint16(qos), Retain: qos != 2}, codec.Version5))
			next.quiet()
		}
		synctest.Wait()
		watcher.quiet()
		p.publish(1, 1, "late/new", "new")
		p.expect(codec.TypePuback)
		watcher.expect(codec.TypePublish)
		probe := f.connect("probe")
		probe.subscribe(1, "late/#", 0)
		probe.expect(codec.TypeSuback)
		probe.quiet() // nothing is retained
	})
}

// TestTurns: CONNECT packets of one Client Identifier have their turns in the order
// in which they came, as many as may wait; a further one is refused.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.dialDeaf("device")
		var waiting []*peer
		for range 101 { // one has its turn
			p := f.dial()
			p.sendConnect("device")
			waiting = append(waiting, p)
			synctest.Wait()
		}
		p := f.dial()
		p.sendConnect("device")
		var ack codec.Connack
		if err := ack.Decode(p.expect(codec.TypeConnack), codec.Version5); err != nil || ack.Reason != codec.ServerBusy {
			t.Errorf("CONNACK %v, %v", ack.Reason, err)
		}
		last := len(waiting) - 1
		for _, p := range waiting[:last] {
			p.expect(codec.TypeConnack)
			p.expect(codec.TypeDisconnect)
		}
		waiting[last].expect(codec.TypeConnack)
		waiting[last].quiet()
	})
}
