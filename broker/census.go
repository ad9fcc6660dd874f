package broker

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/x0a1b/promptmq/metrics"
	"github.com/x0a1b/promptmq/session"
)

// A census is what one walk through all Clients and connections counts. Each is locked for a
// moment, one after the other, so that a census is of no one moment.
type census struct {
	at                           time.Time
	queued, queuedMost           int
	queuedBytes, queuedBytesMost int64
	fullQueues                   int
	oldest                       time.Time // message in a queue; zero: there is none that is known
	inFlight, receiving          int       // QoS 1 and 2 messages to Clients, QoS 2 messages from them
	windowBytes, outboxBytes     int64     // of messages in windows, and of what waits to be written
	queueLengths, queueAges      *metrics.Distribution
}

// censuses hands out the last census.
type censuses struct {
	last atomic.Pointer[census]
	// taking is held by who takes one. It is taken with no other lock held.
	taking sync.Mutex
}

const (
	// From censusClients Clients on, a census is not taken more often than once in censusEvery:
	// it takes some tens of nanoseconds for each, and the cache of the processor.
	censusClients = 10_000
	censusEvery   = 2 * time.Second
)

var (
	queueLengthBounds = []float64{0, 1, 10, 100, 1000, 10_000, 100_000}
	queueAgeBounds    = []float64{1, 10, 60, 600, 3600, 6 * 3600, 86400, 7 * 86400}
)

// census returns what a walk counts, or counted lately if there are many Clients. No lock may be
// held.
func (b *Broker) census() *census {
	b.censuses.taking.Lock()
	defer b.censuses.taking.Unlock()
	clients := b.registry.all()
	now := b.clock.Now()
	if last := b.censuses.last.Load(); last != nil && len(clients) >= censusClients && now.Sub(last.at) < censusEvery {
		return last
	}
	n := &census{at: now, queueLengths: metrics.NewDistribution(queueLengthBounds), queueAges: metrics.NewDistribution(queueAgeBounds)}
	fullSince := now.Add(-fullFor).UnixNano()
	for _, cl := range clients {
		n.count(cl, now, fullSince)
	}
	for _, c := range b.connections() {
		waiting, _ := c.out.Waiting()
		n.outboxBytes += int64(waiting)
	}
	b.censuses.last.Store(n)
	return n
}

// count adds one Client.
func (n *census) count(cl *Client, now time.Time, fullSince int64) {
	if cl.hints.full() != session.NoLimit {
		n.fullQueues++
	} else if v, ok := cl.b.shortages.Load(cl); ok && v.(*shortage).mentionedAt.Load() >= fullSince {
		n.fullQueues++
	}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	s := cl.sess
	if s == nil {
		return
	}
	queued, bytes, oldest := s.QueueLen(), s.QueueBytes(), s.OldestQueued()
	n.queued += queued
	n.queuedBytes += bytes
	n.queuedMost, n.queuedBytesMost = max(n.queuedMost, queued), max(n.queuedBytesMost, bytes)
	n.inFlight += s.InFlight()
	n.receiving += s.ReceivingCount()
	n.windowBytes += int64(s.WindowBytes())
	n.queueLengths.Add(float64(queued))
	if oldest.IsZero() {
		return
	}
	n.queueAges.Add(now.Sub(oldest).Seconds())
	if n.oldest.IsZero() || oldest.Before(n.oldest) {
		n.oldest = oldest
	}
}

// oldestAge is how long the message has waited that waits longest.
func (n *census) oldestAge() time.Duration {
	if n.oldest.IsZero() {
		return 0
	}
	return max(0, n.at.Sub(n.oldest))
}

// registerCensus has the metrics show a census of each scrape.
func (b *Broker) registerCensus() {
	b.m.OnScrape(func() { b.census() })
	gauge := func(name string, f func(*census) float64) {
		b.m.Gauge(name, func() float64 { return f(b.censuses.last.Load()) })
	}
	gauge("promptmq_queued_messages", func(n *census) float64 { return float64(n.queued) })
	gauge("promptmq_queued_bytes", func(n *census) float64 { return float64(n.queuedBytes) })
	gauge("promptmq_queue_messages_max", func(n *census) float64 { return float64(n.queuedMost) })
	gauge("promptmq_queue_bytes_max", func(n *census) float64 { return float64(n.queuedBytesMost) })
	gauge("promptmq_queue_oldest_message_seconds", func(n *census) float64 { return n.oldestAge().Seconds() })
	gauge("promptmq_sessions_queue_full", func(n *census) float64 { return float64(n.fullQueues) })
	gauge(`promptmq_inflight_messages{direction="sent"}`, func(n *census) float64 { return float64(n.inFlight) })
	gauge(`promptmq_inflight_messages{direction="received"}`, func(n *census) float64 { return float64(n.receiving) })
	gauge(`promptmq_memory_bytes{kind="queues"}`, func(n *census) float64 { return float64(n.windowBytes) })
	gauge(`promptmq_memory_bytes{kind="outboxes"}`, func(n *census) float64 { return float64(n.outboxBytes) })
	b.m.Distribution("promptmq_queue_messages", func() *metrics.Distribution { return b.censuses.last.Load().queueLengths })
	b.m.Distribution("promptmq_queue_age_seconds", func() *metrics.Distribution { return b.censuses.last.Load().queueAges })
}
