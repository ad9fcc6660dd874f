package metrics

import (
	"strconv"
	"strings"
)

// RefusedByReason returns the counters of Refused.
func (b *Broker) RefusedByReason() map[string]uint64 {
	return b.labelled("promptmq_connections_refused_total{reason=")
}

// MessagesRefusedByReason returns the counters of MessagesRefused.
func (b *Broker) MessagesRefusedByReason() map[string]uint64 {
	return b.labelled("promptmq_messages_refused_total{reason=")
}

// SubscriptionsRefusedByReason returns the counters of SubscriptionsRefused.
func (b *Broker) SubscriptionsRefusedByReason() map[string]uint64 {
	return b.labelled("promptmq_subscriptions_refused_total{reason=")
}

// labelled returns the counters whose names begin so, by the value of their last label.
func (b *Broker) labelled(beginning string) map[string]uint64 {
	counts := make(map[string]uint64)
	for _, name := range b.set.ListMetricNames() {
		if quoted, ok := strings.CutPrefix(name, beginning); ok {
			if value, err := strconv.Unquote(strings.TrimSuffix(quoted, "}")); err == nil {
				counts[value] = b.set.GetOrCreateCounter(name).Get()
			}
		}
	}
	return counts
}
