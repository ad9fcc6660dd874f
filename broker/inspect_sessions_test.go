package broker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/store"
)

// TestEndSession: a Session that an operator has ended is gone, with its subscriptions and its
// queue, also after a power cut; its Client was told, and its Will was published.
func TestEndSession(t *testing.T) { timeless(t, testEndSession) }

func testEndSession(t *testing.T) {
	f := newFixture(t)
	watcher := f.connectV5("watcher", nil)
	watcher.subscribeOne("gone/#", 1)
	if err := f.b.EndSession(t.Context(), "nobody"); !errors.Is(err, inspect.ErrNotFound) {
		t.Errorf("of nobody: %v", err)
	}
	clients := make(map[string]*peer)
	for _, id := range []string{"offline", "connected", "clean", "stays"} {
		p := f.connectV5(id, func(c *codec.Connect) {
			if id != "clean" {
				lasting(c)
			}
			c.HasWill, c.Will.Topic, c.Will.DelaySeconds = true, codec.View("gone/"+id), 600
		})
		p.subscribeOne("t", 1)
		if clients[id] = p; id == "offline" {
			p.drop()
		}
	}
	watcher.publish1(1, "t", "queued")
	for _, id := range []string{"offline", "connected", "clean"} {
		if err := f.b.EndSession(t.Context(), id); err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		if m := watcher.receive(); string(m.Topic) != "gone/"+id {
			t.Errorf("%s: the Will is %q", id, m.Topic)
		}
		if id != "offline" {
			clients[id].closed(codec.AdministrativeAction)
		}
		if err := f.b.EndSession(t.Context(), id); !errors.Is(err, inspect.ErrNotFound) {
			t.Errorf("%s, again: %v", id, err)
		}
	}
	f.kill()
	f.restart()
	var left []string
	for _, row := range f.listed(inspect.ClientFilter{}) {
		left = append(left, row.ID)
	}
	if !slices.Equal(left, []string{"stays"}) {
		t.Errorf("%q are left", left)
	}
	if p, ack := f.connectAs(codec.Version5, "connected", resumed); ack.SessionPresent {
		t.Error("the session was resumed")
	} else {
		p.quiet()
	}
}

// TestEndSessionLate: a connection that does not end when it is told, since the disk does not
// answer, is cut off, and what it still sends has no effect; EndSession waits for the disk.
func TestEndSessionLate(t *testing.T) { timeless(t, testEndSessionLate) }

func testEndSessionLate(t *testing.T) {
	f := newFixtureOn(t, store.DefaultOptions(), t.TempDir(), func(o *broker.Options) { o.MaxSubscriptions = 1000 })
	p := f.connectV5("c", lasting)
	open := f.store.close()
	var subs []codec.Subscription
	for i := range 600 { // more than one commit may have
		subs = append(subs, codec.Subscription{Filter: codec.View(fmt.Sprint("t/", i))})
	}
	p.write(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, subs, codec.Version5))
	synctest.Wait() // its reader waits for the disk
	ended := make(chan error)
	go func() { ended <- f.b.EndSession(t.Context(), "c") }()
	time.Sleep(time.Minute)
	select {
	case err := <-ended:
		t.Fatalf("it did not wait for the disk: %v", err)
	default:
	}
	if _, err := f.b.Client("c"); !errors.Is(err, inspect.ErrNotFound) {
		t.Errorf("the session: %v", err)
	}
	open()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	p.closed(codec.Success)
	f.kill()
	f.restart()
	if _, ack := f.connectAs(codec.Version5, "c", resumed); ack.SessionPresent {
		t.Error("the session was resumed")
	}
	if page, err := f.b.Subscriptions(t.Context(), inspect.SubscriptionFilter{}, inspect.Window{}); err != nil || len(page.Items) > 0 {
		t.Errorf("%v are left, %v", page.Items, err)
	}
}

// TestEndSessionGivesUp: who does not wait any longer is told so.
func TestEndSessionGivesUp(t *testing.T) { timeless(t, testEndSessionGivesUp) }

func testEndSessionGivesUp(t *testing.T) {
	f := newFixture(t)
	f.connectV5("c", lasting).drop()
	open := f.store.close()
	defer open()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := f.b.EndSession(ctx, "c"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("EndSession: %v", err)
	}
}

// TestPurgeSessions: those without connection for so long have ended, on disk too, and a dry
// run counts the same.
func TestPurgeSessions(t *testing.T) { timeless(t, testPurgeSessions) }

func testPurgeSessions(t *testing.T) {
	f := newFixture(t)
	const old = 2*32 + 3 // more than one step
	leave := func(id string) {
		f.connectV5(id, func(c *codec.Connect) { c.HasSessionExpiry, c.SessionExpirySeconds = true, 1<<32-1 }).drop()
	}
	for i := range old {
		leave(fmt.Sprint("old ", i))
	}
	time.Sleep(time.Hour)
	leave("young")
	f.connectV5("connected", lasting)
	for olderThan, want := range map[time.Duration]int{2 * time.Hour: 0, time.Hour: old, 0: old + 1} {
		if n, err := f.b.PurgeSessions(t.Context(), olderThan, true); n != want || err != nil {
			t.Errorf("older than %v: %d, %v; expected %d", olderThan, n, err, want)
		}
	}
	if n, err := f.b.PurgeSessions(t.Context(), time.Hour, false); n != old || err != nil {
		t.Errorf("%d ended, %v; expected %d", n, err, old)
	}
	f.kill()
	f.restart()
	var left []string
	for _, row := range f.listed(inspect.ClientFilter{}) {
		left = append(left, row.ID)
	}
	if !slices.Equal(left, []string{"connected", "young"}) {
		t.Errorf("%q are left", left)
	}
	if n, err := f.b.PurgeSessions(t.Context(), time.Second, true); n != 0 || err != nil {
		t.Errorf("after a start: %d, %v", n, err)
	}
}

// TestDisconnectedAt: when the last connection of a Session ended is known, after a start too if
// the Session expires.
func TestDisconnectedAt(t *testing.T) { timeless(t, testDisconnectedAt) }

func testDisconnectedAt(t *testing.T) {
	f := newFixture(t)
	f.connectV5("c", lasting).drop()
	at := time.Now()
	check := func(when string) {
		t.Helper()
		if d, err := f.b.Client("c"); err != nil || d.DisconnectedAt.Sub(at).Abs() > 10*time.Millisecond {
			t.Errorf("%s: %v, expected %v; %v", when, d.DisconnectedAt, at, err)
		}
	}
	check("at first")
	time.Sleep(time.Minute)
	f.stop()
	f.restart()
	check("after a start")
}

// TestSubscribeByOperator: a subscription that an operator makes delivers at once, brings
// retained messages as Retain Handling says, and is there after a power cut, until the operator
// removes it.
func TestSubscribeByOperator(t *testing.T) { timeless(t, testSubscribeByOperator) }

func testSubscribeByOperator(t *testing.T) {
	f := newFixture(t)
	pub := f.connectV5("pub", nil)
	pub.sendPublish(codec.Publish{QoS: 1, PacketID: 1, Topic: codec.View("t/kept"), Payload: codec.View("kept"), Retain: true})
	pub.acked(codec.TypePuback)
	connected := f.connectV5("connected", lasting)
	f.connectV5("offline", lasting).drop()
	want := inspect.Subscription{Filter: "t/#", QoS: 1, RetainAsPublished: true, ID: 7}
	if err := f.b.Subscribe(t.Context(), "nobody", want); !errors.Is(err, inspect.ErrNotFound) {
		t.Errorf("of nobody: %v", err)
	}
	for _, id := range []string{"connected", "offline"} {
		if err := f.b.Subscribe(t.Context(), id, want); err != nil {
			t.Fatal(err)
		}
	}
	m := connected.receive()
	if string(m.Payload) != "kept" || !m.Retain || len(m.SubscriptionIDs) != 1 || m.SubscriptionIDs[0] != 7 {
		t.Errorf("retained: %+v", m)
	}
	connected.ack(codec.TypePuback, m.PacketID)
	again := want
	again.RetainHandling = 1 // it is there already: nothing comes
	if err := f.b.Subscribe(t.Context(), "connected", again); err != nil {
		t.Fatal(err)
	}
	connected.quiet()
	pub.publish1(2, "t/x", "new")
	m = connected.receive()
	connected.ack(codec.TypePuback, m.PacketID)
	f.kill()
	f.restart()
	offline := f.connectV5("offline", resumed)
	got := map[string]bool{string(offline.receive().Payload): true, string(offline.receive().Payload): true}
	if !got["kept"] || !got["new"] {
		t.Errorf("after a start: %v", got)
	}
	want.Client = "offline"
	if d, err := f.b.Client("offline"); err != nil || !slices.Equal(d.Subscribed, []inspect.Subscription{want}) {
		t.Errorf("after a start: %+v, %v", d.Subscribed, err)
	}
	if err := f.b.Unsubscribe(t.Context(), "offline", "t"); !errors.Is(err, inspect.ErrNotFound) {
		t.Errorf("a filter that it has not: %v", err)
	}
	if err := f.b.Unsubscribe(t.Context(), "offline", "t/#"); err != nil {
		t.Fatal(err)
	}
	f.kill()
	f.restart()
	if d, err := f.b.Client("offline"); err != nil || len(d.Subscribed) != 0 {
		t.Errorf("removed, and after a start: %+v, %v", d.Subscribed, err)
	}
}

// TestSubscribeByOperatorRefused: what a SUBSCRIBE may not do an operator may not either, and
// the rules are those for the user of the Session, connected or not.
func TestSubscribeByOperatorRefused(t *testing.T) { timeless(t, testSubscribeByOperatorRefused) }

func testSubscribeByOperatorRefused(t *testing.T) {
	f := newFixtureWith(t, withUsers, func(o *broker.Options) {
		o.MaxSubscriptions, o.MaxTopicLevels, o.SharedSubAvailable = 2, 3, false
		o.Policy = access.NewPolicy([]access.Rule{{User: "anna", Actions: access.Subscribe | access.Receive, Filter: "a/#", MaxQoS: 2}})
	})
	f.connectV5("connected", func(c *codec.Connect) { as("anna")(c); lasting(c) })
	f.connectV5("offline", func(c *codec.Connect) { as("anna")(c); lasting(c) }).drop()
	for _, id := range []string{"connected", "offline"} {
		for field, sub := range map[string]inspect.Subscription{
			"filter":          {Filter: "a/#/b"},
			"qos":             {Filter: "a", QoS: 3},
			"retain_handling": {Filter: "a", RetainHandling: -1},
			"identifier":      {Filter: "a", ID: 1 << 28},
		} {
			var invalid *inspect.Invalid
			if err := f.b.Subscribe(t.Context(), id, sub); !errors.As(err, &invalid) || invalid.Field != field {
				t.Errorf("%s: %+v: %v", id, sub, err)
			}
		}
		for reason, filter := range map[codec.ReasonCode]string{
			codec.NotAuthorized: "b", codec.TopicFilterInvalid: "a/b/c/d", codec.SharedSubscriptionsNotSupported: "$share/s/a",
		} {
			var refused *inspect.Refused
			if err := f.b.Subscribe(t.Context(), id, inspect.Subscription{Filter: filter}); !errors.As(err, &refused) || refused.Reason != reason.String() {
				t.Errorf("%s: %s: %v, expected %v", id, filter, err, reason)
			}
		}
		for i, want := range []bool{true, true, false} {
			var refused *inspect.Refused
			err := f.b.Subscribe(t.Context(), id, inspect.Subscription{Filter: fmt.Sprint("a/", i)})
			if want && err != nil || !want && (!errors.As(err, &refused) || refused.Reason != codec.QuotaExceeded.String()) {
				t.Errorf("%s: the subscription %d: %v", id, i, err)
			}
		}
	}
}

// TestQueueShown: what waits for a Client is shown part by part, in order and with how far it
// is: in memory, and on disk after a start.
func TestQueueShown(t *testing.T) { timeless(t, testQueueShown) }

func testQueueShown(t *testing.T) {
	f := newFixtureWith(t, func(o *broker.Options) { o.MaxInflight = 4 }) // a window of 256
	const messages = 600
	p := f.connectV5("c", lasting)
	p.subscribeOne("t/#", 2)
	pub := f.connectV5("pub", nil)
	for i := range messages {
		pub.publish1(uint16(i%100+1), fmt.Sprintf("t/%d", i), "12345")
		if i == 0 {
			pub.publish2(1000, "t/two", "", false)
		}
	}
	var two uint16
	for range 4 {
		if m := p.receive(); m.QoS == 2 {
			two = m.PacketID
		}
	}
	p.ack(codec.TypePubrec, two)
	p.acked(codec.TypePubrel)
	check := func(when string, states []string) {
		t.Helper()
		var all []inspect.Queued
		for cursor := ""; ; {
			page, err := f.b.Queue(t.Context(), "c", inspect.Window{Cursor: cursor, Limit: 70})
			if err != nil || page.Total != messages+1 {
				t.Fatalf("%s: %d in all, %v", when, page.Total, err)
			}
			all = append(all, page.Items...)
			if cursor = page.Next; cursor == "" {
				break
			}
		}
		if len(all) != messages+1 {
			t.Fatalf("%s: %d messages", when, len(all))
		}
		for i, q := range all {
			state, topic, qos := "waiting", fmt.Sprintf("t/%d", max(0, i-1)), 1
			if i < len(states) {
				state = states[i]
			}
			if i == 1 {
				topic, qos = "", 2
			}
			if q.State != state || q.Topic != topic || q.QoS != qos || (i > 0 && q.Position <= all[i-1].Position) || i > 1 && q.Bytes != 5 {
				t.Errorf("%s: %d: %+v, expected %s %q", when, i, q, state, topic)
			}
		}
	}
	check("connected", []string{"sent", "received", "sent", "sent"})
	p.drop()
	check("not connected", []string{"sent", "received", "sent", "sent"})
	f.stop()
	f.restart()
	check("after a start", []string{"sent", "received", "sent", "sent"})
	if _, err := f.b.Queue(t.Context(), "nobody", inspect.Window{}); !errors.Is(err, inspect.ErrNotFound) {
		t.Errorf("of nobody: %v", err)
	}
}
