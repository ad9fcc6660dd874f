package broker

import "github.com/x0a1b/promptmq/broker/inspect"

// fillLimits fills in how much there may be, and where that is reached.
func (b *Broker) fillLimits(n *inspect.Numbers, queues *census) {
	n.StoreFull, n.CommitWaiting = b.commits.Full(), inspect.Seconds(b.commits.Waiting().Seconds())
	n.QueuesFull, n.LogLinesLost = queues.fullQueues, b.m.LogLinesDropped.Get()
	n.Limits = inspect.Limits{
		Connections: b.o.MaxConnections, Sessions: b.o.MaxSessions, Retained: b.o.MaxRetainedMessages, RetainedBytes: b.o.MaxRetainedBytes,
		Queued: b.o.MaxQueuedMessages, QueuedBytes: b.o.MaxQueuedBytes,
	}
}
