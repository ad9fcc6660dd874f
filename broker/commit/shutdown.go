package commit

import (
	"time"

	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/session"
)

// Unstored counts what is to be written: messages in queues, changes of Sessions, and
// retained messages.
type Unstored struct{ Messages, Sessions, Retained int }

func countUnstored(batch *session.Batch) *Unstored {
	n := &Unstored{Sessions: len(batch.Sessions), Retained: len(batch.Retained)}
	for _, w := range batch.Sessions {
		for i := range w.Entries {
			if w.Entries[i].Message != nil {
				n.Messages++
			}
		}
	}
	return n
}

// Unstored counts what is not committed: of the group that is being written and, unless all
// is false because the gate does not open, of the open one.
func (c *Committer) Unstored() (n Unstored, all bool) {
	if w := c.writing.Load(); w != nil {
		n = *w
	}
	for range 20 {
		if c.gate.TryLock() {
			defer c.gate.Unlock()
			open := countUnstored(c.open.Load().batch)
			n.Messages += open.Messages
			n.Sessions += open.Sessions
			n.Retained += open.Retained
			return n, true
		}
		time.Sleep(5 * time.Millisecond)
	}
	return n, false
}

// End begins the shutdown: the Committer no longer waits for room on a full disk.
func (c *Committer) End() { c.endOnce.Do(func() { close(c.ending) }) }

// Ending is closed when shutdown begins.
func (c *Committer) Ending() <-chan struct{} { return c.ending }

// Failed yields an error when the Committer cannot go on: nothing is committed any more.
func (c *Committer) Failed() <-chan error { return c.failed }

// Shutdown commits what is left, and the time, and ends Run. It is called once.
func (c *Committer) Shutdown() error {
	c.End()
	err := c.Flush()
	close(c.stop)
	<-c.stopped
	if err == nil {
		now := session.NewBatch()
		now.Time, now.System = c.clock.Both()
		if err := c.store.Apply(now); err != nil { // no promise depends on it
			c.log.Warn("the time of the end was not stored", trouble.StoreCleanUp, "error", err)
		}
	}
	return err
}
