package main

import (
	"context"
	"slices"
	"strings"

	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/store"
)

// An operated is what the views see of a broker.
type operated interface {
	EachClient(context.Context, func(*inspect.Client)) error
	Drops() []inspect.Drop
}

// liveViews has the rows of the views of what is in the memory of a broker.
func liveViews(b operated) store.Live {
	return store.Live{
		Clients: func(ctx context.Context) ([]store.LiveRow, error) {
			var all []*inspect.Client
			if err := b.EachClient(ctx, func(c *inspect.Client) { all = append(all, c) }); err != nil {
				return nil, err
			}
			slices.SortFunc(all, func(a, b *inspect.Client) int { return strings.Compare(a.ID, b.ID) })
			rows := make([]store.LiveRow, len(all))
			for i, c := range all {
				rows[i] = func(column int) any { return clientCells[column](c) }
			}
			return rows, nil
		},
		Drops: func(context.Context) ([]store.LiveRow, error) {
			var rows []store.LiveRow
			for _, d := range b.Drops() {
				rows = append(rows, func(column int) any { return []any{d.At, d.Client, d.Topic, d.QoS, d.Bytes, d.Reason}[column] })
			}
			return rows, nil
		},
	}
}

// clientCells are the columns of the view clients.
var clientCells = []func(*inspect.Client) any{
	func(c *inspect.Client) any { return c.ID },
	func(c *inspect.Client) any { return emptyIsNull(c.User) },
	func(c *inspect.Client) any { return c.Connected },
	func(c *inspect.Client) any { return emptyIsNull(c.Address) },
	func(c *inspect.Client) any { return emptyIsNull(c.Listener) },
	func(c *inspect.Client) any { return emptyIsNull(c.Protocol) },
	func(c *inspect.Client) any { return c.ConnectedAt },
	func(c *inspect.Client) any { return c.DisconnectedAt },
	func(c *inspect.Client) any { return c.KeepAlive },
	func(c *inspect.Client) any { return c.Durable },
	func(c *inspect.Client) any { return c.Subscriptions },
	func(c *inspect.Client) any { return c.Queued },
	func(c *inspect.Client) any { return c.QueuedBytes },
	func(c *inspect.Client) any { return c.InFlight },
	func(c *inspect.Client) any { return c.Dropped },
	func(c *inspect.Client) any { return c.MessagesIn },
	func(c *inspect.Client) any { return c.MessagesOut },
	func(c *inspect.Client) any { return c.BytesIn },
	func(c *inspect.Client) any { return c.BytesOut },
	func(c *inspect.Client) any { return c.HasWill },
}

func emptyIsNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
