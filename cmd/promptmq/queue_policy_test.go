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

// testQueuePolicy fills the queue of an absent session, in a server of each policy.
// Package broker has all that the policies do.
func testQueuePolicy(t *testing.T, _ *server) {
	for policy, c := range map[string]struct {
		first, last int // what the session gets
		dropped     string
	}{
		"drop-newest": {0, 4, droppedNewest},
		"drop-oldest": {6, 10, droppedOldest},
	} {
		t.Run(policy, func(t *testing.T) {
			s := start(t, "mqtt: {queue-policy: "+policy+", max-queued-messages: 4}")
			absent(t, s, "full", "t")
			publishRange(v5Of(t, s, "pub", nil), "t", 0, 10, 800)
			eventually(t, "the others are dropped", func() bool { return s.metric(c.dropped) == 6 })
			v5Of(t, s, "full", resumed).expectRange(c.first, c.last)
		})
	}
	t.Run("reject", func(t *testing.T) {
		fillQueue(t, start(t, "mqtt: {queue-policy: reject, max-queued-messages: 3}"), "x", 3)
	})
}
