package main

import (
	"testing"

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
