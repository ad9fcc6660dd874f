package broker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// A store with a limit: what would be stored beyond it is refused and leaves no
// trace, everything else goes on, what was acknowledged survives a crash, and
// draining makes room again by itself.
func TestMaxSize(t *testing.T) { timeless(t, testMaxSize) }

func testMaxSize(t *testing.T) {
	const limit = 1 << 20
	s := newFixtureMax(t, limit)
	sub, _ := s.connectAs(codec.Version5, "sub", lasting)
	sub.subscribeOne("q/#", 2)
	sub.drop()
	live, _ := s.connectAs(codec.Version5, "live", nil)
	live.subscribeOne("live", 0)
	live.subscribeOne("q/refused", 1)
	pub, _ := s.connectAs(codec.Version5, "pub", nil)

	accepted := 0
	payload := func(i int) string { return fmt.Sprintf("%06d", i) + strings.Repeat("x", 4000) }
	for ; accepted < 1000; accepted++ {
		if r := pub.publish1(1, "q/stored", payload(accepted)); r == codec.QuotaExceeded {
			break
		} else if r != codec.Success {
			t.Fatalf("message %d: %v", accepted, r)
		}
	}
	if accepted < 100 || accepted > 250 {
		t.Errorf("%d messages of 4 kB fit in %d bytes", accepted, limit)
	}
	info, err := os.Stat(filepath.Join(s.dir, "promptmq.db"))
	if err != nil || info.Size() > limit {
		t.Errorf("the file has %d bytes, %v", info.Size(), err)
	}
	wantFull(t, s, pub, live)

	s.kill()
	s.restart()
	pub, _ = s.connectAs(codec.Version5, "pub", nil)
	if r := pub.publish1(1, "q/refused", payload(0)); r != codec.QuotaExceeded {
		t.Errorf("after a restart: %v", r)
	}
	sub, ack := s.connectAs(codec.Version5, "sub", func(c *codec.Connect) { lasting(c); c.CleanStart = false })
	if !ack.SessionPresent {
		t.Fatal("the session is gone")
	}
	for i := range accepted {
		p := sub.receive()
		if p.Topic.String() != "q/stored" || p.Payload.String() != payload(i) {
			t.Fatalf("message %d is %.6s of %s", i, p.Payload, p.Topic)
		}
		sub.ack(codec.TypePuback, p.PacketID)
	}
	sub.quiet()
	// Within how much time is a matter of TestMaxSizeDrained.
	eventually(t, "there is room again", func() bool { return pub.publish1(1, "q/stored", payload(0)) == codec.Success })
	if n := s.metric("promptmq_store_full"); n != 0 {
		t.Errorf("promptmq_store_full is %v with room", n)
	}
	s.waitLog("the store has room again")
}

// wantFull checks what a store at its limit refuses, and what not.
func wantFull(t *testing.T, s *fixture, pub, live *peer) {
	t.Helper()
	large := strings.Repeat("x", 4000)
	pub.sendPublish(codec.Publish{QoS: 2, PacketID: 2, Topic: codec.View("q/refused"), Payload: codec.View(large)})
	if r := pub.acked(codec.TypePubrec).Reason; r != codec.QuotaExceeded {
		t.Errorf("QoS 2: %v", r)
	}
	pub.sendPublish(codec.Publish{QoS: 1, PacketID: 3, Retain: true, Topic: codec.View("q/refused"), Payload: codec.View(large)})
	if r := pub.acked(codec.TypePuback).Reason; r != codec.QuotaExceeded {
		t.Errorf("retained: %v", r)
	}
	old, _ := s.connectAs(codec.Version311, "old", nil)
	old.sendPublish(codec.Publish{QoS: 1, PacketID: 1, Topic: codec.View("q/refused"), Payload: codec.View(large)})
	old.closed(codec.Success) // 3.1.1 cannot be told otherwise
	live.quiet()              // it has a subscription for what was refused

	pub.sendPublish(codec.Publish{Topic: codec.View("live"), Payload: codec.View(large)})
	if p := live.receive(); len(p.Payload) != len(large) {
		t.Errorf("QoS 0: %d bytes", len(p.Payload))
	}
	if r := pub.publish1(4, "nobody", large); r != codec.Success && r != codec.NoMatchingSubscribers {
		t.Errorf("nothing to store: %v", r)
	}
	if n := s.metric("promptmq_store_full"); n != 1 {
		t.Errorf("promptmq_store_full is %v", n)
	}
	if n := s.metric(`promptmq_store_refused_total{packet="PUBLISH"}`); n != 4 {
		t.Errorf("%v counted as refused", n)
	}
	if err := s.b.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
}
