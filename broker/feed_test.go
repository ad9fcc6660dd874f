package broker

import (
	"fmt"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// retain puts in retained messages, from a publisher as fast as it can.
func (p *path) retain(topics ...string) {
	for _, topic := range topics {
		b, err := codec.AppendPublish(nil, &codec.Publish{Retain: true, Topic: codec.View(topic), Payload: codec.View("v")}, codec.Version5)
		if err != nil {
			p.tb.Fatal(err)
		}
		p.put(p.pub, b)
	}
}

// count is how often a debt is to be looked for.
func (o *backlog) count() int {
	n := o.waiting.Len()
	for _, s := range []*scan{o.scan, o.later} {
		if s != nil {
			n += len(s.debts)
		}
	}
	return n
}

func names(format string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(format, i)
	}
	return all
}

// step feeds c a little.
func (p *path) step(c *conn) (more bool) {
	var pend pending
	more = c.client.feedSome(c, &pend)
	pend.flush(p.b.m)
	return more
}

// steps feeds c until nothing is owed, and returns in how many steps.
func (p *path) steps(c *conn, most int) int {
	p.tb.Helper()
	for n := 1; n <= most; n++ {
		if !p.step(c) {
			if c.client.owedLocked() != nil {
				p.tb.Fatal("something is owed that nobody delivers")
			}
			return n
		}
	}
	p.tb.Fatalf("still something is owed after %d steps", most)
	return 0
}

// TestOneDebtForEachSubscription: however often a subscription is made, in one
// packet or in many, what it is owed is noted once, and so is all that can be
// owed to a Client that does not take it.
func TestOneDebtForEachSubscription(t *testing.T) {
	p := newPath(t, 0, 0)
	p.retain(names("r/%d", 3000)...)
	c := p.connect("c", new(sink))
	c.client.feeding = true // nobody delivers
	for range 100 {
		same := make([]string, 300)
		for i := range same {
			same[i] = []string{"#", "r/+", "r/#"}[i%3]
		}
		p.subscribe(c, 0, same...)
		o := c.client.owedLocked()
		if n := o.count(); len(o.debts) != 3 || n != 3 {
			t.Fatalf("%d debts, %d to be searched for", len(o.debts), n)
		}
		for range 10 { // some are found, some handed to a scan, some under way
			p.step(c)
		}
		c.client.feeding = true
		if n := o.count(); n > 3 {
			t.Fatalf("%d waiting, scans %v %v", n, o.scan, o.later)
		}
	}
	before := p.b.m.MessagesSent[0].Get()
	p.subscribe(c, 0, "#", "r/+", "r/#")
	p.steps(c, 2000)
	if got := p.b.m.MessagesSent[0].Get() - before; got != 3*3000 {
		t.Errorf("%d messages for three subscriptions of 3,000", got)
	}
}

// TestOneScanForManySubscriptions: to look at all that is retained takes no more
// steps for a thousand subscriptions than for one.
func TestOneScanForManySubscriptions(t *testing.T) {
	p := newPath(t, 0, 0)
	p.retain(names("r/%d/x", 20_000)...)
	count := func(id string, filters ...string) (steps int, sent uint64) {
		c := p.connect(id, new(sink))
		c.client.feeding = true
		before := p.b.m.MessagesSent[0].Get()
		p.subscribe(c, 0, filters...)
		return p.steps(c, 10_000), uint64(p.b.m.MessagesSent[0].Get() - before)
	}
	one, _ := count("one", "+/+/nothing")
	many, sent := count("many", append(names("+/%d/x", 1000), "+/+/nothing")...)
	if sent != 1000 {
		t.Errorf("%d messages for 1,000 subscriptions of one", sent)
	}
	// Each of them is searched for once, in a step of its own, and some steps send.
	if most := one + 1001 + 1000/feedStep + 1000/settleStep + 3; many > most {
		t.Errorf("%d steps for one subscription, %d for a thousand, expected %d at most", one, many, most)
	}
}

// TestDebtGoesWithItsSubscription: nothing is owed to what was unsubscribed, and
// what replaces a subscription takes over what that was owed.
func TestDebtGoesWithItsSubscription(t *testing.T) {
	p := newPath(t, 0, 0)
	p.retain(names("r/%d", 3000)...)
	c := p.connect("c", new(sink))
	c.client.feeding = true
	p.subscribe(c, 0, "r/+", "#")
	for range 5 {
		p.step(c)
	}
	c.client.feeding = true
	p.unsubscribe(c, "r/+")
	before := p.b.m.MessagesSent[1].Get()
	b, err := codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1},
		[]codec.Subscription{{Filter: codec.View("#"), QoS: 1, RetainHandling: 2}}, codec.Version5)
	if err != nil {
		t.Fatal(err)
	}
	p.put(c, b)
	o := c.client.owedLocked()
	if o == nil || len(o.debts) != 1 || o.debts["#"].sub.QoS != 1 || o.debts["#"].After == 0 && o.scan == nil {
		t.Fatalf("%+v", o)
	}
	p.steps(c, 1000)
	if p.b.m.MessagesSent[1].Get() != before {
		t.Error("messages of QoS 0 were sent with QoS 1")
	}
	p.unsubscribe(c, "#")
	if c.client.owedLocked() != nil {
		t.Error("something is owed without a subscription")
	}
}

func (p *path) unsubscribe(c *conn, filters ...string) {
	views := make([]codec.View, len(filters))
	for i, f := range filters {
		views[i] = codec.View(f)
	}
	b, err := codec.AppendUnsubscribe(nil, &codec.Unsubscribe{PacketID: 1}, views, codec.Version5)
	if err != nil {
		p.tb.Fatal(err)
	}
	p.put(c, b)
}
