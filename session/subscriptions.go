package session

import (
	"iter"
	"maps"
	"strings"
)

// Subscription returns the subscription with this filter, as the Client sent it; nil:
// there is none.
func (s *Session) Subscription(filter string) *Subscription { return s.subscriptions[filter] }

// Subscriptions yields all subscriptions. Those that are removed meanwhile may be left out.
func (s *Session) Subscriptions() iter.Seq[*Subscription] { return maps.Values(s.subscriptions) }

// SubscriptionCount is the number of subscriptions.
func (s *Session) SubscriptionCount() int { return len(s.subscriptions) }

// Shared reports whether the subscription is a Shared Subscription. Section 4.8.2.
func (sub *Subscription) Shared() bool { return strings.HasPrefix(sub.Filter, "$share/") }

// HasShared reports whether there is a Shared Subscription.
func (s *Session) HasShared() bool {
	for _, sub := range s.subscriptions {
		if sub.Shared() {
			return true
		}
	}
	return false
}

// Subscribe adds sub or replaces the one with its filter, and reports whether there was
// one. [MQTT-3.8.4-3]
//
// Of a Durable Session it writes the subscription, which must be committed before SUBACK.
func (s *Session) Subscribe(sub *Subscription, fx *Effects) (replaced bool) {
	replaced = s.restoreSubscription(sub)
	s.putSubscription(sub.Filter, sub, fx)
	return replaced
}

// Unsubscribe removes the subscription with this filter, which must be the same byte by
// byte [MQTT-3.10.4-1], and reports whether there was one. Nothing is owed to it any more.
//
// Of a Durable Session it writes the removal, which must be committed before UNSUBACK.
func (s *Session) Unsubscribe(filter string, fx *Effects) (found bool) {
	if s.subscriptions[filter] == nil {
		return false
	}
	delete(s.subscriptions, filter)
	s.putSubscription(filter, nil, fx)
	s.Disown(filter, fx)
	return true
}

func (s *Session) putSubscription(filter string, sub *Subscription, fx *Effects) {
	if s.durable {
		r := fx.rows(MustCommit)
		r.Subscriptions = append(r.Subscriptions, SubscriptionRow{filter, sub})
	}
}

// restoreSubscription is Subscribe for what is stored already.
func (s *Session) restoreSubscription(sub *Subscription) (replaced bool) {
	if s.subscriptions == nil {
		s.subscriptions = make(map[string]*Subscription)
	}
	_, replaced = s.subscriptions[sub.Filter]
	s.subscriptions[sub.Filter] = sub
	return replaced
}
