package broker

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
	"github.com/x0a1b/promptmq/topics"
)

// TestVersions compares versions with a sorted list while messages come and go, in
// ways that leave blocks full, nearly empty and empty.
func TestVersions(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var all []*retainedMessage // in order
	for i := range 3000 {
		all = append(all, &retainedMessage{version: uint64(2 * i), message: new(session.Message)})
	}
	var v versions
	v.fill(slices.Clone(all))
	version := uint64(6000)
	check := func() {
		t.Helper()
		var got []*retainedMessage
		for i, b := range v.blocks {
			if len(b) == 0 || len(b) > versionsBlock || len(v.from) != len(v.blocks) || b[0].version < v.from[i] {
				t.Fatalf("a block of %d", len(b))
			}
			for _, c := range b {
				got = append(got, c.message)
			}
		}
		if !slices.Equal(got, all) {
			t.Fatalf("%d messages or in another order than %d", len(got), len(all))
		}
		if most := 4*len(all)/versionsBlock + 2; len(v.blocks) > most {
			t.Fatalf("%d blocks for %d messages", len(v.blocks), len(all))
		}
		from := rng.Uint64N(version + 2)
		i, _ := slices.BinarySearchFunc(all, from+1, func(r *retainedMessage, version uint64) int { return cmp.Compare(r.version, version) })
		if next := v.after(from); (i == len(all)) != (next == nil) || next != nil && next != all[i] {
			t.Fatalf("after %d comes %v", from, next)
		}
	}
	for round := range 60 {
		for range 200 {
			if round%3 > 0 { // more go than come
				version++
				r := &retainedMessage{version: version, message: new(session.Message)}
				v.add(r)
				all = append(all, r)
			}
			for range 1 + round%2 {
				if len(all) == 0 {
					break
				}
				i := rng.IntN(len(all))
				if round%5 == 0 {
					i = 0
				}
				v.remove(all[i].version)
				v.remove(all[i].version) // it is not there
				all = slices.Delete(all, i, i+1)
			}
		}
		check()
	}
	for len(all) > 0 {
		i := rng.IntN(len(all))
		v.remove(all[i].version)
		all = slices.Delete(all, i, i+1)
	}
	check()
	shuffled := []*retainedMessage{{version: 3}, {version: 1}, {version: 2}}
	v.fill(shuffled)
	all = slices.SortedFunc(slices.Values(shuffled), func(a, b *retainedMessage) int { return cmp.Compare(a.version, b.version) })
	check()
}

// TestRetainedSet compares a set with a map of Topic Names.
func TestRetainedSet(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	set := newRetainedSet()
	model := make(map[string]*retainedMessage)
	last := uint64(0)
	for range 20_000 {
		topic := fmt.Sprintf("%d/%d", rng.IntN(20), rng.IntN(20))
		switch before := model[topic]; rng.IntN(3) {
		case 0:
			if old := set.remove(topic); old != before {
				t.Fatalf("removed %v, expected %v", old, before)
			}
			delete(model, topic)
		default:
			m := &session.Message{Topic: topic, Payload: make([]byte, 1+rng.IntN(100))}
			r, old := set.set(m, []string{"", "ann", "bob"}[rng.IntN(3)])
			if old != before || r.message != m || r.version <= last {
				t.Fatalf("version %d after %d replaces %v, expected %v", r.version, last, old, before)
			}
			model[topic] = r
		}
		last = set.version
	}
	bytes := int64(0)
	shares := make(map[string]retainedShare)
	for topic, r := range model {
		bytes += int64(r.message.Bytes())
		share := shares[r.owner.name()]
		shares[r.owner.name()] = retainedShare{r.owner.name(), share.messages + 1, share.bytes + int64(r.message.Bytes())}
		if set.get(codec.View(topic)) != r || set.byVersion.get(r.version) != r || !set.mayMatch(topic) {
			t.Errorf("%s is not found", topic)
		}
	}
	found, left := set.find("+/7", 0, last, len(model), 1000)
	if want := modelMatches(model, "+/7"); left < 0 || !slices.Equal(found, want) {
		t.Errorf("%d found, %d visits left, expected %d", len(found), left, len(want))
	}
	if found, left := set.find("#", 0, last, 10, 1000); left >= 0 || found != nil {
		t.Errorf("more found than the limit: %d, %d visits left", len(found), left)
	}
	if set.len() != len(model) || set.bytes != bytes || set.mayMatch("9/99") {
		t.Errorf("%d messages of %d bytes, expected %d of %d", set.len(), set.bytes, len(model), bytes)
	}
	if set.fits(codec.View("new"), 1, set.len(), bytes+1) || set.fits(codec.View("new"), 2, set.len()+1, bytes+1) || !set.fits(codec.View("new"), 1, set.len()+1, bytes+1) {
		t.Error("the limits of a message for a new topic are wrong")
	}
	restored := newRetainedSet()
	checkShares(t, &set, shares)
	fresh := make(retainedShares)
	for _, r := range model {
		r.owner = fresh.of(r.owner.name()) // as they are loaded
	}
	restored.restore(modelMatches(model, "#"), fresh)
	checkShares(t, &restored, shares)
	if restored.len() != set.len() || restored.bytes != bytes || restored.version > last {
		t.Errorf("restored %d messages of %d bytes up to version %d", restored.len(), restored.bytes, restored.version)
	}
}

// checkShares compares what each user has with what it should have.
func checkShares(t *testing.T, set *retainedSet, want map[string]retainedShare) {
	t.Helper()
	delete(want, "") // nobody's
	if len(set.shares) != len(want) {
		t.Errorf("%d users have something, expected %d", len(set.shares), len(want))
	}
	for user, share := range set.shares {
		if *share != want[user] {
			t.Errorf("%q has %+v, expected %+v", user, *share, want[user])
		}
	}
}

// modelMatches returns the messages that filter matches, oldest first.
func modelMatches(model map[string]*retainedMessage, filter string) (found []*retainedMessage) {
	for topic, r := range model {
		if topics.MatchString(filter, topic) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, compareVersions)
	return found
}
