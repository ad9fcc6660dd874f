package store

import (
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// A queue that is done, or a Session that has ended, may be millions of rows, and
// acknowledgements wait while a transaction removes them. So each transaction removes
// some, and Remove goes on with the rest, one transaction at a time. The first writes
// what is left to do, so that a start after a crash can go on: a Session's State says
// from where on its queue is not done, and the row of a Session that has ended says so.
const (
	// removeRowsMax is how many rows of queues and Sessions one transaction removes,
	// apart from those that are known to be few.
	removeRowsMax = 512
	// removeTimeMax is how long it may remove rows.
	removeTimeMax = 10 * time.Millisecond
	// removeChunk is how many rows one statement removes.
	removeChunk = 32
	// wholeQueue is above every Seq.
	wholeQueue = 1 << 62
)

// endedAt is the end of a Session that is being removed: no other ended then.
var endedAt = time.UnixMilli(1)

// A removing is what one transaction removes.
type removing struct {
	rows    int // so far
	left    int // how many more it may remove
	chunk   int // how many one statement removes
	began   time.Time
	pending map[int64]int64 // by Session: runs below this Seq are left to remove
}

func (db *DB) startRemoving() {
	db.removing = removing{left: removeRowsMax, chunk: removeChunk}
	if n := db.o.RemoveRows; n > 0 {
		db.removing.left, db.removing.chunk = n, min(n, removeChunk)
	}
}

// more returns how many rows the next statement may remove; 0: no more in this
// transaction. The first may always remove some, however slow the machine is.
func (r *removing) more() int {
	if broken("removal-not-bounded") {
		return r.chunk
	}
	if r.began.IsZero() {
		r.began = time.Now()
	} else if time.Since(r.began) > removeTimeMax {
		return 0
	}
	return min(r.chunk, r.left)
}

func (r *removing) count(rows int) {
	r.rows += rows
	r.left = max(0, r.left-rows)
}

// later notes that runs below floor are left.
func (r *removing) later(id, floor int64) {
	if r.pending == nil {
		r.pending = make(map[int64]int64)
	}
	r.pending[id] = max(r.pending[id], floor)
}

// noteRemoved takes over what a committed transaction left to remove.
func (db *DB) noteRemoved() {
	for id, floor := range db.removing.pending {
		db.removals[id] = max(db.removals[id], floor)
	}
	if n := uint64(db.removing.rows); n > db.removedMost.Load() {
		db.removedMost.Store(n)
	}
	db.removalsLeft.Store(int64(len(db.removals)))
}

// Removing reports whether Remove has something to do.
func (db *DB) Removing() bool { return len(db.removals) > 0 }

// Remove removes some of what earlier transactions left to remove, in one of its
// own, and reports whether there is more. It is for the goroutine of Apply.
func (db *DB) Remove() (more bool, err error) {
	if len(db.removals) == 0 || db.closed.Load() {
		return false, nil
	}
	var done []int64
	err = db.transact(func() error {
		done = done[:0]
		for id, floor := range db.removals {
			if db.removing.more() == 0 {
				break
			}
			all, err := db.removePart(id, floor)
			if err != nil {
				return err
			}
			if !all {
				break
			}
			done = append(done, id)
		}
		return nil
	})
	if err != nil {
		return true, err
	}
	for _, id := range done {
		delete(db.removals, id)
	}
	db.removalsLeft.Store(int64(len(db.removals)))
	return len(db.removals) > 0, nil
}

func (db *DB) removePart(id, floor int64) (all bool, err error) {
	if floor == wholeQueue {
		return db.removeSession(id)
	}
	return db.removeRuns(id, floor)
}

// endSession removes a Session: all of it, or else some, and marks the rest as ended, so
// that the next start does not bring it back.
func (db *DB) endSession(id int64) error {
	all, err := db.removeSession(id)
	if err != nil || all {
		return err
	}
	db.removing.later(id, wholeQueue)
	if broken("end-not-marked") {
		return nil
	}
	if err := exec(db.stmts.delWill, id); err != nil {
		return err
	}
	r, err := db.readRecord(id)
	if err != nil || r == nil {
		return err
	}
	r.ExpirySeconds, r.Connected, r.ExpiresAt = 0, false, endedAt
	return db.putSession(r)
}

// ended reports whether a Session is being removed.
func ended(r *session.Record) bool {
	return r.ExpirySeconds == 0 && !r.Connected && r.ExpiresAt.Equal(endedAt)
}

// removeSession removes a Session, as far as this transaction may.
func (db *DB) removeSession(id int64) (all bool, err error) {
	if all, err = db.removeRuns(id, wholeQueue); err != nil || !all {
		return false, err
	}
	for _, s := range []*sqlite3.Stmt{db.stmts.delSubs, db.stmts.delAllOwed} {
		if all, err = db.removeRows(s, id); err != nil || !all {
			return false, err
		}
	}
	for _, s := range db.stmts.end {
		if err := exec(s, id); err != nil {
			return false, err
		}
	}
	return true, nil
}

// removeRows removes rows of a Session by a statement that takes a limit.
func (db *DB) removeRows(s *sqlite3.Stmt, id int64) (all bool, err error) {
	for {
		n := db.removing.more()
		if n == 0 {
			return false, nil
		}
		if err := exec(s, id, int64(n)); err != nil {
			return false, err
		}
		removed := int(db.w.Changes())
		if db.removing.count(removed); removed < n {
			return true, nil
		}
	}
}

// deleteRuns removes the runs wholly below floor, and the bodies that only they
// referred to; what this transaction may not remove is left to Remove. before is
// the floor of the transaction before; 0: not known. Where it shows that there
// are few, which is nearly always, the statement need not count them.
func (db *DB) deleteRuns(id, floor, before int64) error {
	if before > 0 && floor-before <= int64(db.removing.chunk) && db.removals[id] == 0 {
		_, err := db.removeWith(db.stmts.delRuns, id, floor)
		return err
	}
	all, err := db.removeRuns(id, floor)
	if err == nil && !all {
		db.removing.later(id, floor)
	}
	return err
}

// removeRuns removes runs wholly below floor, as far as this transaction may.
func (db *DB) removeRuns(id, floor int64) (all bool, err error) {
	for {
		n := db.removing.more()
		if n == 0 {
			return false, nil
		}
		removed, err := db.removeWith(db.stmts.delSomeRuns, id, floor, int64(n))
		if err != nil || removed < n {
			return true, err
		}
	}
}

// removeWith removes runs by a statement, with the bodies that only they referred to.
func (db *DB) removeWith(s *sqlite3.Stmt, args ...any) (removed int, err error) {
	if err := bind(s, args); err != nil {
		return 0, err
	}
	bodies := db.packer.bodies[:0]
	for s.Step() {
		removed++
		if body := s.ColumnInt64(0); body != 0 {
			bodies = append(bodies, body)
		}
	}
	db.packer.bodies = bodies
	if err := s.Reset(); err != nil {
		return removed, err
	}
	db.removing.count(removed)
	for _, body := range bodies {
		if err := db.unrefBody(body); err != nil {
			return removed, err
		}
	}
	return removed, nil
}

// unrefBody takes back one reference to a body row, and removes the row with the
// last one.
func (db *DB) unrefBody(id int64) error {
	s := db.stmts.unref
	if err := bind(s, []any{id}); err != nil {
		return err
	}
	refs := int64(0)
	for s.Step() {
		refs = s.ColumnInt64(0)
	}
	if err := s.Reset(); err != nil {
		return err
	}
	if refs > 0 {
		return nil
	}
	db.removing.count(1)
	if err := exec(db.stmts.delRefs, id); err != nil {
		return err
	}
	return exec(db.stmts.delBody, id)
}

// readRecord reads the row of a Session; nil: it has none.
func (db *DB) readRecord(id int64) (r *session.Record, err error) {
	s := db.stmts.getSession
	if err := bind(s, []any{id}); err != nil {
		return nil, err
	}
	if s.Step() {
		r = recordOf(s)
	}
	return r, s.Reset()
}

// recordOf reads the columns of a Session's row, from the first on.
func recordOf(s *sqlite3.Stmt) *session.Record {
	return &session.Record{
		ID: session.ID(s.ColumnInt64(0)), ClientID: string(s.ColumnRawBlob(1)), UserName: string(s.ColumnRawBlob(2)),
		Version: codec.Version(s.ColumnInt64(3)), ExpirySeconds: uint32(s.ColumnInt64(4)),
		Connected: s.ColumnInt64(5) != 0, ExpiresAt: timeOf(s.ColumnInt64(6)),
	}
}
