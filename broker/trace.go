package broker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/metrics"
	"github.com/x0a1b/promptmq/topics"
)

const (
	// tracesMax is how many traces there may be at a time, traceRoom how many events of one
	// may wait for who reads it, and tracePayloadMax how much of a payload it has at most.
	tracesMax       = 4
	traceRoom       = 1024
	tracePayloadMax = 4096
)

// traces are those that run. While there are none all that happens costs one look at set.
type traces struct {
	set atomic.Pointer[[]*trace] // nil: none run; what it points to does not change
	mu  sync.Mutex               // who changes set; a leaf
}

// A trace is what one reader is told.
type trace struct {
	filter inspect.TraceFilter
	events chan inspect.Event
	lost   atomic.Int64 // events that were not told because the reader is slow
}

// Trace sends to events what happens to one Client, or to the messages and subscriptions of
// the topics that a filter matches, until ctx ends, which is no error, or the broker stops. If
// both are given both must fit; what has no topic is about the Client. Nothing waits for the
// reader: what it does not take is lost, and an Event of kind "lost" says how much. Four
// traces may run at a time; a fifth fails with *inspect.Refused.
func (b *Broker) Trace(ctx context.Context, filter inspect.TraceFilter, events chan<- inspect.Event) error {
	if filter.Client == "" && filter.Topic == "" {
		return &inspect.Invalid{Field: "client", Why: "a client or a topic must be given"}
	}
	if err := b.checkInspected(filter.Topic, true); err != nil {
		return &inspect.Invalid{Field: "topic", Why: err.(*inspect.Invalid).Why}
	}
	filter.PayloadBytes = min(max(filter.PayloadBytes, 0), tracePayloadMax)
	t := &trace{filter: filter, events: make(chan inspect.Event, traceRoom)}
	if !b.traces.add(t) {
		return &inspect.Refused{Reason: codec.QuotaExceeded.String(), Why: fmt.Sprintf("%d traces are running", tracesMax)}
	}
	defer b.traces.remove(t)
	for {
		var e inspect.Event
		select {
		case e = <-t.events:
		case <-ctx.Done():
			return nil
		case <-b.serving.Done():
			return nil
		}
		for _, e := range append(t.takeLost(b.clock.Now()), e) {
			select {
			case events <- e:
			case <-ctx.Done():
				return nil
			case <-b.serving.Done():
				return nil
			}
		}
	}
}

// takeLost returns the event that says how many were lost, if any were.
func (t *trace) takeLost(now time.Time) []inspect.Event {
	n := t.lost.Swap(0)
	if n == 0 {
		return nil
	}
	return []inspect.Event{{At: now.UTC(), Kind: "lost", Reason: fmt.Sprintf("%d events were not shown: they came faster than they were read", n)}}
}

// add reports false if there are too many.
func (s *traces) add(t *trace) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*trace
	if set := s.set.Load(); set != nil {
		all = *set
	}
	if len(all) >= tracesMax {
		return false
	}
	all = append(slices.Clone(all), t)
	s.set.Store(&all)
	return true
}

func (s *traces) remove(t *trace) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := slices.DeleteFunc(slices.Clone(*s.set.Load()), func(other *trace) bool { return other == t })
	if len(left) == 0 {
		s.set.Store(nil)
	} else {
		s.set.Store(&left)
	}
}

// running reports whether any trace runs.
func (s *traces) running() bool { return s.set.Load() != nil }

// tell tells those that want it of an event, which has the topic and the payload as they came.
// Any lock may be held.
//
//go:noinline
func (s *traces) tell(e inspect.Event, topic string, payload []byte) {
	set := s.set.Load()
	if set == nil {
		return
	}
	e.At, e.Topic = e.At.UTC(), topic
	for _, t := range *set {
		if !t.wants(&e, topic) {
			continue
		}
		if e.Payload = nil; t.filter.PayloadBytes > 0 {
			e.Payload = slices.Clone(payload[:min(len(payload), t.filter.PayloadBytes)])
		}
		select {
		case t.events <- e:
		default:
			t.lost.Add(1)
		}
	}
}

func (t *trace) wants(e *inspect.Event, topic string) bool {
	f := &t.filter
	if f.Kind != "" && f.Kind != e.Kind || f.Client != "" && f.Client != e.Client {
		return false
	}
	if f.Topic == "" {
		return true
	}
	if topic == "" {
		return f.Client != ""
	}
	return f.Topic == topic || topics.MatchString(f.Topic, topic)
}

// tracePublish tells of a PUBLISH of the Client, or that it is refused.
//
//go:noinline
func (c *conn) tracePublish(kind string, p *codec.Publish, reason string) {
	if !c.b.traces.running() {
		return
	}
	c.b.traces.tell(inspect.Event{
		At: c.now, Client: c.clientID(), Kind: kind, QoS: int(p.QoS), Retain: p.Retain, Dup: p.Dup, ID: int(p.PacketID), Bytes: len(p.Payload), Reason: reason,
	}, p.Topic.String(), p.Payload)
}

// traceDecided tells of one copy of a message, and what became of it.
//
//go:noinline
func (cl *Client) traceDecided(d *delivery, o outcome, pend *pending) {
	e := inspect.Event{At: cl.b.clock.Now(), Client: cl.id, Kind: "deliver"}
	var topic string
	var payload []byte
	if s := d.send; s != nil {
		e.QoS, e.Retain, e.Dup, e.ID, e.Bytes = int(s.QoS), s.Retain, s.Dup, int(s.PacketID), len(s.Message.Payload)
		topic, payload = s.Message.Topic, s.Message.Payload
	} else {
		p := d.pub.p
		e.QoS, e.Retain, e.Bytes = int(min(p.QoS, d.to.qos)), p.Retain && d.to.rap, len(p.Payload)
		topic, payload = p.Topic.String(), p.Payload
	}
	switch {
	case o == sent && d.send != nil:
		pend.tracedSend = d.send.Message
	case o == queued && d.send == nil:
		if m := pend.tracedSend; m != nil && m == d.pub.m {
			pend.tracedSend = nil
			return // its Session has sent it at once, and that was told
		}
		e.Reason = "queued"
	case o == passedOn:
		e.Reason = "passed on to another member of the shared subscription"
	case o >= dropped:
		e.Kind, e.Reason = "drop", metrics.DropReason(o-dropped).String()
	}
	cl.b.traces.tell(e, topic, payload)
}

// traceFilters tells of the Topic Filters of a SUBSCRIBE.
//
//go:noinline
func (c *conn) traceFilters(p *codec.Subscribe, reasons []codec.ReasonCode) {
	at := 0
	p.Each(func(s codec.Subscription) bool {
		e := inspect.Event{At: c.now, Client: c.clientID(), Kind: "subscribe", ID: int(p.PacketID), QoS: int(reasons[at]), Reason: reasons[at].String()}
		if reasons[at] >= 0x80 {
			e.Kind, e.QoS = "refuse", int(s.QoS)
		}
		c.b.traces.tell(e, string(s.Filter), nil)
		at++
		return at < len(reasons)
	})
}

// traceUnsubscribed tells of the Topic Filters of an UNSUBSCRIBE.
//
//go:noinline
func (c *conn) traceUnsubscribed(p *codec.Unsubscribe) {
	p.Each(func(filter codec.View) bool {
		c.b.traces.tell(inspect.Event{At: c.now, Client: c.clientID(), Kind: "unsubscribe", ID: int(p.PacketID)}, string(filter), nil)
		return true
	})
}

// traceAck tells of an acknowledgement of the Client.
//
//go:noinline
func (c *conn) traceAck(ack *codec.Ack) {
	reason := ack.Type.String()
	if ack.Reason != codec.Success {
		reason += ": " + ack.Reason.String()
	}
	c.b.traces.tell(inspect.Event{At: c.now, Client: c.clientID(), Kind: "acknowledge", ID: int(ack.PacketID), Reason: reason}, "", nil)
}

// traceClient tells of something about a connection as such.
//
//go:noinline
func (b *Broker) traceClient(kind, client, reason string) {
	b.traces.tell(inspect.Event{At: b.clock.Now(), Client: client, Kind: kind, Reason: reason}, "", nil)
}
