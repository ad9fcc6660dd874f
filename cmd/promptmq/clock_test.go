package main

import (
	"strings"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// TestClockSetWhileRunning: the system clock is set a year ahead while the broker
// runs, which then stops in order. That year has not passed for sessions, their
// queues and retained messages. A broker that counts it is caught.
func TestClockSetWhileRunning(t *testing.T) {
	t.Parallel()
	for rule, kept := range map[string]bool{"clock-set": true, "clock-set,jump-counted": false} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			s := startBinary(t, controlBinary(t), []string{"BREAK_RULES=clock-set-later"}, "")
			set := time.Now().Add(1100 * time.Millisecond)
			absent(t, s, "sub", "t")
			eventually(t, "the clock is set", func() bool { return time.Now().After(set) })
			pub := v5Of(t, s, "pub", nil)
			for i, topic := range []string{"t", "kept"} {
				pub.publish(codec.Publish{QoS: 1, PacketID: uint16(i + 1), Retain: i == 1, Topic: codec.View(topic), Payload: codec.View("0"),
					HasMessageExpiry: true, MessageExpirySeconds: 3000})
				pub.ack(codec.TypePuback)
			}
			s.stop()
			s.env = []string{"BREAK_RULES=" + rule}
			s.restart()
			sub, ack := connectRaw(t, s.mqtt, codec.Version5, "sub", resumed)
			if ack.SessionPresent != kept {
				t.Fatalf("the session is there: %v", ack.SessionPresent)
			}
			if n := s.metric("promptmq_retained_messages"); (n == 1) != kept {
				t.Errorf("%v retained messages", n)
			}
			if !kept {
				return
			}
			if m := sub.receive(); m.MessageExpirySeconds > 3000 || m.MessageExpirySeconds < 1000 {
				t.Errorf("%d seconds left", m.MessageExpirySeconds)
			}
			for _, r := range s.log() {
				if strings.HasPrefix(r.text("msg"), "the system clock has jumped") {
					t.Errorf("a jump is logged that the process before knew of: %v", r)
				}
			}
		})
	}
}
