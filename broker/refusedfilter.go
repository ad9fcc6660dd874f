package broker

import (
	"cmp"
	"slices"

	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/codec"
)

// noteRefusedFilters counts and logs what SUBACK refuses. No lock may be held.
func (c *conn) noteRefusedFilters(p *codec.Subscribe, reasons []codec.ReasonCode) {
	if !slices.ContainsFunc(reasons, func(r codec.ReasonCode) bool { return r >= 0x80 }) {
		return
	}
	refused := make(map[codec.ReasonCode]int)
	for _, r := range reasons {
		if r >= 0x80 {
			refused[r]++
		}
	}
	examples := make(map[codec.ReasonCode]string, len(refused))
	at := 0
	p.Each(func(s codec.Subscription) bool {
		if r := reasons[at]; refused[r] > 0 {
			examples[r] = cmp.Or(examples[r], notice.Shown(s.Filter))
		}
		at++
		return len(examples) < len(refused)
	})
	for reason, n := range refused {
		c.b.m.RefusedSubscriptions(reason.String()).Add(n)
		key, limit := c.limitOfFilters(reason, len(reasons))
		c.b.notices.Warn("subscription refused", c.client.id+"\x00"+key, "subscription refused", "client", notice.Shown(c.client.id),
			"filter", examples[reason], "of_this_packet", n, "reason", reason.String(), "key", key, "limit", limit)
	}
}

// limitOfFilters returns the setting because of which some of so many filters of a
// packet are refused.
func (c *conn) limitOfFilters(reason codec.ReasonCode, filters int) (key string, limit any) {
	o := &c.b.o
	switch reason {
	case codec.TopicFilterInvalid:
		return "mqtt.max-topic-levels", o.MaxTopicLevels
	case codec.SharedSubscriptionsNotSupported:
		return "mqtt.shared-sub-available", false
	case codec.WildcardSubscriptionsNotSupported:
		return "mqtt.wildcard-available", false
	}
	cl := c.client
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.sess == nil || cl.sess.SubscriptionCount() >= o.MaxSubscriptions || filters > o.MaxSubscriptions {
		return "mqtt.max-subscriptions", o.MaxSubscriptions
	}
	return "storage.max-size", "the store has no room"
}
