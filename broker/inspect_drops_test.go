package broker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// TestTrafficCounted: packets and bytes of a connection are counted as they come and go, and
// begin anew with the next one.
func TestTrafficCounted(t *testing.T) { timeless(t, testTrafficCounted) }

func testTrafficCounted(t *testing.T) {
	f := newFixture(t)
	at := time.Now()
	p := f.connectV5("c", lasting)
	p.subscribeOne("t", 2)
	for qos := range codec.QoS(3) {
		p.sendPublish(codec.Publish{QoS: qos, PacketID: 1, Topic: codec.View("t"), Payload: codec.View(strings.Repeat("x", 1000))})
	}
	var publishes int
	for publishes < 3 {
		f, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		if f.Type() == codec.TypePublish {
			publishes++
		}
	}
	time.Sleep(time.Second)
	d, err := f.b.Client("c")
	if err != nil {
		t.Fatal(err)
	}
	if d.MessagesIn != 3 || d.MessagesOut != 3 || d.ConnectedAt.Sub(at).Abs() > time.Second {
		t.Errorf("%d in, %d out, since %v", d.MessagesIn, d.MessagesOut, d.ConnectedAt)
	}
	if d.BytesIn < 3000 || d.BytesIn > 3200 || d.BytesOut < 3000 || d.BytesOut > 3200 {
		t.Errorf("%d bytes in, %d out", d.BytesIn, d.BytesOut)
	}
	p.drop()
	if d, _ := f.b.Client("c"); d.MessagesIn+d.MessagesOut+d.BytesIn+d.BytesOut != 0 || !d.ConnectedAt.IsZero() {
		t.Errorf("not connected: %+v", d)
	}
	time.Sleep(time.Minute)
	f.connectV5("c", resumed)
	if d, _ := f.b.Client("c"); d.MessagesIn != 0 || d.ConnectedAt.Sub(at) < time.Minute {
		t.Errorf("connected again: %+v", d)
	}
}

// TestDropsShown: each way to drop a message for a Client is counted for it, and the last drops
// say what it was.
func TestDropsShown(t *testing.T) { timeless(t, testDropsShown) }

func testDropsShown(t *testing.T) {
	f := newFixtureWith(t, func(o *broker.Options) {
		o.MaxQueuedMessages, o.QueuePolicy, o.CleanupInterval = 2, string(session.DropOldest), time.Minute
	})
	pub := f.connectV5("pub", nil)
	small := f.connectV5("small", func(c *codec.Connect) { c.MaximumPacketSize = 50 })
	small.subscribeOne("large", 1)
	f.connectV5("offline", lasting).subscribeOne("#", 1)
	f.b.Disconnect("offline", "")
	time.Sleep(time.Second)
	for i := range 3 {
		pub.publish1(1, fmt.Sprint("q/", i), "1234")
	}
	pub.publish(0, 0, "large", strings.Repeat("x", 100))
	pub.quiet()
	time.Sleep(2 * time.Second)
	pub.sendPublish(codec.Publish{QoS: 1, PacketID: 1, Topic: codec.View("old"), Payload: codec.View("1"), HasMessageExpiry: true, MessageExpirySeconds: 1})
	pub.acked(codec.TypePuback)
	time.Sleep(2 * time.Minute)
	want := []inspect.Drop{
		{Client: "offline", Topic: "old", QoS: 1, Bytes: 1, Reason: "expired"},
		{Client: "offline", Topic: "q/1", QoS: 1, Bytes: 4, Reason: "queue_full_oldest"},
		{Client: "offline", Topic: "large", QoS: 0, Bytes: 100, Reason: "offline_qos0"},
		{Client: "offline", Topic: "q/0", QoS: 1, Bytes: 4, Reason: "queue_full_oldest"},
	}
	check := func(what string, got []inspect.Drop, want []inspect.Drop) {
		t.Helper()
		for i := range got {
			if got[i].At.IsZero() {
				t.Errorf("%s: no time", what)
			}
			got[i].At = time.Time{}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s:\n%+v, expected\n%+v", what, got, want)
		}
	}
	d, err := f.b.Client("offline")
	if err != nil || d.Dropped != 4 {
		t.Errorf("%d dropped, %v", d.Dropped, err)
	}
	check("of the client", d.LastDrops, want)
	var others []inspect.Drop
	for _, drop := range f.b.Drops() {
		if drop.Client == "offline" {
			others = append(others, drop)
		}
	}
	check("of all", others, want)
	d, err = f.b.Client("small")
	if err != nil || d.Dropped != 1 {
		t.Errorf("%d dropped, %v", d.Dropped, err)
	}
	check("of the client with the small packets", d.LastDrops, []inspect.Drop{{Client: "small", Topic: "large", QoS: 0, Bytes: 100, Reason: "too_large"}})
}

// TestDropsBounded: of a flood of drops all are counted and a few kept, and those of a Session
// that has ended are forgotten.
func TestDropsBounded(t *testing.T) { timeless(t, testDropsBounded) }

func testDropsBounded(t *testing.T) {
	f := newFixtureWith(t)
	pub := f.connectV5("pub", nil)
	f.connectV5("offline", lasting).subscribeOne("#", 1)
	f.b.Disconnect("offline", "")
	time.Sleep(time.Second)
	const seconds, flood = 3, 100
	for second := range seconds {
		for range flood {
			pub.publish(0, 0, fmt.Sprint(second, "/", strings.Repeat("x", 5000)), "")
		}
		pub.quiet()
		time.Sleep(time.Second)
	}
	d, err := f.b.Client("offline")
	if err != nil || d.Dropped != seconds*flood || len(d.LastDrops) != 8 {
		t.Errorf("%d dropped, %d kept, %v", d.Dropped, len(d.LastDrops), err)
	}
	if all := f.b.Drops(); len(all) != 4*seconds || len(all[0].Topic) > 500 {
		t.Errorf("%d kept of all, the topic of one has %d bytes", len(all), len(all[0].Topic))
	}
	if err := f.b.EndSession(t.Context(), "offline"); err != nil {
		t.Fatal(err)
	}
	f.connectV5("offline", lasting)
	if d, err := f.b.Client("offline"); err != nil || d.Dropped != 0 || len(d.LastDrops) != 0 {
		t.Errorf("a new session has %d drops, %d kept, %v", d.Dropped, len(d.LastDrops), err)
	}
}
