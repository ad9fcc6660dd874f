package broker_test

import (
	"fmt"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// TestExpiriesAreTakenBack: what ends at a set time is noted once for each thing
// that does, however often it changes, and no longer than the thing is there.
func TestExpiriesAreTakenBack(t *testing.T) { timeless(t, testExpiriesAreTakenBack) }

func testExpiriesAreTakenBack(t *testing.T) {
	s := newFixtureWith(t)
	pending := func(what string, want float64) {
		t.Helper()
		eventually(t, fmt.Sprintf("%s: %v are pending", what, want), func() bool { return s.metric("promptmq_expiries_pending") == want })
	}
	retain := func(p *peer, topic, payload string, times int, expiry uint32) {
		t.Helper()
		var b []byte
		for range times {
			var err error
			b, err = codec.AppendPublish(b, &codec.Publish{Retain: true, Topic: codec.View(topic), Payload: codec.View(payload),
				HasMessageExpiry: expiry > 0, MessageExpirySeconds: expiry}, p.v)
			if err != nil {
				t.Fatal(err)
			}
		}
		p.write(b, nil)
		p.quiet()
	}
	pub := s.connectV5("pub", nil)
	retain(pub, "one/topic", "x", 5000, 86400)
	pending("updates of one topic", 1)
	retain(pub, "another", "x", 3, 86400)
	pending("two topics", 2)
	retain(pub, "one/topic", "for ever", 1, 0)
	pending("replaced by one that does not expire", 1)
	retain(pub, "another", "", 1, 0)
	pending("cleared", 0)

	withWill := func(c *codec.Connect) {
		resumed(c)
		c.HasWill, c.Will = true, codec.Will{Topic: codec.View("will"), Payload: codec.View("gone"), DelaySeconds: 1800}
	}
	for range 50 {
		s.connectV5("device", withWill).drop()
	}
	pending("a session without a connection, whose Will is delayed", 1)
	back := s.connectV5("device", resumed)
	pending("it is back", 0)
	for range 20 { // each takes the session over from the one before
		back = s.connectV5("device", withWill)
	}
	pending("taken over", 0)
	back.drop()
	pending("gone again", 1)
	s.connectV5("device", nil).drop() // a Clean Start, of a session that ends with its connection
	pending("ended", 0)
	for i := range 5 {
		s.absent(fmt.Sprint("s", i), "t")
	}
	retain(pub, "kept", "x", 2, 86400)
	pending("five sessions and a retained message", 6)
	s.stop()
	s.restart()
	pending("after a restart", 6)
}
