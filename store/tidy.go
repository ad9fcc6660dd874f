package store

import (
	"fmt"

	"github.com/ncruces/go-sqlite3"
)

const (
	// walBytesMax is the size of the WAL, in bytes, from which on the writer waits
	// for the reader and begins the WAL anew. SQLite does that by itself far below,
	// but only at a moment in which nothing is read.
	walBytesMax = 32 << 20
	// A file gives back pages when more than one in freeShare and at least freePagesMin
	// are free, so that a queue that fills and drains does not move pages for nothing.
	freeShare    = 4
	freePagesMin = 512
	// tidyPages is how many pages one step gives back, which takes milliseconds.
	tidyPages = 128
)

// tidying is what Tidy keeps.
type tidying struct {
	possible bool // the file was made with auto_vacuum = INCREMENTAL
	shrunk   bool // since the last checkpoint
}

func (db *DB) prepareTidy() error {
	mode, err := queryInt(db.w, "PRAGMA auto_vacuum")
	db.tidy.possible = mode == 2
	return err
}

// Tidy gives free pages back to the file system, a few at a time, and reports
// whether there is more to do. It is for the goroutine of Apply, when it has
// nothing else to do.
func (db *DB) Tidy() (more bool, err error) {
	if !db.tidy.possible || db.closed.Load() {
		return false, nil
	}
	if db.o.JournalMode != "WAL" {
		db.readMu.Lock()
		defer db.readMu.Unlock()
	}
	count, free, err := db.pages()
	if err != nil {
		return false, err
	}
	if free >= freePagesMin && free*freeShare > count {
		db.tidy.shrunk = true
		return true, db.w.Exec(fmt.Sprintf("PRAGMA incremental_vacuum(%d)", tidyPages))
	}
	if !db.tidy.shrunk || !db.snapshots.none() {
		return false, nil
	}
	db.tidy.shrunk = false
	if db.o.JournalMode != "WAL" {
		return false, nil
	}
	return false, db.beginWAL() // the file shrinks with the checkpoint
}

// boundWAL begins the WAL anew if it has become large.
func (db *DB) boundWAL() {
	if db.o.JournalMode == "WAL" && db.Stats().WALBytes > walBytesMax {
		_ = db.beginWAL() // nothing is lost if it fails; the next commit tries again
	}
}

// beginWAL checkpoints all of the WAL and cuts it to nothing, unless a snapshot needs it.
func (db *DB) beginWAL() error {
	db.readMu.Lock() // who reads pages is done soon
	defer db.readMu.Unlock()
	if !db.snapshots.none() {
		return nil
	}
	_, _, err := db.w.WALCheckpoint("main", sqlite3.CHECKPOINT_TRUNCATE)
	return err
}
