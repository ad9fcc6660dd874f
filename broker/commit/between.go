package commit

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/x0a1b/promptmq/broker/lock"
)

// An otherWrite is one of something that is in no group.
type otherWrite struct {
	write func() error
	done  chan error // buffered
}

// Between calls write between two commits, on the goroutine that alone writes to the store,
// and returns its error. Acknowledgements wait meanwhile. It must not be called before the
// store is loaded. If ctx ends before write has begun it is not called; once it has begun
// Between returns when it has ended. ErrShuttingDown: it was not called. No lock may be held.
func (c *Committer) Between(ctx context.Context, write func() error) error {
	lock.NoneHeld()
	w := &otherWrite{write, make(chan error, 1)}
	select {
	case c.others <- w:
		return <-w.done
	case <-ctx.Done():
		return ctx.Err()
	case <-c.stopped:
		return ErrShuttingDown
	}
}

// writeOther does it. An error is final: what a panic left of a transaction is not known.
func (c *Committer) writeOther(w *otherWrite) (err error) {
	c.applying.Store(c.clock.Now().UnixNano())
	defer c.applying.Store(0)
	defer func() {
		if p := recover(); p != nil {
			c.m.Panics.Inc()
			err = fmt.Errorf("panic while writing: %v\n%s", p, debug.Stack())
			w.done <- err
		}
	}()
	w.done <- w.write()
	return nil
}
