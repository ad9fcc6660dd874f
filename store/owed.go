package store

import (
	"fmt"

	"github.com/ncruces/go-sqlite3"

	"github.com/x0a1b/promptmq/session"
)

// applyOwed writes what subscriptions have still to be sent of the retained messages.
func (db *DB) applyOwed(id int64, owed map[string]session.Owed) error {
	for filter, o := range owed {
		var err error
		if o == (session.Owed{}) {
			err = exec(db.stmts.delOwed, id, []byte(filter))
		} else {
			err = exec(db.stmts.putOwed, id, []byte(filter), int64(o.After), int64(o.UpTo), owedSum(id, filter, o))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func owedSum(id int64, filter string, o session.Owed) int64 {
	return columnSum(kindOwed, uint64(id), textKey(filter), o.After, o.UpTo)
}

// loadOwed returns what is owed to the subscriptions of each Session. Nearly all are
// owed nothing, and are left out.
func (db *DB) loadOwed() (map[session.ID]map[string]session.Owed, error) {
	all := make(map[session.ID]map[string]session.Owed)
	return all, db.query("SELECT session, filter, after, up_to, sum FROM owed", func(s *sqlite3.Stmt) error {
		id, filter, o := owedOf(s, 0)
		if s.ColumnInt64(4) != owedSum(id, filter, o) {
			return fmt.Errorf("what is owed to %q: %w", filter, ErrDamaged)
		}
		if all[session.ID(id)] == nil {
			all[session.ID(id)] = make(map[string]session.Owed)
		}
		all[session.ID(id)][filter] = o
		return nil
	})
}

// owedOf reads a row from this column on.
func owedOf(s *sqlite3.Stmt, column int) (id int64, filter string, o session.Owed) {
	return s.ColumnInt64(column), string(s.ColumnRawBlob(column + 1)),
		session.Owed{After: uint64(s.ColumnInt64(column + 2)), UpTo: uint64(s.ColumnInt64(column + 3))}
}

func (s *salvager) takeOwed(row *sqlite3.Stmt) (ok bool, err error) {
	id, filter, o := owedOf(row, 1)
	if sum := row.ColumnInt64(5); !s.owned(id) || sum != owedSum(id, filter, o) {
		return false, nil
	}
	return true, s.insert("INSERT INTO owed VALUES (?1, ?2, ?3, ?4, ?5)",
		id, []byte(filter), int64(o.After), int64(o.UpTo), owedSum(id, filter, o))
}
