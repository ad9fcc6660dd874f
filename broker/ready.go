package broker

import (
	"fmt"
	"time"
)

// stalledAfter is how long the disk may take for a commit before the broker is
// not ready: acknowledgements wait, and clients are better off elsewhere.
const stalledAfter = 10 * time.Second

// Ready returns nil while the store is loaded, the listeners are open, the disk
// answers, and the store is where the next start will look for it.
func (b *Broker) Ready() error {
	switch {
	case b.stopping.Load():
		return errShuttingDown
	case !b.ready.Load():
		return errNotReady
	}
	select {
	case <-b.commits.stopped:
		return errStoreFailed
	default:
	}
	if waiting := b.commits.waiting(); waiting > stalledAfter {
		return fmt.Errorf("the disk has not finished a commit for %v", waiting.Truncate(time.Second))
	}
	return b.storeGone()
}

// storeGone asks the store where its files are. On a file system that does not
// answer that may take for ever, so one asks at a time.
func (b *Broker) storeGone() error {
	now := b.clock.now()
	if !b.askedStore.CompareAndSwap(0, now.UnixNano()) {
		asked := b.askedStore.Load()
		if waiting := now.Sub(time.Unix(0, asked)); asked != 0 && waiting > stalledAfter {
			return fmt.Errorf("the file system has not answered for %v", waiting.Truncate(time.Second))
		}
		return nil
	}
	defer b.askedStore.Store(0)
	err := b.store.Gone()
	if err != nil {
		b.commits.fail(err)
	}
	return err
}
