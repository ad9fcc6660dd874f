package commit

import (
	"bytes"
	"errors"
	"fmt"
	"runtime/pprof"
	"sync/atomic"
	"time"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/broker/trouble"
)

var errStoreFailed = errors.New("the store takes nothing any more")

// stalledAfter is how long a commit may take, by the disk or for any other cause, before
// the broker is not ready: acknowledgements wait, and clients are better off elsewhere.
var stalledAfter = control.Sooner(control.StalledSoon, 10*time.Second)

// Ready returns nil while the store answers and takes what it is given, commits come to an end,
// and the store is where the next start will look for it.
func (c *Committer) Ready() error {
	select {
	case <-c.stopped:
		return errStoreFailed
	default:
	}
	if err := c.busyFor(); err != nil {
		return err
	}
	if waiting := c.Waiting(); waiting > stalledAfter {
		return fmt.Errorf("the disk has not finished a commit for %v", waiting.Truncate(time.Second))
	}
	if busy := c.since(&c.busy); busy > stalledAfter {
		return fmt.Errorf("no commit could be made for %v, and not because of the disk", busy.Truncate(time.Second))
	}
	return c.storeGone()
}

// storeGone asks the store whether its files are still in their place. On a file system
// that does not answer that may take for ever, so one asks at a time.
func (c *Committer) storeGone() error {
	now := c.clock.Now()
	if !c.asked.CompareAndSwap(0, now.UnixNano()) {
		asked := c.asked.Load()
		if waiting := now.Sub(time.Unix(0, asked)); asked != 0 && waiting > stalledAfter {
			return fmt.Errorf("the file system has not answered for %v", waiting.Truncate(time.Second))
		}
		return nil
	}
	defer c.asked.Store(0)
	err := c.store.Gone()
	if err != nil {
		c.fail(err)
	}
	return err
}

// since is how long ago the time in at is; 0: there is none.
func (c *Committer) since(at *atomic.Int64) time.Duration {
	began := at.Load()
	if began == 0 {
		return 0
	}
	return max(0, c.clock.Now().Sub(time.Unix(0, began)))
}

// watch and unwatch stand around a commit. If it takes longer than stalledAfter and does
// not wait for the disk, something in the broker does not let go: then reportStall logs,
// once, what all goroutines do.
func (c *Committer) watch() {
	c.busy.Store(c.clock.Now().UnixNano())
	c.watchdog.Reset(stalledAfter)
}

func (c *Committer) unwatch() {
	c.watchdog.Stop()
	c.busy.Store(0)
}

// stacksMax bounds what reportStall logs, in bytes.
const stacksMax = 64 << 10

func (c *Committer) reportStall() {
	if c.applying.Load() != 0 || c.since(&c.busy) < stalledAfter {
		return
	}
	var stacks bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1) // to memory: cannot fail
	c.log.Error("no commit could be made for a long time, and not because of the disk: this is a bug", trouble.CommitStuck,
		"for", c.since(&c.busy).String(), "goroutines", string(stacks.Next(stacksMax)))
}
