package broker

import "github.com/x0a1b/promptmq/broker/commit"

// Ready returns nil while the store is loaded, the listeners are open, the disk
// answers, and the store is where the next start will look for it.
func (b *Broker) Ready() error {
	switch {
	case b.stopping.Load():
		return commit.ErrShuttingDown
	case !b.ready.Load():
		return errNotReady
	}
	return b.commits.Ready()
}
