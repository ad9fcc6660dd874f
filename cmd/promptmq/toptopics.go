package main

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
)

// topicsMax bounds how many topics are counted between two looks.
const topicsMax = 10_000

// traceSeconds is how long one trace lasts: the most that the API has.
const traceSeconds = "600"

// A topicCount is what was published on a topic.
type topicCount struct {
	topic    string
	messages int
	bytes    int64
}

// topicCounts count what a trace of all topics says.
type topicCounts struct {
	mu     sync.Mutex // guards the following
	counts map[string]*topicCount
	part   bool // some messages were not seen, or not counted
}

// traceTopics begins to count, until ctx ends.
func (t *top) traceTopics(ctx context.Context) {
	t.topics = &topicCounts{counts: make(map[string]*topicCount)}
	go func() {
		for ctx.Err() == nil {
			// It ends by itself after a while, and without the right to trace at once.
			err := admin.Events(ctx, t.a.Client, "/trace?"+query("topic", "#", "seconds", traceSeconds).Encode(), t.topics.add)
			if err != nil {
				select {
				case <-ctx.Done():
				case <-time.After(time.Second):
				}
			}
		}
	}()
}

// add counts an event.
func (c *topicCounts) add(name string, data []byte) error {
	if name == admin.EndEvent {
		return nil
	}
	e := new(inspect.Event)
	if err := json.Unmarshal(data, e); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.Kind == "lost" {
		c.part = true
	}
	if e.Kind != "publish" {
		return nil
	}
	t := c.counts[e.Topic]
	switch {
	case t == nil && len(c.counts) >= topicsMax:
		c.part = true
		return nil
	case t == nil:
		t = &topicCount{topic: e.Topic}
		c.counts[e.Topic] = t
	}
	t.messages++
	t.bytes += int64(e.Bytes)
	return nil
}

// take returns what was counted since it was called last, the most first, and whether that is
// only a part.
func (c *topicCounts) take() (counts []topicCount, part bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.counts {
		counts = append(counts, *t)
	}
	slices.SortFunc(counts, func(a, b topicCount) int {
		return cmp.Or(cmp.Compare(b.messages, a.messages), cmp.Compare(b.bytes, a.bytes), cmp.Compare(a.topic, b.topic))
	})
	part = c.part
	clear(c.counts)
	c.part = false
	return counts, part
}
