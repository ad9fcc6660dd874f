package broker

import (
	"testing"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/metrics"
)

func sentPublish(t *testing.T, qos codec.QoS) []byte {
	t.Helper()
	b, err := codec.AppendPublish(nil, &codec.Publish{QoS: qos, PacketID: uint16(qos), Topic: codec.View("t/x"), Payload: codec.View("four")}, codec.Version5)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestClosingIsNotSent: what a connection that is closing does not take is not
// counted as sent, nor as what a slow one does not take.
func TestClosingIsNotSent(t *testing.T) {
	p := newPath(t, 0, 2)
	lasting := p.connect("lasting", new(sink), func(c *codec.Connect) { c.HasSessionExpiry, c.SessionExpirySeconds = true, 60 })
	p.subscribe(lasting, 2, "t/#")
	p.sub.out.Close(nil) // and the readers have not noticed yet
	lasting.out.Close(nil)
	for qos := range codec.QoS(3) {
		p.put(p.pub, sentPublish(t, qos))
		if n := p.b.m.MessagesSent[qos].Get(); n != 0 {
			t.Errorf("%d messages with QoS %d are counted as sent", n, qos)
		}
	}
	if slow, offline := p.b.m.Dropped[metrics.DropSlowConsumer].Get(), p.b.m.Dropped[metrics.DropOfflineQoS0].Get(); slow != 0 || offline != 2 {
		t.Errorf("%d are counted as dropped for a slow receiver, %d for one that is not there", slow, offline)
	}
}

// TestHeldIsNotSent: a QoS 2 message counts as sent when its commit lets it go, not
// if its connection ends before.
func TestHeldIsNotSent(t *testing.T) {
	store := new(stalledStore)
	p := newPathOn(t, func(s Store) Store { store.Store = s; return store }, func(*Options) {})
	pub := p.connect("pub", new(sink))
	var subs []*conn
	for _, id := range []string{"stays", "ends"} {
		c := p.connect(id, new(sink), func(c *codec.Connect) { c.HasSessionExpiry, c.SessionExpirySeconds = true, 60 })
		p.subscribe(c, 2, "t/#")
		subs = append(subs, c)
	}
	if err := p.b.commits.Flush(); err != nil {
		t.Fatal(err)
	}
	sent := func(want uint64) {
		t.Helper()
		if n, bytes := p.b.m.MessagesSent[2].Get(), p.b.m.MessageBytesSent[2].Get(); n != want || bytes != 4*want {
			t.Errorf("%d messages with %d bytes are counted as sent, expected %d", n, bytes, want)
		}
	}
	store.gate.Lock()
	p.put(pub, sentPublish(t, 2))
	sent(0)
	subs[1].out.Close(nil)
	store.gate.Unlock()
	if err := p.b.commits.Flush(); err != nil {
		t.Fatal(err)
	}
	subs[0].out.Committed() // the committer may not have come to it yet
	sent(1)
}
