package broker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/codec"
)

// TestSessionsPerUser: one user has no more Sessions than allowed, connected or not, also after
// a restart and by taking over what nobody owned; others, and who has no name, do not count.
func TestSessionsPerUser(t *testing.T) { timeless(t, testSessionsPerUser) }

func testSessionsPerUser(t *testing.T) {
	f := newFixtureWith(t, withUsers, func(o *broker.Options) { o.Limits.SessionsPerUser = 2 })
	try := func(user, id string) codec.ReasonCode {
		change := resumed
		if user != "" {
			change = as(user, resumed)
		}
		p, ack := f.connectAs(codec.Version5, id, change)
		_ = p.Close()
		return ack.Reason
	}
	for _, restarted := range []bool{false, true} {
		for _, step := range []struct {
			user, id string
			want     codec.ReasonCode
		}{
			{"u", "u1", codec.Success}, {"u", "u2", codec.Success}, {"u", "u3", codec.QuotaExceeded}, {"u", "u1", codec.Success},
			{"v", "v1", codec.Success}, {"", "n1", codec.Success}, {"", "n2", codec.Success}, {"", "n3", codec.Success},
			{"u", "n1", codec.QuotaExceeded}, {"v", "n2", codec.Success}, {"v", "v2", codec.QuotaExceeded},
		} {
			if restarted && step.id == "n2" { // it is v's
				step.user = "v"
			}
			if got := try(step.user, step.id); got != step.want {
				t.Errorf("restarted %v: %q of user %q: %v", restarted, step.id, step.user, got)
			}
		}
		if !restarted {
			f.stop()
			f.restart(f.settings...)
		}
	}
	p, _ := f.connectAs(codec.Version5, "u1", as("u")) // a Clean Start that ends with the connection
	_ = p.Close()
	eventually(t, "there is room for another", func() bool { return try("u", "u3") == codec.Success })
	if p, ack := f.connectAs(codec.Version311, "u4", as("u")); ack.Reason != codec.ServerUnavailable {
		t.Errorf("3.1.1: %v", ack.Reason)
	} else {
		_ = p.Close()
	}
}

// TestMessageRate: of what a Client sends at once as much is taken as it may send in a second,
// and the rest in the time that it takes at its rate, in order. Nothing is lost, the time does
// not count against its Keep Alive, and others do not wait.
func TestMessageRate(t *testing.T) { timeless(t, testMessageRate) }

func testMessageRate(t *testing.T) {
	f := newFixtureWith(t, func(o *broker.Options) { o.Limits.MessageRate = 10 })
	sub := f.connect("sub")
	sub.subscribeOne("t", 0)
	pub := f.connectV5("pub", func(c *codec.Connect) { c.KeepAliveSeconds = 2 })
	const n = 60
	var batch []byte
	for i := range n {
		batch, _ = codec.AppendPublish(batch, &codec.Publish{Topic: codec.View("t"), QoS: codec.QoS(i % 3), PacketID: uint16(i), Payload: codec.View(fmt.Sprint(i))}, codec.Version5)
	}
	began := time.Now()
	pub.write(codec.AppendPingreq(batch), nil)
	for i := range n {
		if m := sub.receive(); string(m.Payload) != fmt.Sprint(i) {
			t.Fatalf("%s in place of %d", m.Payload, i)
		}
		if i == 9 && time.Since(began) > 0 {
			t.Errorf("a second's worth took %v", time.Since(began))
		}
		if i%10 == 0 {
			quick := f.connect("other")
			quick.publish(0, 0, "elsewhere", "")
			quick.quiet()
			_ = quick.Close()
		}
	}
	if took := time.Since(began); took < (n-10)*time.Second/10-time.Second/10 || took > (n-10)*time.Second/10+time.Second/10 {
		t.Errorf("%d messages at 10 a second took %v", n, took)
	}
	for i := range n {
		switch i % 3 {
		case 1:
			pub.acked(codec.TypePuback)
		case 2:
			pub.acked(codec.TypePubrec)
		}
	}
	pub.expect(codec.TypePingresp, codec.DecodePing)
	if f.metric(`promptmq_publishers_paused_total{cause="message_rate"}`) != n-10 {
		t.Errorf("%v pauses are counted", f.metric(`promptmq_publishers_paused_total{cause="message_rate"}`))
	}
}

// TestRateAndTakeover: a connection that is held up for its rate gives way to another of its
// Client at once, and what it had sent by then is not lost.
func TestRateAndTakeover(t *testing.T) { timeless(t, testRateAndTakeover) }

func testRateAndTakeover(t *testing.T) {
	f := newFixtureWith(t, func(o *broker.Options) { o.Limits.MessageRate, o.Limits.ByteRate = 1, 1024 })
	sub := f.connect("sub")
	sub.subscribeOne("t", 0)
	pub := f.connect("pub")
	const n = 50
	var batch []byte
	for i := range n {
		batch, _ = codec.AppendPublish(batch, &codec.Publish{Topic: codec.View("t"), Payload: codec.View(fmt.Sprint(i))}, codec.Version5)
	}
	pub.write(batch, nil)
	sub.receive()
	began := time.Now()
	again := f.connect("pub")
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the takeover took %v", took)
	}
	for i := 1; i < n; i++ {
		if m := sub.receive(); string(m.Payload) != fmt.Sprint(i) {
			t.Fatalf("%s in place of %d", m.Payload, i)
		}
	}
	again.quiet()
}
