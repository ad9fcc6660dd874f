package broker

import (
	"flag"
	"math/rand/v2"
	"testing"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

var shareSeed = flag.Uint64("share.seed", 0, "run TestSharePick with this seed")

// shareMember makes a Client that is a member of sh, by what pick looks at.
func shareMember(sh *share, id session.ID, qos codec.QoS, connected, durable, full bool) *Client {
	cl := &Client{order: uint64(id)}
	cl.hints.setConnected(connected)
	cl.hints.setDurable(durable)
	if full {
		cl.hints.setFull(session.ByMessages)
	}
	sh.set(cl, binding{sub: &session.Subscription{Filter: sh.filter, QoS: qos}, sess: id})
	return cl
}

func TestShareRanks(t *testing.T) {
	for _, test := range []struct {
		name                     string
		connected, durable, full bool
		granted, published       codec.QoS
		want                     int
	}{
		{"connected", true, false, false, 1, 1, rankReady},
		{"connected, QoS 0", true, true, false, 0, 2, rankReady},
		{"connected and full", true, true, true, 1, 1, rankFull},
		{"connected and full, but nothing is queued", true, true, true, 1, 0, rankReady},
		{"connected and full, but nothing is queued for it", true, true, true, 0, 1, rankReady},
		{"absent", false, true, false, 1, 2, rankAbsent},
		{"absent, QoS 0", false, true, false, 1, 0, rankNone},
		{"absent and granted QoS 0", false, true, false, 0, 1, rankNone},
		{"absent and full", false, true, true, 2, 2, rankFull},
		{"absent and not durable", false, false, false, 1, 1, rankNone},
	} {
		sh := &share{filter: "$share/g/t"}
		shareMember(sh, 1, test.granted, test.connected, test.durable, test.full)
		if got := sh.members[0].rank(test.published); got != test.want {
			t.Errorf("%s: rank %d, expected %d", test.name, got, test.want)
		}
	}
}

// TestSharePick: the member that is picked is one of the best, never the one that is
// left out, and equal ones have their turns.
func TestSharePick(t *testing.T) {
	seed := *shareSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-share.seed=%d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	coin := func() bool { return r.IntN(2) == 0 }
	for range 2000 {
		sh := &share{filter: "$share/g/t"}
		var clients []*Client
		for i := range r.IntN(6) {
			clients = append(clients, shareMember(sh, session.ID(i), codec.QoS(r.IntN(3)), coin(), coin(), coin()))
		}
		var not *Client
		if len(clients) > 0 && coin() {
			not = clients[r.IntN(len(clients))]
		}
		qos, best := codec.QoS(r.IntN(3)), rankNone
		for i := range sh.members {
			if m := &sh.members[i]; m.client != not {
				best = max(best, m.rank(qos))
			}
		}
		equal := make(map[*Client]int)
		for i := range sh.members {
			if m := &sh.members[i]; m.client != not && m.rank(qos) == best {
				equal[m.client] = 0
			}
		}
		for range 3 * len(sh.members) {
			got, ok := sh.pick(qos, not, nil)
			if ok != (best > rankNone) {
				t.Fatalf("picked: %v, the best rank is %d", ok, best)
			}
			if !ok {
				break
			}
			if _, is := equal[got.client]; !is || got.share != sh.filter || got.sess != session.ID(got.client.order) {
				t.Fatalf("picked client %d, which is none of the best", got.client.order)
			}
			equal[got.client]++
		}
		for cl, n := range equal {
			if best == rankReady && n < 3*len(sh.members)/len(equal) {
				t.Fatalf("client %d of %d equal ones had %d of %d turns", cl.order, len(equal), n, 3*len(sh.members))
			}
		}
	}
}

// TestShareMembers: who leaves is not picked, another incarnation of its Session
// stays, and the one that a message is taken from gets it back only if it is alone.
func TestShareMembers(t *testing.T) {
	r := newRouter()
	const filter = "$share/g/t"
	join := func(id session.ID) *Client {
		cl := &Client{order: uint64(id)}
		cl.self.client = cl
		cl.hints.setConnected(true)
		r.subscribeLocked(cl, binding{sub: &session.Subscription{Filter: filter, QoS: 1}, sess: id})
		return cl
	}
	one, two := join(1), join(2)
	for range 4 {
		if got, ok := r.pickLocked(filter, 1, one, nil); !ok || got.client != two {
			t.Fatal("a message goes back to the member that it is taken from")
		}
	}
	r.unsubscribeLocked(two, 1, filter) // not its Session
	if len(r.shares[filter].members) != 2 {
		t.Fatal("a member was removed for another Session")
	}
	r.unsubscribeLocked(two, 2, filter)
	if got, ok := r.pickLocked(filter, 1, one, nil); !ok || got.client != one {
		t.Fatal("the last member does not get what nobody else can take")
	}
	r.unsubscribeLocked(one, 1, filter)
	if _, ok := r.pickLocked(filter, 1, nil, nil); ok || len(r.shares) != 0 || r.subs != 0 {
		t.Fatalf("%d shares and %d subscriptions are left", len(r.shares), r.subs)
	}
}
