package broker_test

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/topics"
)

// TestSubscriptionsPaged compares the list of subscriptions with a plain sort and filter of
// all of them; its parts have random sizes.
func TestSubscriptionsPaged(t *testing.T) { timeless(t, testSubscriptionsPaged) }

func testSubscriptionsPaged(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	f := newFixtureWith(t)
	filters := []string{"a", "a/b", "a/+", "#", "+/b", "$share/S/a/#", "$share/S/c", "A/b"}
	var all []inspect.Subscription
	for i := range 40 {
		id := fmt.Sprintf("client %d", i)
		p := f.connectV5(id, lasting)
		for _, filter := range filters {
			if rng.IntN(3) == 0 {
				qos := rng.IntN(3)
				p.subscribed(codec.Subscription{Filter: codec.View(filter), QoS: codec.QoS(qos), RetainHandling: 1})
				all = append(all, inspect.Subscription{Client: id, Filter: filter, QoS: qos, RetainHandling: 1})
			}
		}
		if rng.IntN(2) == 0 {
			p.drop()
		}
	}
	slices.SortFunc(all, func(a, b inspect.Subscription) int {
		return cmp.Or(strings.Compare(a.Client, b.Client), strings.Compare(a.Filter, b.Filter))
	})
	for name, test := range map[string]struct {
		filter inspect.SubscriptionFilter
		has    func(s inspect.Subscription) bool
	}{
		"all":       {inspect.SubscriptionFilter{}, func(inspect.Subscription) bool { return true }},
		"client":    {inspect.SubscriptionFilter{Client: "client 7"}, func(s inspect.Subscription) bool { return s.Client == "client 7" }},
		"no client": {inspect.SubscriptionFilter{Client: "nobody"}, func(inspect.Subscription) bool { return false }},
		"filter":    {inspect.SubscriptionFilter{Filter: "a/+"}, func(s inspect.Subscription) bool { return s.Filter == "a/+" }},
		"search":    {inspect.SubscriptionFilter{Search: "A/B"}, func(s inspect.Subscription) bool { return strings.EqualFold(s.Filter, "a/b") }},
		"topic": {inspect.SubscriptionFilter{Topic: "a/b"}, func(s inspect.Subscription) bool {
			return topics.MatchString(strings.TrimPrefix(s.Filter, "$share/S/"), "a/b")
		}},
		"topic and filter": {inspect.SubscriptionFilter{Topic: "a/b", Filter: "#"}, func(s inspect.Subscription) bool { return s.Filter == "#" }},
	} {
		want := slices.DeleteFunc(slices.Clone(all), func(s inspect.Subscription) bool { return !test.has(s) })
		got := []inspect.Subscription{}
		for cursor := ""; ; {
			page, err := f.b.Subscriptions(t.Context(), test.filter, inspect.Window{Cursor: cursor, Limit: 1 + rng.IntN(9)})
			if err != nil {
				t.Fatal(err)
			}
			if page.Total != len(want) {
				t.Errorf("%s: %d in all, expected %d", name, page.Total, len(want))
			}
			got = append(got, page.Items...)
			if cursor = page.Next; cursor == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %+v\nexpected %+v", name, got, want)
		}
	}
	var invalid *inspect.Invalid
	if _, err := f.b.Subscriptions(t.Context(), inspect.SubscriptionFilter{Topic: "a/#"}, inspect.Window{}); !errors.As(err, &invalid) || invalid.Field != "topic" {
		t.Errorf("a Topic Name with a wildcard: %v", err)
	}
}
