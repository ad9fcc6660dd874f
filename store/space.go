package store

import (
	"errors"
	"fmt"
	"math"

	"github.com/ncruces/go-sqlite3"

	"github.com/x0a1b/promptmq/session"
)

// Part of MaxSize is kept for what must always be written: removals, states,
// and what was accepted before the last of the room was known to be taken. It is
// one part in reserveShare, within the limits, in pages.
const (
	reserveShare    = 16
	reservePagesMin = 32
	reservePagesMax = 4096
)

// pagesUnlimited is SQLite's own limit of the pages of a database.
const pagesUnlimited = 4294967294

// A sizeLimit is MaxSize in pages.
type sizeLimit struct {
	pageBytes, pages, reserve int64 // pages is 0 without a limit
}

// limitSize makes SQLite refuse to let the file grow beyond MaxSize. Pages that
// are free may be used again, so that removing makes room.
func (db *DB) limitSize() (err error) {
	db.room.Store(math.MaxInt64)
	if db.stmts.count, _, err = db.w.Prepare("PRAGMA page_count"); err != nil {
		return err
	}
	if db.stmts.free, _, err = db.w.Prepare("PRAGMA freelist_count"); err != nil {
		return err
	}
	if db.o.MaxSize == 0 {
		return nil
	}
	l := &db.limit
	if l.pageBytes, err = queryInt(db.w, "PRAGMA page_size"); err != nil {
		return err
	}
	l.pages = max(1, db.o.MaxSize/l.pageBytes)
	l.reserve = min(max(l.pages/reserveShare, reservePagesMin), reservePagesMax)
	if err := db.capPages(l.pages); err != nil {
		return err
	}
	return db.measureRoom()
}

// capPages sets how many pages the file may have; SQLite never takes less than
// it has.
func (db *DB) capPages(pages int64) error {
	return db.w.Exec(fmt.Sprintf("PRAGMA max_page_count = %d", pages))
}

// measureRoom notes how much may be stored. It is called after every commit.
func (db *DB) measureRoom() error {
	l := &db.limit
	if l.pages == 0 {
		return nil
	}
	count, free, err := db.pages()
	if err != nil {
		return err
	}
	db.room.Store((l.pages - count + free - l.reserve) * l.pageBytes)
	return nil
}

// pages returns how many pages the file has, and how many of them are free.
func (db *DB) pages() (count, free int64, err error) {
	if count, err = stepInt(db.stmts.count); err != nil {
		return 0, 0, err
	}
	free, err = stepInt(db.stmts.free)
	return count, free, err
}

// Room is about how many bytes more may be stored before only the reserve of MaxSize is
// left; below zero, what must always be written has taken some of that. Any goroutine
// may call it.
func (db *DB) Room() int64 { return db.room.Load() }

// isFull reports whether an error means that there is no space, in the file or
// on the disk.
func isFull(err error) bool {
	return errors.Is(err, sqlite3.FULL) || errors.Is(err, sqlite3.IOERR_SHMSIZE) || isNoSpace(err)
}

// A noSpace is an error that is session.ErrNoSpace too.
type noSpace struct{ error }

func (e noSpace) Unwrap() error        { return e.error }
func (e noSpace) Is(target error) bool { return target == session.ErrNoSpace }

func stepInt(s *sqlite3.Stmt) (n int64, err error) {
	if s.Step() {
		n = s.ColumnInt64(0)
	}
	return n, s.Reset()
}
