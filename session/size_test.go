package session

import (
	"testing"
	"time"
	"unsafe"

	"github.com/x0a1b/promptmq/codec"
)

// TestSessionSize: a Session is small until something is queued for it.
func TestSessionSize(t *testing.T) {
	const bytesMax = 96
	if n := unsafe.Sizeof(Session{}); n > bytesMax {
		t.Errorf("a Session has %d bytes: at most %d", n, bytesMax)
	}
	t.Logf("Session %d bytes; deliverState, from the first queued message on, %d", unsafe.Sizeof(Session{}), unsafe.Sizeof(deliverState{}))
}

// TestNothingQueued: whatever may happen to a Session before the first message
// is queued makes no deliverState and has no effect.
func TestNothingQueued(t *testing.T) {
	limits := Limits{WindowMessages: 8, WindowBytes: 1 << 20, QueueMessages: 5, QueueBytes: 1 << 20, Inflight: 20}
	s := New(1, "c", "", false, &limits)
	now := time.Unix(1_000_000, 0)
	var fx Effects
	s.Attach(65535, 0, now, &fx)
	if s.ReceivePuback(1, now, &fx) || s.ReceivePubrec(1, codec.Success, now, &fx) || s.ReceivePubcomp(1, now, &fx) {
		t.Error("an acknowledgement found something")
	}
	if taken := s.TakeShared(nil, true, &fx); taken != nil {
		t.Errorf("%d messages of a Shared Subscription", len(taken))
	}
	s.SweepWindow(now, time.Second, &fx)
	if s.SweepFrom() != 0 || s.QueueLen() != 0 || s.Full() || s.Spilled() || !s.Attached() {
		t.Errorf("SweepFrom %d, QueueLen %d, Full %t, Spilled %t, Attached %t", s.SweepFrom(), s.QueueLen(), s.Full(), s.Spilled(), s.Attached())
	}
	s.Detach()
	if s.deliverState != nil || s.Attached() || len(fx.Sends) > 0 {
		t.Errorf("deliverState %v, Attached %t, %d sends", s.deliverState, s.Attached(), len(fx.Sends))
	}
	limits.QueueMessages = 0
	if !s.Full() {
		t.Error("there is room in a queue for no message")
	}
	limits.QueueMessages = 5
	s.Attach(65535, 0, now, &fx)
	s.Deliver(Entry{Message: &Message{Topic: "t"}, QoS: 1}, now, &fx)
	if len(fx.Sends) != 1 || fx.Sends[0].PacketID != 1 || s.QueueLen() != 1 {
		t.Errorf("sends %+v, QueueLen %d", fx.Sends, s.QueueLen())
	}
	if !s.ReceivePuback(1, now, &fx) || s.QueueLen() != 0 {
		t.Error("PUBACK found nothing")
	}
}
