package broker

import (
	"testing"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/metrics"
)

// TestClosingIsNotSent: what a connection that is closing does not take is not
// counted as sent, nor as what a slow one does not take.
func TestClosingIsNotSent(t *testing.T) {
	p := newPath(t, 0, 2)
	lasting := p.connect("lasting", new(sink), func(c *codec.Connect) { c.HasSessionExpiry, c.SessionExpirySeconds = true, 60 })
	p.subscribe(lasting, 2, "t/#")
	p.sub.out.close(nil) // and the readers have not noticed yet
	lasting.out.close(nil)
	for qos := range codec.QoS(3) {
		b, err := codec.AppendPublish(nil, &codec.Publish{QoS: qos, PacketID: uint16(qos), Topic: codec.View("t/x"), Payload: codec.View("x")}, codec.Version5)
		if err != nil {
			t.Fatal(err)
		}
		p.put(p.pub, b)
		if n := p.b.m.MessagesSent[qos].Get(); n != 0 {
			t.Errorf("%d messages with QoS %d are counted as sent", n, qos)
		}
	}
	if slow, offline := p.b.m.Dropped[metrics.DropSlowConsumer].Get(), p.b.m.Dropped[metrics.DropOfflineQoS0].Get(); slow != 0 || offline != 2 {
		t.Errorf("%d are counted as dropped for a slow receiver, %d for one that is not there", slow, offline)
	}
}
