package broker

import "context"

// BetweenCommits calls write between two commits of the Store, on the goroutine that alone
// writes to it, and returns its error: for what is stored beside Sessions and messages, as
// users and rules. Acknowledgements wait meanwhile. If ctx or the Broker ends before write
// has begun it is not called; once it has begun, BetweenCommits returns when it has ended.
func (b *Broker) BetweenCommits(ctx context.Context, write func() error) error {
	if !b.ready.Load() {
		return errNotReady
	}
	return b.commits.Between(ctx, write)
}
