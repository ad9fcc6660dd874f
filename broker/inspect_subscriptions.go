package broker

import (
	"context"
	"strings"

	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/session"
	"github.com/x0a1b/promptmq/topics"
)

// Subscriptions returns a part of the list of all subscriptions, sorted by Client Identifier
// and Topic Filter. Like that of Clients it is no snapshot. It fails with ctx's error,
// inspect.ErrBadCursor, or an *inspect.Invalid if Topic is no Topic Name.
func (b *Broker) Subscriptions(ctx context.Context, f inspect.SubscriptionFilter, w inspect.Window) (page inspect.Page[inspect.Subscription], err error) {
	found, err := newSelection[inspect.Subscription](w, "subscriptions", false)
	if err != nil {
		return page, err
	}
	if f.Topic != "" && topics.ValidName([]byte(f.Topic), b.o.MaxTopicLevels) != nil {
		return page, &inspect.Invalid{Field: "topic", Why: "not a valid Topic Name"}
	}
	f.Search = strings.ToLower(f.Search)
	clients := b.subscribers(&f)
	all := f == inspect.SubscriptionFilter{}
	next := eachOf(clients)
	if all { // a part of them is enough, in the order of the list
		next = newClientQueue(clients, found.after.text).next
	}
	for i := 0; !all || len(found.rows) <= found.limit; i++ { // one more than the limit: there is a next part
		if i%lookEvery == 0 && ctx.Err() != nil {
			return page, ctx.Err()
		}
		cl := next()
		if cl == nil {
			break
		}
		cl.offerSubscriptions(&f, found)
	}
	page.Total = found.total
	if all {
		page.Total = b.router.subscriptions()
	}
	var rows []selected[inspect.Subscription]
	rows, page.Next = found.take()
	page.Items = make([]inspect.Subscription, 0, len(rows))
	for _, r := range rows {
		page.Items = append(page.Items, r.item)
	}
	return page, nil
}

// subscribers returns the Clients that may have subscriptions that the filter lets through.
func (b *Broker) subscribers(f *inspect.SubscriptionFilter) []*Client {
	switch {
	case f.Client != "":
		if cl := b.registry.find(f.Client); cl != nil {
			return []*Client{cl}
		}
		return nil
	case f.Topic != "":
		return b.router.receivers([]byte(f.Topic))
	}
	return b.registry.all()
}

// subscriptions is how many there are.
func (r *router) subscriptions() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.subs
}

// receivers returns the Clients that have a subscription for a Topic Name, each once.
func (r *router) receivers(name []byte) []*Client {
	r.mu.RLock()
	defer r.mu.RUnlock()
	seen := make(map[*Client]struct{})
	for _, m := range r.filters.AppendMatches(nil, name) {
		if m.Key.client != nil {
			seen[m.Key.client] = struct{}{}
			continue
		}
		for _, cl := range m.Key.share.clients() {
			seen[cl] = struct{}{}
		}
	}
	clients := make([]*Client, 0, len(seen))
	for cl := range seen {
		clients = append(clients, cl)
	}
	return clients
}

// offerSubscriptions offers those of the Client's subscriptions that the filter lets
// through; f.Search is in lower case.
func (cl *Client) offerSubscriptions(f *inspect.SubscriptionFilter, to *selection[inspect.Subscription]) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.sess == nil {
		return
	}
	if f.Filter != "" {
		if sub := cl.sess.Subscription(f.Filter); sub != nil && passes(sub, f) {
			to.offer(rank{text: cl.id, id: sub.Filter}, cl.shown(sub))
		}
		return
	}
	for sub := range cl.sess.Subscriptions() {
		if passes(sub, f) {
			to.offer(rank{text: cl.id, id: sub.Filter}, cl.shown(sub))
		}
	}
}

func passes(sub *session.Subscription, f *inspect.SubscriptionFilter) bool {
	if f.Topic != "" {
		if _, filter := splitShare(sub.Filter); !topics.MatchString(filter, f.Topic) {
			return false
		}
	}
	return f.Search == "" || holds(sub.Filter, f.Search)
}

// shown is a subscription of the Client as the list has it.
func (cl *Client) shown(sub *session.Subscription) inspect.Subscription {
	return inspect.Subscription{
		Client: cl.id, Filter: sub.Filter, QoS: int(sub.QoS), NoLocal: sub.NoLocal,
		RetainAsPublished: sub.RetainAsPublished, RetainHandling: int(sub.RetainHandling), ID: sub.ID,
	}
}

// A clientQueue yields Clients by their identifiers, and sorts only as many as it yields.
type clientQueue struct{ heap []*Client }

// eachOf yields clients in their order, and then nil.
func eachOf(clients []*Client) (next func() *Client) {
	return func() (cl *Client) {
		if len(clients) > 0 {
			cl, clients = clients[0], clients[1:]
		}
		return cl
	}
}

// newClientQueue takes clients over, but for those before from.
func newClientQueue(clients []*Client, from string) *clientQueue {
	q := &clientQueue{heap: clients[:0]}
	for _, cl := range clients {
		if cl.id >= from {
			q.heap = append(q.heap, cl)
		}
	}
	for i := len(q.heap)/2 - 1; i >= 0; i-- {
		q.sink(i)
	}
	return q
}

// next returns the first Client and takes it out; nil: there is none.
func (q *clientQueue) next() *Client {
	if len(q.heap) == 0 {
		return nil
	}
	first, last := q.heap[0], len(q.heap)-1
	q.heap[0] = q.heap[last]
	q.heap = q.heap[:last]
	q.sink(0)
	return first
}

func (q *clientQueue) sink(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(q.heap); child++ {
			if q.heap[child].id < q.heap[least].id {
				least = child
			}
		}
		if least == i {
			return
		}
		q.heap[i], q.heap[least] = q.heap[least], q.heap[i]
		i = least
	}
}
