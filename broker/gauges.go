package broker

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
	b.m.Gauge("promptmq_retained_messages", locked(func(r *router) int64 { return int64(r.retained.len()) }))
	b.m.Gauge("promptmq_retained_bytes", locked(func(r *router) int64 { return r.retained.bytes }))
	b.m.Gauge("promptmq_queued_messages", b.queuedMessages)
	b.m.Gauge("promptmq_sessions_queue_full", b.fullQueues)
	b.m.Gauge("promptmq_store_open_entries", func() float64 { return float64(b.commits.OpenEntries()) })
	b.m.Gauge("promptmq_expiries_pending", func() float64 { return float64(b.timers.len()) })
	b.m.Gauge("promptmq_store_commit_waiting_seconds", func() float64 { return b.commits.Waiting().Seconds() })
	b.m.Gauge("promptmq_store_full", func() float64 {
		if b.commits.Full() {
			return 1
		}
		return 0
	})
}

// queuedMessages is the number of messages in all queues.
func (b *Broker) queuedMessages() float64 {
	n := 0
	for _, cl := range b.registry.all() {
		n += cl.queueLen()
	}
	return float64(n)
}
