package main

import (
	"bufio"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// TestStalledSubscriber: one subscriber of many that takes nothing costs the others little, and
// the broker no more memory than may wait for one. With QoS 1 it gets all of it later.
func TestStalledSubscriber(t *testing.T) {
	subscribers, messages, rounds := 20, 500, 1
	if *long {
		subscribers, messages, rounds = 100, 4000, 3
	}
	const size = 2000
	s := start(t, "server: {write-timeout: 1h}")
	readers := make([]*bufio.Reader, subscribers-1)
	for i := range readers {
		p := v5Of(t, s, fmt.Sprint("sub", i), nil)
		p.subscribeOne("flood", 0)
		readers[i] = bufio.NewReaderSize(p, 64<<10)
	}
	pub := v5Of(t, s, "pub", nil)
	packet, _ := codec.AppendPublish(nil, &codec.Publish{QoS: 1, PacketID: 1, Topic: codec.View("flood"), Payload: make([]byte, size)}, codec.Version5)
	delivered, _ := codec.AppendPublish(nil, &codec.Publish{Topic: codec.View("flood"), Payload: make([]byte, size)}, codec.Version5)
	// flood publishes all messages, one after the other, and returns how long the readers took
	// to have them.
	flood := func() time.Duration {
		began := time.Now()
		var all sync.WaitGroup
		for _, r := range readers {
			all.Go(func() {
				if _, err := io.CopyN(io.Discard, r, int64(messages*len(delivered))); err != nil {
					t.Error(err)
				}
			})
		}
		for range messages {
			pub.send(packet, nil)
			pub.ack(codec.TypePuback)
		}
		all.Wait()
		return time.Since(began)
	}
	flood()
	before := s.metric("promptmq_system_memory_usage")
	var with, without time.Duration
	for round := range rounds {
		took := flood()
		stalled := v5Of(t, s, fmt.Sprint("stalled", round), nil)
		stalled.subscribeOne("flood", 0)
		tookWith := flood()
		_ = stalled.Close()
		if round == 0 || took < without {
			without = took
		}
		if round == 0 || tookWith < with {
			with = tookWith
		}
	}
	grown := s.metric("promptmq_system_memory_usage") - before
	figure(t, "%d of %d subscribers had %d messages in %v, with one that takes nothing in %v (%+.1f %%); %.1f MB more, %.0f dropped",
		subscribers-1, subscribers, messages, without.Round(time.Millisecond), with.Round(time.Millisecond), 100*(with.Seconds()/without.Seconds()-1), grown/1e6,
		s.metric(`promptmq_messages_dropped_total{reason="slow_consumer"}`))
	if grown > 32<<20 {
		t.Errorf("%.0f bytes more", grown)
	}
	if *long && with.Seconds() > 1.05*without.Seconds() {
		t.Error("the others lose more than 5 %")
	}
}
