package broker_test

import (
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

func asking(seconds uint32) func(*codec.Connect) {
	return func(c *codec.Connect) { c.HasSessionExpiry, c.SessionExpirySeconds = seconds > 0, seconds }
}

// TestMaxSessionExpiryZero: every session ends with its connection, and a client
// that asked for more may ask again when it leaves.
func TestMaxSessionExpiryZero(t *testing.T) { timeless(t, testMaxSessionExpiryZero) }

func testMaxSessionExpiryZero(t *testing.T) {
	s := newFixtureWith(t, func(o *broker.Options) { o.MaxSessionExpirySeconds = 0 })
	more := uint32(3600)
	p, ack := s.connectAs(codec.Version5, "p", asking(3600))
	if !ack.HasSessionExpiry || ack.SessionExpirySeconds != 0 {
		t.Errorf("told %v, %d", ack.HasSessionExpiry, ack.SessionExpirySeconds)
	}
	p.leave(&more)
	p, _ = s.connectAs(codec.Version5, "p", asking(0))
	p.write(codec.AppendDisconnect(nil, &codec.Disconnect{HasSessionExpiry: true, SessionExpirySeconds: 1}, p.v))
	p.closed(codec.ProtocolError)
	old, _ := s.connectAs(codec.Version311, "old", func(c *codec.Connect) { c.CleanStart = false })
	_ = old.Close()
	eventually(t, "no session is left", func() bool { return s.metric("promptmq_sessions") == 0 })
}

// TestMaxSessionExpiryLowered: the cap holds for sessions that were stored
// without one, from the start that brings it; they end on disk too.
func TestMaxSessionExpiryLowered(t *testing.T) { timeless(t, testMaxSessionExpiryLowered) }

func testMaxSessionExpiryLowered(t *testing.T) {
	s := newFixtureWith(t)
	forever, ack := s.connectAs(codec.Version5, "forever", asking(0xFFFFFFFF))
	if ack.HasSessionExpiry {
		t.Errorf("told %d without a cap", ack.SessionExpirySeconds)
	}
	forever.leave(nil)
	s.connectV5("long", asking(3600)).leave(nil)
	connected, _ := s.connectAs(codec.Version311, "connected", func(c *codec.Connect) { c.CleanStart = false })
	connected.quiet()
	s.kill()
	s.restart(func(o *broker.Options) { o.MaxSessionExpirySeconds = 100 })
	time.Sleep(99 * time.Second)
	if n := s.metric("promptmq_sessions"); n != 3 {
		t.Errorf("%v sessions are there before their time is over", n)
	}
	eventually(t, "they end", func() bool { return s.metric("promptmq_sessions") == 0 })
	s.stop()
	s.restart(func(o *broker.Options) { o.MaxSessionExpirySeconds = session.NeverExpires })
	if n := s.metric("promptmq_sessions"); n != 0 {
		t.Errorf("%v sessions are stored", n)
	}
}

// TestMaxSessionExpiry: the cap is told to those who asked for more and to
// nobody else, and holds for every way to ask for more.
func TestMaxSessionExpiry(t *testing.T) { timeless(t, testMaxSessionExpiry) }

func testMaxSessionExpiry(t *testing.T) {
	s := newFixtureWith(t, func(o *broker.Options) { o.MaxSessionExpirySeconds = 2 })
	// Section 3.2.2.3.2: absent if the Server uses what the Client asked for.
	for ask, told := range map[uint32]bool{0: false, 1: false, 2: false, 3: true, 3600: true, 0xFFFFFFFF: true} {
		p, ack := s.connectAs(codec.Version5, "told", asking(ask))
		if ack.HasSessionExpiry != told || (told && ack.SessionExpirySeconds != 2) {
			t.Errorf("asked for %d: told %v, %d", ask, ack.HasSessionExpiry, ack.SessionExpirySeconds)
		}
		none := uint32(0)
		p.leave(&none)
	}
	more := uint32(3600)
	began := time.Now()
	s.connectV5("capped", asking(3600)).leave(nil)
	s.connectV5("prolonged", asking(1)).leave(&more)
	old, _ := s.connectAs(codec.Version311, "old", func(c *codec.Connect) { c.CleanStart = false })
	_ = old.Close()
	older, _ := s.connectAs(codec.Version31, "older", func(c *codec.Connect) { c.CleanStart = false })
	_ = older.Close()
	eventually(t, "all are absent", func() bool { return s.metric("promptmq_sessions_connected") == 0 })
	time.Sleep(1900 * time.Millisecond)
	if n := s.metric("promptmq_sessions"); n != 4 {
		t.Errorf("%v sessions are there before their time is over", n)
	}
	eventually(t, "they end", func() bool { return s.metric("promptmq_sessions") == 0 })
	if d := time.Since(began); d < 2*time.Second {
		t.Errorf("all have ended after %v", d)
	}
	_, ack := s.connectAs(codec.Version311, "old", func(c *codec.Connect) { c.CleanStart = false })
	if ack.SessionPresent {
		t.Error("the session of a 3.1.1 client is still there")
	}
}
