package store

import (
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/x0a1b/promptmq/session"
)

// The WAL stays bounded while queues are read without a pause.
func TestWALIsBounded(t *testing.T) {
	db := openTest(t, testOptions(t.TempDir()))
	apply(t, db, oneSession(1, "m"))
	for seq := uint64(2); seq < 40; seq++ {
		apply(t, db, oneMessage(1, seq, strings.Repeat("x", 20_000)))
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := db.Page(1, 1, 30, 1<<20); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	const batch = 4 << 20
	most, payload := int64(0), strings.Repeat("y", batch)
	for seq := uint64(40); seq < 90; seq++ {
		apply(t, db, oneMessage(1, seq, payload))
		most = max(most, db.Stats().WALBytes)
	}
	close(stop)
	readers.Wait()
	t.Logf("at most %d MiB of WAL for %d MiB written", most>>20, 50*batch>>20)
	if most > walBytesMax+2*batch {
		t.Errorf("the WAL had %d bytes", most)
	}
}

// tidyAll does what the writer does in idle moments, and returns the steps.
func tidyAll(t *testing.T, db *DB) (steps int) {
	t.Helper()
	for more := true; more; steps++ {
		var err error
		if more, err = db.Tidy(); err != nil {
			t.Fatal(err)
		}
		if steps > 10_000 {
			t.Fatal("no end to it")
		}
	}
	return steps
}

// A file that was large is given back when its queues are drained, in small
// steps, and nothing else changes.
func TestFileShrinks(t *testing.T) {
	for _, mode := range []string{"WAL", "DELETE"} {
		o := testOptions(t.TempDir())
		o.JournalMode = mode
		db := openTest(t, o)
		apply(t, db, oneSession(1, "m"))
		apply(t, db, oneSession(2, "kept"))
		for seq := uint64(2); seq <= 300; seq++ {
			apply(t, db, oneMessage(1, seq, strings.Repeat("x", 100_000)))
		}
		tidyAll(t, db)
		if err := db.beginWALIf(mode); err != nil {
			t.Fatal(err)
		}
		full := db.Stats().FileBytes
		b := session.NewBatch()
		b.Sessions[1] = &session.Writes{Floor: 290}
		apply(t, db, b)
		before, err := dump(db)
		if err != nil {
			t.Fatal(err)
		}
		if steps := tidyAll(t, db); steps < 10 {
			t.Errorf("%s: %d pages in %d steps", mode, full/pageSize, steps)
		}
		if n := db.Stats().FileBytes; full < 25<<20 || n > full/4 {
			t.Errorf("%s: %d bytes, %d when it was full", mode, n, full)
		}
		after, err := dump(db)
		if err != nil || after != before {
			t.Errorf("%s: something else is stored: %v\n%s", mode, err, difference(before, after))
		}
		if steps := tidyAll(t, db); steps != 1 {
			t.Errorf("%s: %d steps with nothing to do", mode, steps)
		}
	}
}

// beginWALIf brings the file to its size.
func (db *DB) beginWALIf(mode string) error {
	if mode != "WAL" {
		return nil
	}
	return db.beginWAL()
}

// A store of an earlier version has no auto_vacuum: Tidy leaves it alone.
func TestTidyOfAnOldFile(t *testing.T) {
	dir := t.TempDir()
	makeDB(t, dir, "PRAGMA page_size = 8192; VACUUM")
	db := openTest(t, testOptions(dir))
	apply(t, db, oneSession(1, "m"))
	if more, err := db.Tidy(); more || err != nil {
		t.Errorf("%v, %v", more, err)
	}
	if info, err := os.Stat(db.path); err != nil || info.Size() == 0 {
		t.Errorf("%v, %v", info, err)
	}
	if _, _, err := db.w.WALCheckpoint("main", sqlite3.CHECKPOINT_PASSIVE); err != nil {
		t.Error(err)
	}
}
