package broker

import (
	"github.com/x0a1b/promptmq/broker/commit"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// A row of pageCostFrom bytes or more has pages of its own; pageCost is about what its last
// one wastes. In bytes.
const (
	rowCost      = commit.RowCost
	pageCost     = 8192
	pageCostFrom = 2048
)

// messageCost is about what a stored message takes.
func messageCost(m *codec.Publish) int64 {
	n := int64(rowCost + len(m.Topic) + len(m.Payload) + m.Forward.Len())
	if n >= pageCostFrom {
		n += pageCost
	}
	return n
}

// retainCostLocked is about how much more the retained messages take with this
// one. The caller holds retained.mu.
func (b *Broker) retainCostLocked(p *codec.Publish) int64 {
	if len(p.Payload) == 0 {
		return 0
	}
	n := messageCost(p)
	if old := b.retained.set.get(p.Topic); old != nil && !b.commits.DiskFull() {
		n -= int64(old.message.Bytes() + rowCost)
	}
	return n
}

// sessionCost is about what a new Session takes, with its Will.
func sessionCost(p *codec.Connect) int64 {
	n := int64(2*rowCost + len(p.ClientID) + len(p.UserName))
	if p.HasWill {
		n += rowCost + int64(len(p.Will.Topic)+len(p.Will.Payload)+p.Will.Forward.Len())
	}
	return n
}

func subscriptionCost(sub *session.Subscription) int64 { return int64(rowCost + len(sub.Filter)) }
