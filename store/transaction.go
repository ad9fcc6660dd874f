package store

import (
	"errors"

	"github.com/ncruces/go-sqlite3"

	"github.com/x0a1b/promptmq/session"
)

var (
	errTransaction   = errors.New("there is a transaction already")
	errNoTransaction = errors.New("there is no transaction")
)

// A transaction is the one that the writer is in.
type transaction struct {
	open   bool
	empty  bool // there is nothing to write
	alone  bool // readMu is held
	beyond bool // the file may exceed MaxSize
	// What the fields of DB with these names were before.
	reserved int64
	clock    clockReading
}

// Begin writes b in a transaction that Commit or Rollback ends; nothing else that is for the
// goroutine of Apply, nor Close, is called before. Readers do not see it: they go on with a WAL,
// and wait for the end without one. An error is that of Apply, and leaves no transaction. Begin
// keeps nothing of b.
func (db *DB) Begin(b *session.Batch) error {
	if db.tx.open {
		return errTransaction
	}
	if len(b.Sessions) == 0 && len(b.Retained) == 0 && !db.clockDue(b) {
		db.tx = transaction{open: true, empty: true}
		return nil
	}
	if db.closed.Load() {
		return errClosed
	}
	if broken("disk-stalls") && len(b.Retained) > 0 {
		select {}
	}
	return db.begin(func() error { return db.applyAll(b) })
}

// Commit ends what Begin began. When it returns nil, that is on disk as far as the synchronous
// setting promises. An error is that of Apply; then nothing of it is written.
func (db *DB) Commit() error {
	if !db.tx.open {
		return errNoTransaction
	}
	defer db.end()
	if db.tx.empty {
		return nil
	}
	if err := db.stmts.commit.Exec(); err != nil {
		db.undo()
		return db.failure(err)
	}
	if gone := db.Gone(); gone != nil {
		return gone
	}
	db.committed()
	return nil
}

// Rollback takes back what Begin wrote, if there is a transaction.
func (db *DB) Rollback() {
	if db.tx.open && !db.tx.empty {
		db.undo()
	}
	db.end()
}

// transact has fn change something in a transaction of its own.
func (db *DB) transact(fn func() error) error {
	if err := db.begin(fn); err != nil {
		return err
	}
	return db.Commit()
}

// begin begins a transaction in which fn changes something: beyond MaxSize, if that left no
// room for it. Whoever filled a batch looked at Room first, so what it holds was promised, and
// users and rules are few: the file exceeds MaxSize by as much as that takes, until removals
// make up for it.
func (db *DB) begin(fn func() error) (err error) {
	if db.tx.open {
		return errTransaction
	}
	db.tx = transaction{open: true, reserved: db.reserved, clock: db.clock}
	if db.o.JournalMode != "WAL" {
		db.readMu.Lock()
		db.tx.alone = true
	}
	begun := false
	defer func() { // after a panic too
		if !begun {
			db.Rollback()
		}
	}()
	if err = db.try(fn); isFull(err) && db.limit.pages > 0 {
		db.undo()
		if lifted := db.capPages(pagesUnlimited); lifted == nil {
			db.tx.beyond = true
			err = db.try(fn)
		}
	}
	begun = err == nil
	return db.failure(err)
}

// try begins a transaction of SQLite and has fn change something in it.
func (db *DB) try(fn func() error) error {
	db.startRemoving()
	if err := db.stmts.begin.Exec(); err != nil {
		return err
	}
	return fn()
}

// undo takes back what the transaction of SQLite has changed.
func (db *DB) undo() {
	rollback(db.w)
	db.reserved, db.clock = db.tx.reserved, db.tx.clock
}

// end follows the end of a transaction of SQLite.
func (db *DB) end() {
	if db.tx.beyond {
		_ = db.capPages(db.limit.pages) // without the cap, Room still refuses
	}
	if db.tx.alone {
		db.readMu.Unlock()
	}
	db.tx = transaction{}
}

// failure makes of the error of a transaction the one to return.
func (db *DB) failure(err error) error {
	if err == nil {
		return nil
	}
	if gone := db.Gone(); gone != nil { // it may have failed because of this
		return gone
	}
	if isFull(err) {
		return noSpace{err}
	}
	if errors.Is(err, sqlite3.BUSY) {
		return busy{err}
	}
	return err
}

// A busy is an error that is session.ErrStoreBusy too.
type busy struct{ error }

func (e busy) Unwrap() error        { return e.error }
func (e busy) Is(target error) bool { return target == session.ErrStoreBusy }

// committed follows a commit.
func (db *DB) committed() {
	db.noteRemoved()
	db.commits.Add(1)
	db.boundWAL()
	_ = db.measureRoom() // the commit succeeded all the same; the last figure stands until the next
}
