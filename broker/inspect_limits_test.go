package broker_test

import (
	"testing"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/codec"
)

// TestNumbersOfLimits: what a judgement is made of says where a limit is reached.
func TestNumbersOfLimits(t *testing.T) {
	t.Parallel()
	f := newFixtureWith(t, func(o *broker.Options) { o.MaxQueuedMessages, o.QueuePolicy = 2, "reject" })
	away := f.connectV5("away", func(c *codec.Connect) { c.HasSessionExpiry, c.SessionExpirySeconds = true, 3600 })
	away.subscribeOne("a", 1)
	n := f.b.Numbers()
	if n.QueuesFull != 0 || n.StoreFull || n.Limits.Queued != 2 || n.Limits.Connections == 0 || n.Limits.Sessions == 0 || n.Limits.Retained == 0 || n.Limits.RetainedBytes == 0 || n.Limits.QueuedBytes == 0 {
		t.Errorf("%+v", n)
	}
	p := f.connectV5("pub", nil)
	p.publish1(1, "a", "1")
	p.publish1(2, "a", "2")
	n = f.b.Numbers()
	page, err := f.b.Clients(t.Context(), inspect.ClientFilter{Sort: "queued", Descending: true}, inspect.Window{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	found := inspect.Judge(&inspect.Seen{Now: n, Fullest: page.Items})
	if n.QueuesFull != 1 || len(found) != 1 || !found[0].Attention {
		t.Errorf("%d full; found %+v", n.QueuesFull, found)
	}
}
