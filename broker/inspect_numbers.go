package broker

import (
	"context"
	"time"

	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/broker/lock"
	"github.com/x0a1b/promptmq/broker/memory"
	"github.com/x0a1b/promptmq/metrics"
)

const (
	// historyEvery is the time between two samples of the Numbers, historyMax how many are
	// kept, and quantileOver over how many of them the quantiles are.
	historyEvery = time.Second
	historyMax   = 600
	quantileOver = 60

	recentlyCounted = 10 * time.Second
)

// A history is the last samples of the Numbers.
type history struct {
	began time.Time // of the broker; static after Start

	mu      lock.Mutex[lock.Leaf] // guards the following
	samples []inspect.Numbers     // a ring, when it is full
	next    int                   // where the next sample goes
	times   [quantileOver]times   // a ring
	turn    int                   // where the next times go
}

// times are what the histograms had counted at a time.
type times struct{ commits, processing metrics.Observed }

// Record takes a sample of the Numbers once a second until ctx ends. It is called once.
func (b *Broker) Record(ctx context.Context) {
	ticks := time.NewTicker(historyEvery)
	defer ticks.Stop()
	for {
		b.recordOnce()
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

func (b *Broker) recordOnce() {
	defer b.recoverPanic("recording numbers")
	n := b.Numbers()
	seen := times{b.m.CommitSeconds.Observed(), b.m.ProcessingSeconds.Observed()}
	h := &b.history
	h.mu.Lock()
	defer h.mu.Unlock()
	h.times[h.turn] = seen
	h.turn = (h.turn + 1) % len(h.times)
	if len(h.samples) < historyMax {
		h.samples = append(h.samples, n)
		return
	}
	h.samples[h.next] = n
	h.next = (h.next + 1) % historyMax
}

// NumbersHistory returns the Numbers of the last ten minutes, one sample for each second,
// oldest first. None: nobody has called Record.
func (b *Broker) NumbersHistory() []inspect.Numbers {
	h := &b.history
	h.mu.Lock()
	defer h.mu.Unlock()
	return append(append(make([]inspect.Numbers, 0, len(h.samples)), h.samples[h.next:]...), h.samples[:h.next]...)
}

// lastMinute is what the histograms had counted a minute ago, or at the start.
func (h *history) lastMinute() times {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.times[h.turn]
}

// Numbers returns the counters and levels of now.
func (b *Broker) Numbers() inspect.Numbers {
	m, now, queues := b.m, b.clock.Now(), b.recentCensus()
	n := inspect.Numbers{
		At: now.UTC(), UptimeSeconds: inspect.Since(b.history.began, now), Version: b.o.Version,
		Connections: int(m.ConnectionsCurrent.Get()), ConnectionsTotal: m.ConnectionsTotal.Get(),
		Sessions: int(b.sessions.Load()), SessionsConnected: int(b.connectedClients.Load()),
		Queued:  queues.queued,
		BytesIn: m.BytesReceived.Get(), BytesOut: m.BytesSent.Get(),
		Refused: m.RefusedByReason(), MessagesRefused: m.MessagesRefusedByReason(), FiltersRefused: m.SubscriptionsRefusedByReason(), Dropped: make(map[string]uint64, metrics.NumDropReasons),
		Commits: m.Commits.Get(), Panics: m.Panics.Get(),
		MemoryNeeded: b.overload.current().Needed, MemoryLimit: b.o.Limits.Memory,
		Overload: memory.Level(b.overload.level.Load()).String(),
	}
	func() {
		b.router.mu.RLock()
		defer b.router.mu.RUnlock()
		n.Subscriptions = b.router.subs
	}()
	n.Retained, n.RetainedBytes = b.retained.figures()
	for qos := range n.MessagesIn {
		n.MessagesIn[qos], n.MessagesOut[qos] = m.MessagesReceived[qos].Get(), m.MessagesSent[qos].Get()
		n.MessageBytesIn += m.MessageBytesReceived[qos].Get()
		n.MessageBytesOut += m.MessageBytesSent[qos].Get()
	}
	for r := range metrics.NumDropReasons {
		n.Dropped[r.String()] = m.Dropped[r].Get()
	}
	b.fillTimes(&n)
	b.fillLimits(&n, queues)
	if b.o.StoreSizes != nil {
		n.DatabaseBytes, n.WALBytes, n.DiskFreeBytes = b.o.StoreSizes()
		n.DiskFreeBytes = max(0, n.DiskFreeBytes)
	}
	if err := b.Ready(); err != nil {
		n.NotReady = err.Error()
	} else {
		n.Ready = true
	}
	return n
}

// recentCensus is a census that need not be of now if there are many Clients: it is asked for
// each second.
func (b *Broker) recentCensus() *census {
	if last := b.censuses.last.Load(); last != nil && b.sessions.Load() >= censusClients && b.clock.Now().Sub(last.at) < recentlyCounted {
		return last
	}
	return b.census()
}

// fillTimes fills in how long commits and packets took.
func (b *Broker) fillTimes(n *inspect.Numbers) {
	before := b.history.lastMinute()
	commits, processing := b.m.CommitSeconds.Observed(), b.m.ProcessingSeconds.Observed()
	n.CommitSeconds = commits.Sum
	n.CommitP99 = b.m.CommitSeconds.Quantile(0.99, before.commits, commits)
	n.Processing = b.m.ProcessingSeconds.Quantile(0.99, before.processing, processing)
}
