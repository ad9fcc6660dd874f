package broker_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// TestSimLocked: another program locks the database for 1 to 120 s, which is longer than the
// store waits for a lock. It is as if a sync took so long: see TestSimDiskStall.
func TestSimLocked(t *testing.T) {
	root := simRoot(t)
	refused := 0
	seeds(t, 4, func(seed uint64) error {
		w, err := inBubble(t, root, seed, simConfig{}, (*world).lockedOut)
		if w != nil && w.m != nil {
			refused += int(w.m.CommitFailures.Get())
		}
		return err
	})
	t.Logf("%d commits refused", refused)
}

func (w *world) lockedOut() error {
	return w.standstill(func(s *stalled, length time.Duration) (end func() error, err error) {
		other, err := sqlite3.Open(fmt.Sprintf("file:%s?vfs=%s", filepath.Join(w.disk.dir, "promptmq.db"), w.disk.name))
		if err != nil {
			return nil, err
		}
		if err := other.Exec("PRAGMA busy_timeout = 60000; BEGIN IMMEDIATE"); err != nil {
			return nil, err
		}
		w.disk.mu.Lock()
		s.begin, s.end = time.Now(), time.Now().Add(length)
		w.disk.mu.Unlock()
		return func() error {
			time.Sleep(time.Until(s.end))
			return other.Close() // which ends its transaction
		}, nil
	})
}
