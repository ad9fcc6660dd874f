package main

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

const (
	droppedNewest = `promptmq_messages_dropped_total{reason="queue_full_newest"}`
	droppedOldest = `promptmq_messages_dropped_total{reason="queue_full_oldest"}`
)

// publishRange publishes the numbers from <= i < to at QoS 1, padded to bytes,
// and expects each to be acknowledged with success.
func publishRange(p *raw, topic string, from, to, bytes int) {
	p.t.Helper()
	const window = 50
	for ; from < to; from += window {
		n := min(window, to-from)
		var batch []byte
		for i := range n {
			payload := fmt.Sprintf("%-*d", bytes, from+i)
			batch, _ = codec.AppendPublish(batch, &codec.Publish{QoS: 1, PacketID: uint16(1 + i), Topic: codec.View(topic), Payload: codec.View(payload)}, p.v)
		}
		p.send(batch, nil)
		for range n {
			if r := p.ack(codec.TypePuback).Reason; r >= 0x80 {
				p.t.Fatalf("one of the messages from %d on: %v", from, r)
			}
		}
	}
}

// takeNumber receives a message of publishRange and acknowledges it.
func (p *raw) takeNumber() (n int, dup bool) {
	p.t.Helper()
	m := p.receive()
	n, err := strconv.Atoi(strings.TrimSpace(m.Payload.String()))
	if err != nil {
		p.t.Fatal(err)
	}
	p.sendAck(codec.TypePuback, m.PacketID)
	return n, m.Dup
}

// expectRange takes the numbers from <= i < to, in order, and nothing else.
func (p *raw) expectRange(from, to int) {
	p.t.Helper()
	for i := from; i < to; i++ {
		if n, _ := p.takeNumber(); n != i {
			p.t.Fatalf("message %d in the place of %d", n, i)
		}
	}
	p.quiet()
}

// absent leaves a session behind that is subscribed to the topic.
func absent(t *testing.T, s *server, id, topic string) {
	t.Helper()
	p := v5Of(t, s, id, lasting)
	p.subscribeOne(topic, 1)
	p.send(codec.AppendDisconnect(nil, &codec.Disconnect{}, p.v))
	p.closed(codec.Success)
}

// testQueuePolicy fills the queue of an absent session, in a server of each
// policy, beside one that takes everything.
func testQueuePolicy(t *testing.T, _ *server) {
	for _, c := range []struct {
		yaml           string
		first, last    int // what the full session gets
		newest, oldest float64
	}{
		{"queue-policy: drop-newest, max-queued-messages: 4", 0, 4, 6, 0},
		{"queue-policy: drop-oldest, max-queued-messages: 4", 6, 10, 0, 6},
		// Full is the queue that has reached 2000 bytes: with its third message.
		{"queue-policy: drop-newest, max-queued-bytes: 2000", 0, 3, 7, 0},
		{"queue-policy: drop-oldest, max-queued-bytes: 2000", 7, 10, 0, 7},
	} {
		t.Run(c.yaml, func(t *testing.T) {
			s := start(t, "mqtt: {"+c.yaml+"}")
			absent(t, s, "full", "t")
			other := v5Of(t, s, "other", nil)
			other.subscribeOne("t", 1)
			pub := v5Of(t, s, "pub", nil)
			for i := range 10 {
				publishRange(pub, "t", i, i+1, 800)
				other.expectRange(i, i+1)
			}
			if n, o := s.metric(droppedNewest), s.metric(droppedOldest); n != c.newest || o != c.oldest {
				t.Errorf("%v counted as the newest and %v as the oldest", n, o)
			}
			if n := s.metric("promptmq_queued_messages"); n != float64(c.last-c.first) {
				t.Errorf("%v in the queue", n)
			}
			s.kill()
			s.restart()
			v5Of(t, s, "full", resumed).expectRange(c.first, c.last)
		})
	}
	t.Run("reject", func(t *testing.T) {
		fillQueue(t, start(t, "mqtt: {queue-policy: reject, max-queued-messages: 3}"), "x", 3)
	})
}
