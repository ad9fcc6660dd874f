package main

import (
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// testShutdownNotice: at the end of the broker MQTT 5 clients are told, and not if
// nothing is set: then the connection is closed, and libraries connect again.
func testShutdownNotice(t *testing.T, s *server) {
	quiet := start(t, "")
	for _, c := range []struct {
		s    *server
		v    codec.Version
		want codec.ReasonCode
	}{
		{s, codec.Version5, codec.ServerShuttingDown},
		{quiet, codec.Version5, codec.Success},
		{quiet, codec.Version311, codec.Success},
	} {
		if c.s.gone() {
			c.s.restart()
		}
		p, _ := connectRaw(t, c.s.mqtt, c.v, "c", nil)
		p.quiet()
		c.s.stop()
		p.closed(c.want)
	}
}

// testShutdownRate: at 200 a second the connections of 40 clients do not end in the same moment.
func testShutdownRate(t *testing.T, s *server) {
	const clients, least = 40, (40 - 1) * 5 * time.Millisecond
	ended := make(chan time.Time, clients)
	for i := range clients {
		p, _ := connectRaw(t, s.mqtt, codec.Version5, string(rune('a'+i)), nil)
		go func() {
			_, _ = p.Read(make([]byte, 1))
			ended <- time.Now()
		}()
	}
	s.stop()
	first := <-ended
	last := first
	for range clients - 1 {
		if at := <-ended; at.After(last) {
			last = at
		} else if at.Before(first) {
			first = at
		}
	}
	if last.Sub(first) < least/2 { // who reads may be late for the first
		t.Errorf("all ended within %v, expected about %v", last.Sub(first), least)
	}
}
