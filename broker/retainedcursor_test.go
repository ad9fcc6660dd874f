package broker_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

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

// collect takes SUBACK and messages until each topic's last value is that of values, which
// must hold still once the message "end" is on its way.
func (p *peer) collect(values []int) error {
	got := make([]int, len(values))
	wrong := -1         // how many differ; -1: not yet counted
	subscribed := false // SUBACK awaits the disk, and may come last
	for wrong != 0 || !subscribed {
		f, err := p.next()
		if err != nil {
			return fmt.Errorf("%d topics are not as retained: %w", wrong, err)
		}
		if f.Type() == codec.TypeSuback {
			subscribed = true
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

// TestReplacedRetained: what waits to be sent to a new subscriber as retained is
// left out when it was replaced meanwhile, for the subscriber got the newer one
// already; also while another SUBSCRIBE comes in between.
func TestReplacedRetained(t *testing.T) {
	f := newFixture(t)
	const topics, inQueue, taken = 600, 127, 57
	pub, sub := f.connect("pub"), f.connect("sub")
	retain := func(payload string, qos codec.QoS) {
		for i := range topics {
			pub.write(codec.AppendPublish(nil, &codec.Publish{Retain: true, QoS: qos, PacketID: 1,
				Topic: codec.View(fmt.Sprintf("many/%d", i)), Payload: codec.View(payload)}, codec.Version5))
			if qos > 0 {
				pub.expect(codec.TypePuback)
			}
		}
	}
	retain("old", 1)
	old, live, acked := 0, 0, 0
	var sent []uint16 // and not acknowledged
	// take reads until so many old and live messages have come, and acknowledges
	// until so many are.
	take := func(wantOld, wantLive, acks int) {
		t.Helper()
		for {
			for ; len(sent) > 0 && acked < acks; acked++ {
				sub.ack(codec.TypePuback, sent[0])
				sent = sent[1:]
			}
			if old >= wantOld && live >= wantLive {
				return
			}
			var m codec.Publish
			frame, err := sub.next()
			if err != nil {
				t.Fatalf("%d old and %d live messages: %v", old, live, err)
			}
			if frame.Type() != codec.TypePublish {
				continue
			}
			if err := m.Decode(frame, codec.Version5); err != nil {
				t.Fatal(err)
			}
			if m.Retain {
				old++
			} else {
				live++
			}
			if m.QoS > 0 {
				sent = append(sent, m.PacketID)
			}
		}
	}
	// With one in front, the queue is full in the middle of a step.
	sub.subscribe(1, "first", 1)
	sub.expect(codec.TypeSuback)
	pub.publish(1, 1, "first", "live")
	pub.expect(codec.TypePuback)
	sub.subscribe(2, "many/#", 1)
	f.awaitQueued(1 + inQueue) // all that is fetched until half of it is acknowledged
	take(taken, 1, taken)
	replaced := make(chan struct{})
	go func() {
		defer close(replaced)
		retain("new", 0)
	}()
	take(taken, 1+topics, taken)
	<-replaced
	sub.subscribe(3, "other", 0)
	take(inQueue, 1+topics, 1+inQueue)
	for range 20 { // what else is sent comes between these
		sub.write(codec.AppendPingreq(nil), nil)
		for {
			frame, err := sub.next()
			if err != nil {
				t.Fatal(err)
			}
			if frame.Type() == codec.TypePingresp {
				break
			}
			if frame.Type() == codec.TypePublish {
				t.Fatalf("%x: a message that was replaced, or the same twice", frame.Body)
			}
		}
	}
}

// awaitQueued waits until so many messages are in the queues of all Clients.
func (f *fixture) awaitQueued(n int) {
	f.t.Helper()
	want := fmt.Sprintf("\npromptmq_queued_messages %d\n", n)
	for deadline := time.Now().Add(patience); ; {
		var out strings.Builder
		if f.m.WritePrometheus(&out); strings.Contains(out.String(), want) {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("never %d messages queued", n)
		}
		runtime.Gosched()
	}
}
