package broker

import "fmt"

func (b *Broker) registerGauges() {
	locked := func(f func(*router) int64) func() float64 {
		return func() float64 {
			b.router.mu.RLock()
			defer b.router.mu.RUnlock()
			return float64(f(b.router))
		}
	}
	b.m.Gauge("promptmq_sessions", func() float64 { return float64(b.sessions.Load()) })
	b.m.Gauge("promptmq_connections_lingering", func() float64 { return float64(b.network.Lingering()) })
	b.m.Gauge("promptmq_sessions_connected", func() float64 { return float64(b.connectedClients.Load()) })
	b.m.Gauge("promptmq_subscriptions", locked(func(r *router) int64 { return int64(r.subs) }))
	b.m.Gauge("promptmq_shared_subscriptions", locked(func(r *router) int64 { return int64(r.shared) }))
	b.m.Gauge("promptmq_retained_messages", func() float64 { n, _ := b.retained.figures(); return float64(n) })
	b.m.Gauge("promptmq_retained_bytes", func() float64 { _, bytes := b.retained.figures(); return float64(bytes) })
	b.registerCensus()
	b.m.Gauge("promptmq_store_open_entries", func() float64 { return float64(b.commits.OpenEntries()) })
	b.m.Gauge("promptmq_expiries_pending", func() float64 { return float64(b.timers.len()) })
	b.m.Gauge("promptmq_store_commit_waiting_seconds", func() float64 { return b.commits.Waiting().Seconds() })
	b.registerMemoryGauges()
	b.m.Gauge("promptmq_store_full", func() float64 {
		if b.commits.Full() {
			return 1
		}
		return 0
	})
}

// registerMemoryGauges registers who has the memory.
func (b *Broker) registerMemoryGauges() {
	b.m.Gauge("promptmq_overload_state", func() float64 { return float64(b.overload.level.Load()) })
	b.m.Gauge("promptmq_memory_limit_bytes", func() float64 { return float64(b.o.Limits.Memory) })
	for kind, bytes := range map[string]func() int64{
		"needed":        func() int64 { return b.overload.current().Needed },
		"in_use":        func() int64 { return b.overload.current().InUse },
		"total":         func() int64 { return b.overload.current().Total },
		"retained":      b.retained.memory,
		"subscriptions": b.router.filtersMemory,
		"sessions":      b.sessionsMemory,
		"partial":       b.partialBytes.Load,
		"connections":   func() int64 { return int64(b.m.ConnectionsCurrent.Get()) * connBytesEach },
		"open_commit":   func() int64 { return b.commits.OpenEntries() * entryBytesEach },
	} {
		b.m.Gauge(fmt.Sprintf("promptmq_memory_bytes{kind=%q}", kind), func() float64 { return float64(bytes()) })
	}
}

// connBytesEach is about what a Network Connection takes with its goroutine and nothing under
// way, entryBytesEach what an entry of the open commit group takes; in bytes.
const connBytesEach, entryBytesEach = 4096, 128
