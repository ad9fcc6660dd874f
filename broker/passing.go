package broker

import (
	"context"
	"time"

	"github.com/x0a1b/promptmq/broker/link"
)

// PassSockets returns the sockets of the listeners, for a process that is to take the place of
// this one. The caller owns their files.
func (b *Broker) PassSockets() ([]link.Socket, error) { return b.network.Pass() }

// OwnSockets has the paths of Unix sockets that were passed removed when their listeners close:
// the process that passed them has ended.
func (b *Broker) OwnSockets() { b.network.Own() }

// StopListening ends the listeners whose sockets were passed on: who connects from now on waits
// for the other process. It returns when those who were accepted before have the answer to
// their CONNECT, or ctx ends. Shutdown is to follow.
func (b *Broker) StopListening(ctx context.Context) {
	b.network.Leave()
	listeners := b.network.Listeners()
	b.network.Stop()
	for b.connecting(listeners) {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}

// connecting reports whether a connection has no CONNACK yet.
func (b *Broker) connecting(listeners []*link.Listener) bool {
	for _, l := range listeners {
		if l.Waits() {
			return true
		}
	}
	for _, c := range b.connections() {
		if !c.marked(greeted) {
			return true
		}
	}
	return false
}
