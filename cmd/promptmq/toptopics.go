package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/terminal"
)

const (
	// sampledMax is how many messages of each look are sampled, so that a busy broker pays no more
	// for it than one that is not.
	sampledMax = 1000
	// faded is how much of what was sampled before counts beside what is new.
	faded = 0.6
	// topicsMax is how many topics are kept from one look to the next.
	topicsMax = 1000
)

// A topicSample is how much of what was published in a while had which topic.
type topicSample struct {
	messages, bytes map[string]float64
	refused         string // why there is none; "": there is
}

// errSampled ends a trace that has enough.
var errSampled = errors.New("sampled")

// sampleTopics traces what is published until there is enough of it, or the time is over.
func (t *top) sampleTopics(ctx context.Context) *topicSample {
	s := &topicSample{messages: make(map[string]float64), bytes: make(map[string]float64)}
	ctx, cancel := context.WithTimeout(ctx, t.command.Every)
	defer cancel()
	n := 0
	q := query("topic", "#", "kind", "publish", "seconds", fmt.Sprint(min(int(t.command.Every/time.Second)+1, traceSecondsMax)))
	err := admin.Events(ctx, t.a.Client, "/trace?"+q.Encode(), func(name string, data []byte) error {
		e := new(inspect.Event)
		if name == admin.EndEvent || json.Unmarshal(data, e) != nil || e.Kind != "publish" {
			return nil
		}
		s.messages[e.Topic]++
		s.bytes[e.Topic] += float64(e.Bytes)
		if n++; n == sampledMax {
			return errSampled
		}
		return nil
	})
	if err != nil && !errors.Is(err, errSampled) && ctx.Err() == nil {
		s.refused = err.Error()
	}
	<-ctx.Done() // one sample for each look
	return s
}

// sample sends one sample after the other until ctx ends.
func (t *top) sample(ctx context.Context) <-chan *topicSample {
	samples := make(chan *topicSample)
	go func() {
		for ctx.Err() == nil {
			s := t.sampleTopics(ctx)
			select {
			case samples <- s:
			case <-ctx.Done():
			}
		}
	}()
	return samples
}

// A topicRow is a topic, and what part of all messages and sampled bytes it has.
type topicRow struct {
	topic           string
	messages, bytes float64
}

// showTopics takes over what was sampled; what was before fades.
func (v *topView) showTopics(s *topicSample) {
	if v.paused {
		return
	}
	v.topicsRefused = s.refused
	was := v.topics
	v.topics = nil
	for _, r := range was {
		r.messages, r.bytes = r.messages*faded+s.messages[r.topic], r.bytes*faded+s.bytes[r.topic]
		delete(s.messages, r.topic)
		if r.messages > 0.05 {
			v.topics = append(v.topics, r)
		}
	}
	for topic, n := range s.messages {
		v.topics = append(v.topics, topicRow{topic, n, s.bytes[topic]})
	}
	slices.SortFunc(v.topics, func(a, b topicRow) int {
		if a.messages != b.messages {
			if a.messages > b.messages {
				return -1
			}
			return 1
		}
		return strings.Compare(a.topic, b.topic)
	})
	v.topics = v.topics[:min(len(v.topics), topicsMax)]
}

// topicTable has the first topics, in as many lines as it has at most.
func (v *topView) topicTable(lines, columns int) []string {
	if v.topicsRefused != "" {
		return []string{"TOPIC  not known: " + terminal.Escape(v.topicsRefused)}[:min(lines, 1)]
	}
	var all float64
	for _, r := range v.topics {
		all += r.messages
	}
	t := terminal.Table{Columns: []terminal.Column{{Title: "TOPIC", Least: 12}, {Title: "PUBLISHED/s", Right: true}, {Title: "SHARE", Right: true}, {Title: "MEAN SIZE", Right: true}}}
	for _, r := range v.topics[:min(len(v.topics), max(0, lines-1))] {
		part := r.messages / all
		t.Add(r.topic, v.rateText(part*v.in), fmt.Sprintf("%.0f %%", 100*part), inspect.BytesText(int64(r.bytes/r.messages)))
	}
	rows := t.Lines(columns)
	return rows[:min(lines, len(rows))]
}
