package commit

import (
	"context"
	"fmt"
	"time"
)

// Answers has the open group committed, even an empty one, and returns nil if that is done
// before ctx ends, or if it waits for what is not the broker's: waits says for what. It may
// hang where the Committer does. No lock may be held.
func (c *Committer) Answers(ctx context.Context) (waits string, err error) {
	err = c.WaitContext(ctx, c.open.Load().number)
	if c.DiskFull() {
		return "waiting for space on the disk", nil
	}
	if busy := c.busyFor(); err != nil && busy != nil {
		return busy.Error(), nil
	}
	if waiting := c.Waiting(); err != nil && waiting > 0 {
		return fmt.Sprintf("the disk has not finished a commit for %v", waiting.Truncate(time.Second)), nil
	}
	return "", err
}
