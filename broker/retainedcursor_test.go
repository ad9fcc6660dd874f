package broker_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// TestManyRetained has subscribers join who are owed more retained messages than
// are listed at once, while these are replaced and removed: each topic's value
// must never go back, and the last must be the one that is retained at the end.
func TestManyRetained(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	f := newFixture(t)
	const topics = 5000
	values := make([]int, topics) // 0: not retained
	publisher := f.connect("publisher")
	next := 1
	retain := func(i int, remove bool) {
		payload := strconv.Itoa(next)
		if values[i] = next; remove {
			payload, values[i] = "", 0
		}
		next++
		publisher.write(codec.AppendPublish(nil, &codec.Publish{Retain: true,
			Topic: codec.View(fmt.Sprintf("many/%d/x", i)), Payload: codec.View(payload)}, codec.Version5))
	}
	for i := range topics {
		retain(i, false)
	}
	publisher.quiet()
	for round, filter := range []string{"many/#", "many/+/x", "#"} {
		s := f.connect(fmt.Sprint("subscriber", round))
		s.subscribe(1, filter, codec.QoS(round%2))
		done := make(chan error, 1)
		go func() { done <- s.collect(values) }()
		for range 1500 {
			retain(rng.IntN(topics), rng.IntN(4) == 0)
		}
		publisher.publish(0, 0, "many/end/x", "end") // from here on values does not change
		if err := <-done; err != nil {
			t.Fatalf("%s: %v", filter, err)
		}
		s.quiet()
		_ = s.Close()
	}
}

// collect takes messages until each topic's last value is that of values, which
// must hold still once the message "end" is on its way.
func (p *peer) collect(values []int) error {
	got := make([]int, len(values))
	wrong := -1 // how many differ; -1: not yet counted
	for wrong != 0 {
		f, err := p.next()
		if err != nil {
			return fmt.Errorf("%d topics are not as retained: %w", wrong, err)
		}
		if f.Type() == codec.TypeSuback {
			continue
		}
		var m codec.Publish
		if err := m.Decode(f, codec.Version5); err != nil {
			return err
		}
		if m.QoS > 0 {
			b, _ := codec.AppendAck(nil, &codec.Ack{Type: codec.TypePuback, PacketID: m.PacketID}, codec.Version5)
			if _, err := p.Write(b); err != nil {
				return err
			}
		}
		if string(m.Payload) == "end" {
			wrong = 0
			for i := range values {
				wrong += differ(got[i], values[i])
			}
			continue
		}
		var i int
		if _, err := fmt.Sscanf(string(m.Topic), "many/%d/x", &i); err != nil {
			return err
		}
		value, _ := strconv.Atoi(string(m.Payload)) // 0: removed
		if value > 0 && value <= got[i] {
			return fmt.Errorf("%s goes from %d to %d", m.Topic, got[i], value)
		}
		if wrong >= 0 {
			wrong += differ(value, values[i]) - differ(got[i], values[i])
		}
		got[i] = value
	}
	return nil
}

func differ(a, b int) int {
	if a == b {
		return 0
	}
	return 1
}
