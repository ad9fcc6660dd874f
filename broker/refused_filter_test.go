package broker_test

import (
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/codec"
)

// TestRefusedFilterDeliversNothing: by a filter that SUBACK has refused nothing ever comes, for
// hours, after a crash, and after the rules allow it; plain or shared, whatever else is in the
// packet.
func TestRefusedFilterDeliversNothing(t *testing.T) {
	timeless(t, testRefusedFilterDeliversNothing)
}

func testRefusedFilterDeliversNothing(t *testing.T) {
	f := newFixtureWith(t, withUsers)
	everything := access.Publish | access.Receive
	rules := func(more ...access.Rule) {
		f.b.SetPolicy(access.NewPolicy(append([]access.Rule{
			{Actions: everything, Filter: "#", MaxQoS: 2}, {User: "anna", Actions: access.Subscribe, Filter: "mine/#", MaxQoS: 2},
		}, more...)))
	}
	rules()
	pub := f.connectV5("pub", as("ben"))
	pub.sendPublish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View("others/kept"), Payload: codec.View("x")})
	pub.acked(codec.TypePuback)
	sub := f.connectV5("sub", as("anna", lasting))
	var subs []codec.Subscription
	for _, filter := range []string{"others/#", "$share/g/others/#", "#", "+/a", "$share/h/#", "mine/a"} {
		subs = append(subs, codec.Subscription{Filter: codec.View(filter), QoS: 2})
	}
	for i, got := range sub.subscribed(subs...) {
		want := codec.NotAuthorized
		if i == len(subs)-1 {
			want = 2
		}
		if got != want {
			t.Errorf("%s: %v", subs[i].Filter, got)
		}
	}
	nothing := func(when string) {
		t.Helper()
		for range 60 {
			time.Sleep(time.Minute)
			for _, topic := range []string{"others/a", "others/a/b", "x/a"} {
				if got := pub.publish1(1, topic, "x"); got >= 0x80 {
					t.Fatalf("%s: %v", when, got)
				}
			}
			sub.quiet()
		}
	}
	nothing("denied")
	rules(access.Rule{Actions: access.Subscribe, Filter: "#", MaxQoS: 2})
	nothing("allowed since")
	f.kill()
	f.restart()
	rules()
	pub = f.connectV5("pub", as("ben"))
	sub = f.connectV5("sub", as("anna", resumed))
	nothing("after a crash")
	if got := pub.publish1(1, "mine/a", "x"); got != codec.Success {
		t.Errorf("PUBACK %v", got)
	}
	sub.receive()
	sub.quiet()
}

// TestAliasIsAsked: a rule is about the name that an alias stands for now, and a PUBLISH that
// was denied changes nothing of that. There is nothing else in the broker that changes a name.
func TestAliasIsAsked(t *testing.T) { timeless(t, testAliasIsAsked) }

func testAliasIsAsked(t *testing.T) {
	f := newFixtureWith(t, withUsers)
	watcher := f.connectV5("watcher", as("watcher"))
	watcher.subscribeOne("#", 0)
	f.b.SetPolicy(access.NewPolicy([]access.Rule{
		{User: "watcher", Actions: access.Receive, Filter: "#", MaxQoS: 2}, {Actions: access.Publish, Filter: "open/#", MaxQoS: 2},
	}))
	p := f.connectV5("c", as("anna"))
	for i, step := range []struct {
		topic string // "": by the alias alone
		want  codec.ReasonCode
		comes string
	}{
		{"open/a", codec.Success, "open/a"}, {"", codec.Success, "open/a"}, {"shut/b", codec.NotAuthorized, ""}, {"", codec.NotAuthorized, ""},
		{"open/c", codec.Success, "open/c"}, {"", codec.Success, "open/c"}, {"$SYS/d", codec.NotAuthorized, ""}, {"", codec.NotAuthorized, ""},
		{"open/a", codec.Success, "open/a"}, {"", codec.Success, "open/a"},
	} {
		p.sendPublish(codec.Publish{QoS: 1, PacketID: 1, Topic: codec.View(step.topic), TopicAlias: 1, Payload: codec.View("x")})
		if got := p.acked(codec.TypePuback).Reason; got != step.want {
			t.Errorf("step %d: %v", i, got)
		}
		if step.comes == "" {
			watcher.quiet()
		} else if m := watcher.receive(); string(m.Topic) != step.comes {
			t.Errorf("step %d: %q came", i, m.Topic)
		}
	}
}
