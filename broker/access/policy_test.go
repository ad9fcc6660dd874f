package access

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

func TestFirstRuleDecides(t *testing.T) {
	t.Parallel()
	p := NewPolicy([]Rule{
		{Deny: true, Actions: allActions, Filter: "secret/#"},
		{Actions: allActions, Filter: "#", User: "root", MaxQoS: 2},
		{Actions: Publish, Filter: "own/%u/%c", MaxQoS: 1, NoRetain: true},
		{Actions: Receive | Subscribe, Filter: "news/#", Nobody: true, MaxQoS: 2},
		{Actions: Receive | Subscribe, Filter: "staff/+", Group: "staff", MaxQoS: 2},
		{Actions: Publish, Filter: "box/%%u", Client: "c9", MaxQoS: 2},
	})
	for _, test := range []struct {
		who     *Identity
		client  string
		request Request
		allowed bool
		rule    int // -1: none
	}{
		{&Identity{User: "root"}, "c", Request{Action: Publish, Topic: "secret/x"}, false, 0},
		{&Identity{User: "root"}, "c", Request{Action: Publish, Topic: "x", QoS: 2, Retain: true}, true, 1},
		{&Identity{User: "root"}, "c", Request{Action: Publish, Topic: "$SYS/x"}, false, -1},
		{&Identity{User: "root"}, "c", Request{Action: Subscribe, Topic: "+/#"}, true, 1},
		{&Identity{User: "root"}, "c", Request{Action: Subscribe, Topic: "secret/+"}, false, 0},
		{&Identity{User: "a"}, "c", Request{Action: Publish, Topic: "own/a/c", QoS: 1}, true, 2},
		{&Identity{User: "a"}, "c", Request{Action: Publish, Topic: "own/a/c", QoS: 2}, false, -1},
		{&Identity{User: "a"}, "c", Request{Action: Publish, Topic: "own/a/c", Retain: true}, false, -1},
		{&Identity{User: "+"}, "c", Request{Action: Publish, Topic: "own/a/c"}, false, -1},
		{&Identity{User: "a"}, "c/d", Request{Action: Publish, Topic: "own/a/c/d"}, false, -1},
		{nil, "c", Request{Action: Publish, Topic: "own//c"}, false, -1},
		{nil, "c", Request{Action: Receive, Topic: "news"}, true, 3},
		{nil, "c", Request{Action: Publish, Topic: "news"}, false, -1},
		{&Identity{User: "a"}, "c", Request{Action: Receive, Topic: "news"}, false, -1},
		{&Identity{User: "a", Groups: []string{"x", "staff", "staff"}}, "c", Request{Action: Receive, Topic: "staff/a"}, true, 4},
		{&Identity{User: "a", Groups: []string{"staff"}}, "c", Request{Action: Subscribe, Topic: "staff/#"}, false, -1},
		{nil, "c9", Request{Action: Publish, Topic: "box/%u"}, true, 5},
	} {
		s := NewSubject(test.who, test.client)
		for range 2 { // the second time it is remembered
			d := p.Decide(s, test.request)
			view := p.DecideView(s, codec.View(test.request.Topic), test.request)
			if d != view || d.Allowed != test.allowed || (d.Rule == nil) != (test.rule < 0) ||
				d.Rule != nil && *d.Rule != p.Rules()[test.rule] {
				t.Errorf("%+v %q %+v: %+v, %+v", test.who, test.client, test.request, d, view)
			}
		}
	}
}

func TestWithoutRules(t *testing.T) {
	t.Parallel()
	request := Request{Action: Publish, Topic: "a"}
	empty := NewPolicy(nil)
	if s := NewSubject(nil, "c"); !empty.Decide(s, request).Allowed || s.views[0] != nil {
		t.Error("an empty Policy denies, or costs memory")
	}
	s := NewSubject(&Identity{User: "u", Rules: []Rule{{Actions: Publish, Filter: "b"}}}, "c")
	if empty.Decide(s, request).Allowed || !empty.Decide(s, Request{Action: Publish, Topic: "b"}).Allowed {
		t.Error("the rules of the Identity do not hold")
	}
	none := NewSubject(&Identity{User: "u", Rules: []Rule{}}, "c")
	for _, action := range []Actions{Publish, Subscribe, Receive} {
		if empty.Decide(none, Request{Action: action, Topic: "a"}).Allowed {
			t.Error("a list without rules allows something")
		}
	}
	all := NewPolicy([]Rule{{Actions: Publish, Filter: "#"}})
	if !all.Decide(none, request).Allowed {
		t.Error("a list without rules hides those of the Policy")
	}
	if !all.Decide(s, request).Allowed || empty.Decide(s, request).Allowed {
		t.Error("what another Policy said is taken for that of this one")
	}
	if empty.Version() == all.Version() || empty.Version() == 0 {
		t.Error("versions are not unique")
	}
}

// A rule that is not in order never opens anything.
func TestBrokenRules(t *testing.T) {
	t.Parallel()
	for _, rule := range []Rule{
		{Actions: Publish, Filter: ""}, {Actions: Publish, Filter: "a/#/b"}, {Filter: "a"}, {Actions: 8, Filter: "a"},
		{Actions: Publish, Filter: "a+%u"}, {Actions: Publish, Filter: "%u#"}, {Actions: Publish, Filter: "a\x00"},
		{Actions: Publish, Filter: "a", MaxQoS: 3}, {Actions: Publish, Filter: "a", User: "u", Nobody: true},
	} {
		if rule.Check() == nil {
			t.Errorf("%+v is in order", rule)
		}
		deny := rule
		deny.Deny = true
		all := Rule{Actions: allActions, Filter: "#", MaxQoS: 2}
		for _, action := range []Actions{Publish, Receive, Subscribe} {
			r := Request{Action: action, Topic: "a"}
			if NewPolicy([]Rule{rule}).Decide(NewSubject(nil, "c"), r).Allowed || NewPolicy([]Rule{deny, all}).Decide(NewSubject(nil, "c"), r).Allowed {
				t.Errorf("%+v opens", rule)
			}
		}
	}
}

// Each kind of Request may be decided by a goroutine of its own; only -race makes it say much.
func TestKindsAtTheSameTime(t *testing.T) {
	t.Parallel()
	open, shut := NewPolicy([]Rule{{Actions: allActions, Filter: "a/%u/#"}}), NewPolicy([]Rule{{Deny: true, Actions: allActions, Filter: "#"}})
	s := NewSubject(&Identity{User: "u"}, "c")
	var wg sync.WaitGroup
	for _, action := range []Actions{Publish, Receive, Subscribe} {
		wg.Go(func() {
			for i := range 2000 {
				p := []*Policy{open, shut}[i/10%2]
				if r := (Request{Action: action, Topic: fmt.Sprint("a/u/", i%40)}); p.Decide(s, r).Allowed != (p == open) {
					t.Errorf("%s: %v", r, p == open)
				}
			}
		})
	}
	wg.Wait()
}

func TestDecideAllocatesNothing(t *testing.T) {
	p, s := benchmarkPolicy()
	request := Request{Action: Publish, Topic: "site7/line3/dev42/temperature", QoS: 1}
	other := request
	names := []string{"site7/line3/dev42/a", "site7/line3/dev42/b", "site7/x", "other/topic/is/denied", "site7/line3/dev42/e"}
	for i := range 64 {
		names = append(names, names[i]+"x")
	}
	decide := func() {
		p.Decide(s, request)
		for _, other.Topic = range names { // more than are remembered
			p.Decide(s, other)
		}
	}
	for range 100 {
		decide()
	}
	if n := testing.AllocsPerRun(100, decide); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func benchmarkPolicy() (*Policy, *Subject) {
	rules := []Rule{{Deny: true, Actions: allActions, Filter: "+/+/+/secret/#"}}
	for _, user := range []string{"a", "b", "dev42"} {
		rules = append(rules, Rule{User: user, Actions: allActions, Filter: "site7/+/%u/#", MaxQoS: 2})
	}
	return NewPolicy(rules), NewSubject(&Identity{User: "dev42"}, "c")
}

func BenchmarkDecide(b *testing.B) {
	p, s := benchmarkPolicy()
	b.Run("remembered", func(b *testing.B) {
		b.ReportAllocs()
		topic := codec.View("site7/line3/dev42/temperature")
		for b.Loop() {
			p.DecideView(s, topic, Request{Action: Publish, QoS: 1})
		}
	})
	b.Run("remembered, one of 8", func(b *testing.B) {
		b.ReportAllocs()
		names := []string{"site7/line3/dev42/temperature", "site7/line3/dev42/humidity", "site7/line3/dev42/a", "site7/line3/dev42/b",
			"site7/line3/dev42/c", "site7/line3/dev42/d", "site7/line3/dev42/e", "site7/line3/dev42/f"}
		for i := 0; b.Loop(); i++ {
			p.Decide(s, Request{Action: Publish, QoS: 1, Topic: names[i&7]})
		}
	})
	b.Run("remembered, at random of 8", func(b *testing.B) {
		b.ReportAllocs()
		var names [1024]string
		rng := rand.New(rand.NewPCG(1, 2))
		for i := range names {
			names[i] = fmt.Sprint("site7/line3/dev42/sensor", rng.IntN(8))
		}
		for i := 0; b.Loop(); i++ {
			p.Decide(s, Request{Action: Publish, QoS: 1, Topic: names[i&1023]})
		}
	})
	b.Run("searched", func(b *testing.B) {
		b.ReportAllocs()
		r := Request{Action: Publish, QoS: 1, Topic: "site7/line3/dev42/temperature"}
		v := s.bind(p, Publish)
		for b.Loop() {
			v.search(&r)
		}
	})
}
