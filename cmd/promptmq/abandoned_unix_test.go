//go:build unix

package main

import (
	"syscall"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// TestAbandonedConnect: connections that their client has given up while it waited for CONNACK do
// not end the one by which it is connected when they are handled.
func TestAbandonedConnect(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	packet, err := codec.AppendConnect(nil, &codec.Connect{ClientID: codec.View("same"), CleanStart: true, ReceiveMaximum: 65535}, codec.Version5)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			nc := dialTCP(t, s.mqtt)
			if _, err := nc.Write(packet); err != nil {
				t.Fatal(err)
			}
			_ = nc.Close()
		}
		live := dialRaw(t, s.mqtt, codec.Version5)
		live.send(packet, nil)
		if err := s.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		var ack codec.Connack
		live.expect(codec.TypeConnack, func(f codec.Frame) error { return ack.Decode(f, codec.Version5) })
		eventually(t, "the others are gone", func() bool { return s.metric("promptmq_connections_current") == 1 })
		live.quiet()
		_ = live.Close()
		eventually(t, "all are gone", func() bool { return s.metric("promptmq_connections_current") == 0 })
	}
}
