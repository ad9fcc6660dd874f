package main

import (
	"strings"

	"github.com/x0a1b/promptmq/cmd/promptmq/mosquitto"
	"github.com/x0a1b/promptmq/topics"
)

// arrivals are the QoS 2 messages of clients that have not sent PUBREL. Mosquitto passes such
// a message on when PUBREL comes, PromptMQ when PUBLISH does: so it is passed on now, and
// what is kept of it is the Packet Identifier, which awaits PUBREL.
type arrivals struct {
	all      []arrived
	queued   map[string][]arrival         // by Client Identifier
	retained map[string]*mosquitto.Queued // by Topic Name
}

// An arrived message came from a client.
type arrived struct {
	*mosquitto.Queued
	by string
}

// An arrival is such a message for a client, by a Shared Subscription if share is not empty.
type arrival struct {
	*mosquitto.Queued
	qos    byte
	ids    []uint32
	retain bool
	share  string
}

// A subscriber is a client, by its whole Topic Filter.
type subscriber struct{ client, filter string }

// read finds them and whom they are for.
func (a *arrivals) read(from mosquitto.State) error {
	*a = arrivals{queued: make(map[string][]arrival), retained: make(map[string]*mosquitto.Queued)}
	for s, err := range from.Sessions() {
		if err != nil {
			return err
		}
		for q, err := range s.Queue() {
			if err != nil {
				return err
			}
			if q.Step == mosquitto.Received {
				a.all = append(a.all, arrived{q, s.ClientID})
			}
		}
	}
	if len(a.all) == 0 {
		return nil
	}
	filters, err := filtersOf(from)
	if err != nil {
		return err
	}
	for _, one := range a.all {
		m, err := one.Message()
		if err != nil {
			return err
		}
		if faultOf(m) == nil {
			a.route(one, m, filters.AppendMatches(nil, []byte(m.Topic)))
		}
	}
	return nil
}

// filtersOf has all subscriptions, but of those of a share the first.
func filtersOf(from mosquitto.State) (*topics.Filters[subscriber, mosquitto.Subscription], error) {
	filters := topics.NewFilters[subscriber, mosquitto.Subscription]()
	shares := make(map[string]bool)
	for s, err := range from.Sessions() {
		if err != nil {
			return nil, err
		}
		for _, sub := range s.Subscriptions {
			if checkFilter(sub.Filter) != nil || shares[sub.Filter] {
				continue
			}
			_, rest, shared, err := topics.ParseShare([]byte(sub.Filter))
			if err != nil {
				return nil, err
			}
			shares[sub.Filter] = shared
			filters.Set(string(rest), subscriber{s.ClientID, sub.Filter}, sub)
		}
	}
	return filters, nil
}

// route gives each client one copy, as with the one of its subscriptions that has the highest
// QoS, and the identifiers of all; and one for each Shared Subscription.
func (a *arrivals) route(one arrived, m *mosquitto.Message, found []topics.Match[subscriber, mosquitto.Subscription]) {
	copies := make(map[subscriber]*arrival)
	for _, f := range found {
		if f.Value.NoLocal && f.Key.client == one.by { // [MQTT-3.8.3-3]
			continue
		}
		to := subscriber{client: f.Key.client}
		if strings.HasPrefix(f.Key.filter, "$share/") {
			to = f.Key
		}
		c := copies[to]
		if c == nil {
			c = &arrival{Queued: one.Queued, share: to.filter}
			copies[to] = c
		}
		c.qos = max(c.qos, min(f.Value.QoS, m.QoS))
		c.retain = c.retain || m.Retain && f.Value.RetainAsPublished
		if f.Value.ID != 0 {
			c.ids = append(c.ids, f.Value.ID)
		}
	}
	for to, c := range copies {
		if c.qos > 0 {
			a.queued[to.client] = append(a.queued[to.client], *c)
		}
	}
	if m.Retain {
		a.retained[m.Topic] = one.Queued
	}
}
