package broker_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/topics"
)

// TestRouteCacheFollowsSubscriptions has one publisher stay with a few Topic
// Names, so that it works from what it remembers, while subscriptions come, go
// and change their QoS; each message must go where the filters of that moment
// say.
func TestRouteCacheFollowsSubscriptions(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	f := newFixture(t)
	const subscribers = 3
	filters := []string{"a/x", "a/y", "b/x", "a/+", "+/x", "a/#", "#"}
	var peers []*peer
	var has [subscribers]map[string]codec.QoS
	for i := range subscribers {
		peers = append(peers, f.connect(fmt.Sprint("subscriber", i)))
		has[i] = map[string]codec.QoS{}
	}
	publisher := f.connect("publisher")
	for step := range 1500 {
		if n := rng.IntN(4 * subscribers); n < subscribers {
			filter, p := filters[rng.IntN(len(filters))], peers[n]
			if _, ok := has[n][filter]; ok && rng.IntN(2) == 0 {
				p.write(codec.AppendUnsubscribe(nil, &codec.Unsubscribe{PacketID: 1}, []codec.View{codec.View(filter)}, codec.Version5))
				p.expect(codec.TypeUnsuback)
				delete(has[n], filter)
			} else {
				qos := codec.QoS(rng.IntN(2))
				p.subscribe(1, filter, qos)
				p.expect(codec.TypeSuback)
				has[n][filter] = qos
			}
			continue
		}
		name, payload := []string{"a/x", "a/y", "b/x"}[rng.IntN(3)], fmt.Sprint(step)
		publisher.publish(1, 1, name, payload)
		for i, p := range peers {
			matched, qos := false, codec.QoS(0)
			for filter, granted := range has[i] {
				if topics.MatchString(filter, name) {
					matched, qos = true, max(qos, granted)
				}
			}
			if !matched {
				p.quiet()
				continue
			}
			var m codec.Publish
			if err := m.Decode(p.expect(codec.TypePublish), codec.Version5); err != nil {
				t.Fatal(err)
			}
			if string(m.Payload) != payload || m.QoS != qos {
				t.Fatalf("step %d: subscriber %d got %q with QoS %d, expected %q with QoS %d", step, i, m.Payload, m.QoS, payload, qos)
			}
			if qos > 0 {
				p.ack(codec.TypePuback, m.PacketID)
			}
		}
		publisher.expect(codec.TypePuback)
	}
}
