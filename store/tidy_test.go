package store

import (
	"strings"
	"sync"
	"testing"

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
		removeAll(t, db)
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

// A store of an earlier version has no auto_vacuum: its free pages stay, and are
// used again.
func TestTidyOfAnOldFile(t *testing.T) {
	dir := t.TempDir()
	makeDB(t, dir, "PRAGMA page_size = 8192; VACUUM")
	db := openTest(t, testOptions(dir))
	apply(t, db, oneSession(1, "m"))
	fillAndDrain := func(first uint64) int64 {
		for seq := first; seq < first+100; seq++ {
			apply(t, db, oneMessage(1, seq, strings.Repeat("x", 100_000)))
		}
		removeBelow(t, db, first+100)
		if steps := tidyAll(t, db); steps != 1 {
			t.Errorf("%d steps", steps)
		}
		count, free, err := db.pages()
		if err != nil || free < count/2 {
			t.Errorf("%d of %d pages are free, %v", free, count, err)
		}
		return count
	}
	before := fillAndDrain(2)
	if after := fillAndDrain(102); after > before+before/10 {
		t.Errorf("%d pages, and %d before", after, before)
	}
}
