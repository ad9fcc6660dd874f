package broker

import (
	"net"

	"github.com/x0a1b/promptmq/broker/link"
)

// What Options.WSOrigins may have besides patterns.
const (
	SameOrigin = link.SameOrigin
	AnyOrigin  = link.AnyOrigin
)

// listeners are the kinds of listeners, and the option that has the address of each.
var listeners = []struct {
	kind    *link.Kind
	address func(*Options) string
}{
	{link.TCP, func(o *Options) string { return o.Bind }},
	{link.WebSocket, func(o *Options) string { return o.WSBind }},
}

// listen opens the listeners that the options ask for.
func (b *Broker) listen() error {
	for _, l := range listeners {
		if err := b.network.Listen(l.kind, l.address(&b.o)); err != nil {
			return err
		}
	}
	return nil
}

// Addr and WSAddr return the addresses of the listeners; nil: not open.
func (b *Broker) Addr() net.Addr   { return b.network.Addr(link.TCP) }
func (b *Broker) WSAddr() net.Addr { return b.network.Addr(link.WebSocket) }
