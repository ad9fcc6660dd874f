package broker

import (
	"fmt"
	"net"
	"testing"

	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
	"github.com/x0a1b/promptmq/store"
)

// crowd gives b so many Clients, half of them connected, each with a subscription.
func crowd(b *Broker, clients int) {
	server, _ := net.Pipe()
	for i := range clients {
		cl := b.registry.acquire(b, fmt.Sprintf("device-%d-%07d", i%97, i))
		cl.sess = session.New(session.ID(i+1), cl.id, fmt.Sprint("user ", i%1000), i%2 == 0, &b.limits)
		sub := &session.Subscription{Filter: fmt.Sprint("devices/", i, "/+"), QoS: 1}
		cl.sess.Subscribe(sub, new(session.Effects))
		if i%2 == 1 {
			cl.conn = b.newConn(link.Accepted{Transport: b.network.Transport(server), At: b.clock.Now()})
			cl.conn.client = cl
			cl.conn.out.SetClient(codec.Version5, 0, 0, b.clock.Now())
		}
		cl.mu.Unlock()
		b.router.mu.Lock()
		b.router.subscribeLocked(cl, binding{sub: sub, sess: cl.sess.ID})
		b.router.mu.Unlock()
	}
}

// BenchmarkClients measures what one part of a list takes an operator, and the others whose
// locks it needs.
func BenchmarkClients(b *testing.B) {
	for _, clients := range []int{20_000, 100_000} {
		o := store.DefaultOptions()
		o.DataDir = b.TempDir()
		db, err := store.Open(o)
		if err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		broker, err := New(DefaultOptions(), db)
		if err != nil {
			b.Fatal(err)
		}
		crowd(broker, clients)
		first := func(f inspect.ClientFilter) func(b *testing.B) {
			return func(b *testing.B) {
				for b.Loop() {
					if page, err := broker.Clients(b.Context(), f, inspect.Window{Limit: 100}); err != nil || len(page.Items) == 0 {
						b.Fatal(len(page.Items), err)
					}
				}
			}
		}
		b.Run(fmt.Sprintf("%d/by identifier", clients), first(inspect.ClientFilter{}))
		b.Run(fmt.Sprintf("%d/by messages", clients), first(inspect.ClientFilter{Sort: "messages_in", Descending: true}))
		b.Run(fmt.Sprintf("%d/by user", clients), first(inspect.ClientFilter{Sort: "user"}))
		b.Run(fmt.Sprintf("%d/search", clients), first(inspect.ClientFilter{Search: "USER 77"}))
		subs := func(f inspect.SubscriptionFilter) func(b *testing.B) {
			return func(b *testing.B) {
				for b.Loop() {
					if page, err := broker.Subscriptions(b.Context(), f, inspect.Window{Limit: 100}); err != nil || len(page.Items) == 0 {
						b.Fatal(len(page.Items), err)
					}
				}
			}
		}
		b.Run(fmt.Sprintf("%d/subscriptions", clients), subs(inspect.SubscriptionFilter{}))
		b.Run(fmt.Sprintf("%d/subscriptions with a filter", clients), subs(inspect.SubscriptionFilter{Filter: "devices/17/+"}))
		b.Run(fmt.Sprintf("%d/subscriptions for a topic", clients), subs(inspect.SubscriptionFilter{Topic: "devices/17/x"}))
		b.Run(fmt.Sprintf("%d/subscriptions searched", clients), subs(inspect.SubscriptionFilter{Search: "S/17/"}))
	}
}
