package store

import (
	"errors"
	"fmt"

	"github.com/ncruces/go-sqlite3"

	"github.com/x0a1b/promptmq/session"
)

const (
	// pageRuns and pageReadBytes bound what one call of Page reads: a run may have a
	// single entry, in a body row of many messages. They bound as well how many rows the
	// caller changes if it removes what it got.
	pageRuns      = 128
	pageReadBytes = 4 << 20
)

// Page returns entries of a Session's queue with Seq >= from, in order: as many
// as whole runs give until one of the limits is reached, or it has read much, and
// at least one if there is any. It reads what is committed and does not disturb the writer.
func (db *DB) Page(id session.ID, from uint64, entriesMax, bytesMax int) ([]session.Entry, error) {
	db.readMu.Lock()
	defer db.readMu.Unlock()
	if db.closed.Load() {
		return nil, errClosed
	}
	s := db.page
	if err := bind(s, []any{int64(id), int64(from)}); err != nil {
		return nil, err
	}
	var entries []session.Entry
	bytes, read := 0, 0
	for runs := 0; runs < pageRuns && read < pageReadBytes && len(entries) < entriesMax && bytes < bytesMax && s.Step(); runs++ {
		had := len(entries)
		var err error
		if entries, err = db.unpackRowLocked(entries, s, id, from, &read); err != nil {
			_ = s.Reset() // the first error says what is wrong
			return nil, fmt.Errorf("the queue of session %d from %d on: %w", id, from, ifDamage(err))
		}
		for i := had; i < len(entries); i++ {
			bytes += entries[i].Bytes()
		}
	}
	return entries, ifDamage(s.Reset())
}

// openReader opens the second connection, at the start: later there may be no file
// descriptor for it.
func (db *DB) openReader() error {
	db.readMu.Lock()
	defer db.readMu.Unlock()
	c, err := db.connect()
	if err != nil {
		return err
	}
	if err := c.Exec("PRAGMA query_only = ON"); err != nil {
		_ = c.Close() // the first error says what is wrong
		return err
	}
	// The run that contains from, if it does not begin with it, is the last
	// that begins before: runs of a Session do not overlap.
	page, _, err := c.Prepare(`SELECT body, first, last, data FROM run WHERE session = ?1 AND last >= ?2 AND first >=
		coalesce((SELECT max(first) FROM run WHERE session = ?1 AND first <= ?2), 0) ORDER BY first`)
	if err != nil {
		_ = c.Close()
		return err
	}
	body, _, err := c.Prepare("SELECT data FROM body WHERE id = ?1")
	if err != nil {
		_ = errors.Join(page.Close(), c.Close())
		return err
	}
	db.r, db.page, db.body = c, page, body
	return nil
}

// unpackRowLocked appends the entries of the run that s is at, and adds the bytes that
// it read to read.
func (db *DB) unpackRowLocked(dst []session.Entry, s *sqlite3.Stmt, id session.ID, from uint64, read *int) ([]session.Entry, error) {
	body := s.ColumnInt64(0)
	run := runKey{session: uint64(id), first: uint64(s.ColumnInt64(1)), last: uint64(s.ColumnInt64(2))}
	data := s.ColumnRawBlob(3)
	*read += len(data)
	if body == 0 {
		return unpackRun(dst, run, data, nil, from)
	}
	if err := db.body.BindInt64(1, body); err != nil {
		return dst, err
	}
	if !db.body.Step() {
		if err := db.body.Reset(); err != nil {
			return dst, err
		}
		return dst, ErrDamaged
	}
	// Both views are borrowed until the next step, which follows the copy.
	shared := db.body.ColumnRawBlob(0)
	*read += len(shared)
	dst, err := unpackRun(dst, run, data, shared, from)
	if rerr := db.body.Reset(); err == nil {
		err = rerr
	}
	return dst, err
}
