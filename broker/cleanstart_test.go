package broker_test

import (
	"fmt"
	"testing"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// endsSession reports whether b says that a Session of the Client is over: by
// removing one, or by the time of its end.
func endsSession(b *session.Batch, clientID string) bool {
	for _, w := range b.Sessions {
		if w.Ended || (w.Record != nil && w.Record.ClientID == clientID && w.Record.ExpirySeconds == 0) {
			return true
		}
	}
	return false
}

// TestCleanStartOutlivesACrash: a Session that a Clean Start has ended is not
// there after a crash that follows CONNACK at once, however much of it was on
// disk; its Will comes once, and the members of its Shared Subscription
// that are left get each of its messages once.
func TestCleanStartOutlivesACrash(t *testing.T) {
	for _, c := range []struct {
		messages int
		expiry   uint32 // of the Session that follows
		batches  int    // written until the crash, from the one that CONNACK awaits on
	}{{1, 0, 1}, {400, 0, 1}, {400, 3600, 1}, {400, 3600, 2}} { // 400 are more than a Session keeps in memory
		t.Run(fmt.Sprintf("%d messages, then expiry %d, batch %d", c.messages, c.expiry, c.batches), func(t *testing.T) {
			f := newFixture(t)
			member, other, pub := f.connect("member"), f.connect("other"), f.connect("pub")
			const share = "$share/g/s"
			member.subscribe(1, share, 1)
			member.expect(codec.TypeSuback)
			_ = member.Close()
			for i := range c.messages {
				pub.publish(1, 1, "s", fmt.Sprint(i))
				pub.expect(codec.TypePuback)
			}
			other.subscribe(1, "will", 1)
			other.expect(codec.TypeSuback)
			other.subscribe(2, share, 1)
			other.expect(codec.TypeSuback)
			_ = other.Close()
			member = f.dial() // it takes nothing of its queue
			will := codec.Will{Topic: codec.View("will"), Payload: codec.View("w"), QoS: 1, DelaySeconds: 60}
			member.write(codec.AppendConnect(nil, &codec.Connect{
				ClientID: codec.View("member"), HasSessionExpiry: true, SessionExpirySeconds: 3600, HasWill: true, Will: will,
			}, codec.Version5))
			member.expect(codec.TypeConnack)

			batches := 0
			var open func()
			shut := make(chan struct{})
			f.store.setLook(func(b *session.Batch) func() {
				if batches == 0 && !endsSession(b, "member") {
					return func() {} // an earlier one: a busy machine has not come to it yet
				}
				return func() {
					if batches++; batches == c.batches {
						open = f.store.close()
						close(shut)
					}
				}
			})
			again := f.dial()
			again.write(codec.AppendConnect(nil, &codec.Connect{
				ClientID: codec.View("member"), CleanStart: true, HasSessionExpiry: c.expiry > 0, SessionExpirySeconds: c.expiry,
			}, codec.Version5))
			again.expect(codec.TypeConnack)
			<-shut
			defer open()

			f = f.crash()
			if c.expiry == 0 {
				again = f.dial()
				again.sendConnect("member")
				var ack codec.Connack
				if err := ack.Decode(again.expect(codec.TypeConnack), codec.Version5); err != nil || ack.SessionPresent {
					t.Errorf("Session Present %v (%v)", ack.SessionPresent, err)
				}
			}
			other = f.dial()
			other.t = t
			other.sendConnect("other")
			other.expect(codec.TypeConnack)
			got := make(map[string]int) // it had no connection before the crash
			for len(got) < c.messages+1 {
				var p codec.Publish
				if err := p.Decode(other.expect(codec.TypePublish), codec.Version5); err != nil {
					t.Fatal(err)
				}
				got[p.Payload.String()]++
				other.ack(codec.TypePuback, p.PacketID)
			}
			other.quiet()
			more := 0
			for _, n := range got {
				more += n - 1
			}
			if more > 0 {
				t.Errorf("%d messages came again", more)
			}
		})
	}
}
