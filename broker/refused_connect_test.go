package broker_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/codec"
)

// TestRefusedConnect: a CONNECT that is refused changes nothing: the Client that has
// the identifier stays, and its Will is not published.
func TestRefusedConnect(t *testing.T) { timeless(t, testRefusedConnect) }

func testRefusedConnect(t *testing.T) {
	s := newFixtureMax(t, 1<<20, func(o *broker.Options) { o.MaxConnections = 5 })
	watcher := s.connectV5("watcher", nil)
	watcher.subscribeOne("will/#", 1)
	absent := s.connectV5("absent", lasting)
	absent.subscribeOne("fill", 1)
	absent.drop()
	p := s.connectV5("filler", nil)
	will := func(c *codec.Connect) {
		c.HasWill, c.Will = true, codec.Will{Topic: codec.View("will/live"), Payload: codec.View("gone")}
	}
	live := []*peer{
		s.connectV5("live false", will),
		s.connectV5("live true", func(c *codec.Connect) { resumed(c); will(c) }),
	}
	for _, size := range []int{8000, 500, 1} {
		for refused := 0; refused < 10; {
			if p.publish1(1, "fill", strings.Repeat("x", size)) == codec.QuotaExceeded {
				refused++
			}
		}
	}
	_ = s.connectV5("fifth", nil)
	for i, lasts := range []bool{false, true} {
		_, ack := s.connectAs(codec.Version5, fmt.Sprint("live ", lasts), func(c *codec.Connect) {
			lasting(c)
			c.HasWill, c.Will = true, codec.Will{Topic: codec.View("will/new"), Retain: true}
		})
		if ack.Reason != codec.QuotaExceeded {
			t.Errorf("CONNACK %v from a full store", ack.Reason)
		}
		live[i].quiet()
		watcher.quiet()
	}
	if _, ack := s.connectAs(codec.Version5, "sixth", nil); ack.Reason != codec.QuotaExceeded {
		t.Errorf("CONNACK %v beyond max-connections", ack.Reason)
	}
	// A takeover needs no place beside the one that the connection before had.
	for range 3 {
		if _, ack := s.connectAs(codec.Version5, "fifth", nil); ack.Reason != codec.Success {
			t.Errorf("CONNACK %v for a takeover", ack.Reason)
		}
	}
	if n := s.metric("promptmq_sessions_connected"); n != 5 {
		t.Errorf("%v clients are connected", n)
	}
}
