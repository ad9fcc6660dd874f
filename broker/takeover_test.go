package broker

import (
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// TestTakeoverBesideAnEnd: a CONNECT that comes while something else of its Client
// ends, such as an expiry that is void by now, takes the Session over when that is
// done: the connection that has it need not end by itself.
func TestTakeoverBesideAnEnd(t *testing.T) {
	b := listening(t)
	old := dialTCP(t, b)
	if _, err := old.Write(connectPacket(t, "device")); err != nil {
		t.Fatal(err)
	}
	await(t, old, codec.TypeConnack)
	cl := b.registry.acquire(b, "device")
	cl.changing += oneEnding
	cl.mu.Unlock()
	next := dialTCP(t, b)
	if _, err := next.Write(connectPacket(t, "device")); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		cl.mu.Lock()
		defer cl.mu.Unlock()
		if s := cl.currentChangeoverLocked(); s == nil || s.allEnded == nil {
			return "the CONNECT does not wait"
		}
		return ""
	})
	b.detachingDone(cl)
	await(t, next, codec.TypeConnack)
	await(t, old, codec.TypeDisconnect)
}
