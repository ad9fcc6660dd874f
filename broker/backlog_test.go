package broker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/x0a1b/promptmq/session"
	"github.com/x0a1b/promptmq/topics"
)

// retainIn sets the retained message of a topic.
func retainIn(set *retainedSet, topic string) *retainedMessage {
	r, _ := set.set(&session.Message{Topic: topic, Payload: []byte("v")}, "")
	return r
}

// drain takes all that is owed out of o, with a new budget each time one is spent, and
// returns the topics for each filter. between is called after each budget.
func drain(t *testing.T, o *backlog, set *retainedSet, between func()) (got map[string][]string) {
	t.Helper()
	got = make(map[string][]string)
	for range 10_000 {
		for b := newBudget(); ; {
			d, r := o.next(set, &b)
			if d == nil {
				break
			}
			if r == nil {
				o.remove(d)
				continue
			}
			if r.version <= d.After || r.version > d.UpTo {
				t.Fatalf("%s: version %d is not between %d and %d", d.sub.Filter, r.version, d.After, d.UpTo)
			}
			d.After = r.version
			got[d.sub.Filter] = append(got[d.sub.Filter], r.message.Topic)
		}
		if len(o.debts) == 0 {
			return got
		}
		between()
	}
	t.Fatalf("%d debts are never settled", len(o.debts))
	return nil
}

// TestBacklog settles debts of all kinds: of one message, of some that a search finds,
// and of more than that, while what is retained changes.
func TestBacklog(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	set := newRetainedSet()
	const n = 5000 // more than a search may find
	for i := range n {
		retainIn(&set, fmt.Sprintf("r/%d/%d", i%10, i))
	}
	o := newBacklog()
	filters := []string{"#", "r/+/17", "r/3/#", "r/3/13", "r/+/+", "nothing/#"}
	want := make(map[string][]string)
	for _, f := range filters {
		o.add(&session.Subscription{Filter: f}, set.version)
		for i := range n {
			if topic := fmt.Sprintf("r/%d/%d", i%10, i); topics.MatchString(f, topic) {
				want[f] = append(want[f], topic)
			}
		}
	}
	changed := make(map[string]bool) // topics: whether they were owed any more is open
	got := drain(t, o, &set, func() {
		i := rng.IntN(n)
		topic := fmt.Sprintf("r/%d/%d", i%10, i)
		changed[topic] = true
		if rng.IntN(2) == 0 {
			set.remove(topic)
		} else {
			retainIn(&set, topic)
		}
		retainIn(&set, fmt.Sprint("r/1/new", i)) // owed to nobody
	})
	isChanged := func(topic string) bool { return changed[topic] }
	for _, f := range filters {
		if !slices.Equal(slices.DeleteFunc(got[f], isChanged), slices.DeleteFunc(want[f], isChanged)) {
			t.Errorf("%s: %d messages, expected %d, or in another order", f, len(got[f]), len(want[f]))
		}
	}
}

// TestBacklogReplaced: a subscription that is made again is owed all from the first on,
// once, and one that is gone nothing.
func TestBacklogReplaced(t *testing.T) {
	set := newRetainedSet()
	for i := range 3000 {
		retainIn(&set, fmt.Sprint(i))
	}
	o := newBacklog()
	for range 3 {
		for _, f := range []string{"#", "+", "7"} {
			o.add(&session.Subscription{Filter: f}, set.version)
		}
		for b := newBudget(); len(o.debts) == 3; { // the searches, and a part of the scan
			d, r := o.next(&set, &b)
			if d == nil || r == nil {
				break
			}
			d.After = r.version
		}
	}
	o.remove(o.debts["+"])
	if got := drain(t, o, &set, func() {}); len(got["+"]) != 0 || len(got["#"]) == 0 || o.debts["+"] != nil {
		t.Errorf("%d messages for a filter that is gone, %d for all", len(got["+"]), len(got["#"]))
	}
}

// TestBudget: what is done under one lock is bounded, whatever is owed.
func TestBudget(t *testing.T) {
	set := newRetainedSet()
	for i := range 3 * walkMax {
		retainIn(&set, fmt.Sprintf("r/%d", i))
	}
	o := newBacklog()
	for i := range 1000 {
		o.add(&session.Subscription{Filter: fmt.Sprintf("+/+/%d", i)}, set.version)
	}
	o.add(&session.Subscription{Filter: "r/+"}, set.version)
	for len(o.debts) > 0 {
		b, settled := newBudget(), 0
		for d, r := o.next(&set, &b); d != nil; d, r = o.next(&set, &b) {
			if d.After = d.UpTo; r == nil {
				o.remove(d)
				settled++
			}
		}
		if settled > settleStep || b.looks < -1 {
			t.Fatalf("%d settled, %d looks left", settled, b.looks)
		}
		if len(o.debts) > 0 && !b.spent {
			t.Fatal("it ended before the budget was spent")
		}
	}
}
