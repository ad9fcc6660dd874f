package main

import (
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// testMaxSessionExpiry: package broker has all ways to ask for more.
func testMaxSessionExpiry(t *testing.T, s *server) {
	began := time.Now()
	p, ack := connectRaw(t, s.mqtt, codec.Version5, "capped", lasting)
	if !ack.HasSessionExpiry || ack.SessionExpirySeconds != 2 {
		t.Errorf("told %v, %d", ack.HasSessionExpiry, ack.SessionExpirySeconds)
	}
	p.drop()
	eventually(t, "it ends", func() bool { return s.metric("promptmq_sessions") == 0 })
	if d := time.Since(began); d < 2*time.Second {
		t.Errorf("ended after %v", d)
	}
}
