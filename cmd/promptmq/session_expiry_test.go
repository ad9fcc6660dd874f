package main

import (
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

func asking(seconds uint32) func(*codec.Connect) {
	return func(c *codec.Connect) { c.HasSessionExpiry, c.SessionExpirySeconds = seconds > 0, seconds }
}

// leave disconnects; with a Session Expiry Interval if it is not nil.
func (p *raw) leave(expirySeconds *uint32) {
	p.t.Helper()
	var d codec.Disconnect
	if expirySeconds != nil {
		d.HasSessionExpiry, d.SessionExpirySeconds = true, *expirySeconds
	}
	p.send(codec.AppendDisconnect(nil, &d, p.v))
	p.closed(codec.Success)
}

// testMaxSessionExpiry: the cap is told to those who asked for more and to
// nobody else, and holds for every way to ask for more.
func testMaxSessionExpiry(t *testing.T, s *server) {
	// Section 3.2.2.3.2: absent if the Server uses what the Client asked for.
	for ask, told := range map[uint32]bool{0: false, 1: false, 2: false, 3: true, 3600: true, 0xFFFFFFFF: true} {
		p, ack := connectRaw(t, s.mqtt, codec.Version5, "told", asking(ask))
		if ack.HasSessionExpiry != told || (told && ack.SessionExpirySeconds != 2) {
			t.Errorf("asked for %d: told %v, %d", ask, ack.HasSessionExpiry, ack.SessionExpirySeconds)
		}
		none := uint32(0)
		p.leave(&none)
	}
	more := uint32(3600)
	began := time.Now()
	v5Of(t, s, "capped", asking(3600)).leave(nil)
	v5Of(t, s, "prolonged", asking(1)).leave(&more)
	old, _ := connectRaw(t, s.mqtt, codec.Version311, "old", func(c *codec.Connect) { c.CleanStart = false })
	_ = old.Close()
	older, _ := connectRaw(t, s.mqtt, codec.Version31, "older", func(c *codec.Connect) { c.CleanStart = false })
	_ = older.Close()
	eventually(t, "all are absent", func() bool { return s.metric("promptmq_sessions_connected") == 0 })
	if n := s.metric("promptmq_sessions"); n != 4 && time.Since(began) < 2*time.Second {
		t.Errorf("%v sessions are there before their time is over", n)
	}
	eventually(t, "they end", func() bool { return s.metric("promptmq_sessions") == 0 })
	if d := time.Since(began); d < 2*time.Second {
		t.Errorf("all have ended after %v", d)
	}
	_, ack := connectRaw(t, s.mqtt, codec.Version311, "old", func(c *codec.Connect) { c.CleanStart = false })
	if ack.SessionPresent {
		t.Error("the session of a 3.1.1 client is still there")
	}
}
