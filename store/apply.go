package store

import (
	"fmt"
	"maps"
	"slices"

	"github.com/ncruces/go-sqlite3"

	"github.com/x0a1b/promptmq/session"
)

// runBytesMax is about how large a run or a body row gets, in bytes, before the next
// one begins. What a page of a queue reads is a multiple of it.
const runBytesMax = 256 << 10

// statements are the prepared statements of the writer.
type statements struct {
	begin, commit                                      *sqlite3.Stmt
	putMeta, putSession, putSub, delSub                *sqlite3.Stmt
	putState, putWill, delWill, putRetained, delRetain *sqlite3.Stmt
	putRun, putBody, putRefs, delRuns, unref, delRefs  *sqlite3.Stmt
	delBody, lastTotal, hasBefore, count, free         *sqlite3.Stmt
	runAt, bodyAt, delRun, setRun, putUnsummed         *sqlite3.Stmt
	putOwed, delOwed, delRange                         *sqlite3.Stmt
	getSession, delSubs, delAllOwed, delSomeRuns       *sqlite3.Stmt
	end                                                [4]*sqlite3.Stmt
}

func (s *statements) prepare(c *sqlite3.Conn) error {
	for _, p := range []struct {
		stmt **sqlite3.Stmt
		sql  string
	}{
		{&s.begin, "BEGIN IMMEDIATE"},
		{&s.commit, "COMMIT"},
		{&s.putMeta, putMetaSQL},
		{&s.putSession, `INSERT INTO session VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO UPDATE SET
			client_id = excluded.client_id, user_name = excluded.user_name, version = excluded.version, expiry = excluded.expiry,
			connected = excluded.connected, expires_at = excluded.expires_at, sum = excluded.sum`},
		{&s.putSub, `INSERT INTO subscription VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET
			options = excluded.options, sub_id = excluded.sub_id, sum = excluded.sum`},
		{&s.delSub, "DELETE FROM subscription WHERE session = ?1 AND filter = ?2"},
		{&s.putOwed, `INSERT INTO owed VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET
			after = excluded.after, up_to = excluded.up_to, sum = excluded.sum`},
		{&s.delOwed, "DELETE FROM owed WHERE session = ?1 AND filter = ?2"},
		{&s.putState, "INSERT INTO state VALUES (?1, ?2) ON CONFLICT DO UPDATE SET data = excluded.data"},
		{&s.putWill, `INSERT INTO will VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET
			due_at = excluded.due_at, data = excluded.data`},
		{&s.delWill, "DELETE FROM will WHERE session = ?1"},
		{&s.putRetained, `INSERT INTO retained VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET
			version = excluded.version, data = excluded.data WHERE excluded.version > version`},
		{&s.delRetain, "DELETE FROM retained WHERE topic = ?1 AND version < ?2"},
		{&s.putRun, "INSERT INTO run (session, first, last, bytes, total, body, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"},
		{&s.hasBefore, "SELECT EXISTS (SELECT 1 FROM run WHERE session = ?1 AND first < ?2)"},
		{&s.putUnsummed, "INSERT INTO unsummed VALUES (?1) ON CONFLICT DO NOTHING"},
		{&s.getSession, "SELECT id, client_id, user_name, version, expiry, connected, expires_at FROM session WHERE id = ?1"},
		{&s.lastTotal, "SELECT total FROM run WHERE session = ?1 ORDER BY first DESC LIMIT 1"},
		{&s.putBody, "INSERT INTO body (data) VALUES (?1)"},
		{&s.putRefs, "INSERT INTO body_ref VALUES (?1, ?2)"},
		{&s.delRuns, "DELETE FROM run WHERE session = ?1 AND first < ?2 AND last < ?2 RETURNING body"},
		{&s.delSomeRuns, `DELETE FROM run WHERE id IN
			(SELECT id FROM run WHERE session = ?1 AND first < ?2 AND last < ?2 ORDER BY first LIMIT ?3) RETURNING body`},
		{&s.delRange, `DELETE FROM run WHERE id IN
			(SELECT id FROM run WHERE session = ?1 AND first >= ?2 AND first <= ?3 AND last <= ?3 ORDER BY first LIMIT ?4) RETURNING body`},
		{&s.unref, "UPDATE body_ref SET refs = refs - 1 WHERE id = ?1 RETURNING refs"},
		{&s.delRefs, "DELETE FROM body_ref WHERE id = ?1"},
		{&s.delBody, "DELETE FROM body WHERE id = ?1"},
		// As in Page: the run that contains ?2 is the last that begins before.
		{&s.runAt, `SELECT id, body, first, last, data FROM run WHERE session = ?1 AND last >= ?2 AND first >=
			coalesce((SELECT max(first) FROM run WHERE session = ?1 AND first <= ?2), 0) ORDER BY first LIMIT 1`},
		{&s.bodyAt, "SELECT data FROM body WHERE id = ?1"},
		{&s.delRun, "DELETE FROM run WHERE id = ?1"},
		{&s.setRun, "UPDATE run SET first = ?2, last = ?3, bytes = ?4, data = ?5 WHERE id = ?1"},
		{&s.delSubs, `DELETE FROM subscription WHERE session = ?1 AND filter IN
			(SELECT filter FROM subscription WHERE session = ?1 LIMIT ?2)`},
		{&s.delAllOwed, "DELETE FROM owed WHERE rowid IN (SELECT rowid FROM owed WHERE session = ?1 LIMIT ?2)"},
		{&s.end[0], "DELETE FROM unsummed WHERE session = ?1"},
		{&s.end[1], "DELETE FROM state WHERE session = ?1"},
		{&s.end[2], "DELETE FROM will WHERE session = ?1"},
		{&s.end[3], "DELETE FROM session WHERE id = ?1"},
	} {
		stmt, _, err := c.Prepare(p.sql)
		if err != nil {
			return fmt.Errorf("%s: %w", p.sql, err)
		}
		*p.stmt = stmt
	}
	return nil
}

// exec binds and runs a statement that returns no rows.
func exec(s *sqlite3.Stmt, args ...any) error {
	if err := bind(s, args); err != nil {
		return err
	}
	return s.Exec()
}

func bind(s *sqlite3.Stmt, args []any) error {
	for i, arg := range args {
		var err error
		switch v := arg.(type) {
		case int64:
			err = s.BindInt64(i+1, v)
		case []byte:
			err = s.BindBlob(i+1, v)
		case nil:
			err = s.BindNull(i + 1)
		default:
			err = fmt.Errorf("store: cannot bind %T", arg)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Apply writes b in one transaction. When it returns nil, b is on disk as far
// as the synchronous setting promises. After an error nothing of b is written
// and b may be applied again; the error is session.ErrNoSpace if the disk is
// full, and session.ErrStoreBusy if another program has locked the database for longer than
// Options.BusyTimeout. session.ErrStoreGone is final: the next start finds nothing that is written
// now. Apply keeps nothing of b.
func (db *DB) Apply(b *session.Batch) error {
	if err := db.Begin(b); err != nil {
		return err
	}
	return db.Commit()
}

func (db *DB) applyAll(b *session.Batch) error {
	ids := slices.Sorted(maps.Keys(b.Sessions))
	for _, id := range ids {
		if b.Sessions[id].Ended {
			if err := db.endSession(int64(id)); err != nil {
				return err
			}
		}
	}
	for _, id := range ids {
		if w := b.Sessions[id]; !w.Ended {
			if err := db.applySession(int64(id), w); err != nil {
				return err
			}
		}
	}
	if err := db.putEntries(b, ids); err != nil {
		return err
	}
	for topic, w := range b.Retained {
		if err := db.applyRetained(topic, w); err != nil {
			return err
		}
	}
	return db.putTime(b)
}

// applySession writes all of w but its entries.
func (db *DB) applySession(id int64, w *session.Writes) error {
	s := &db.stmts
	db.rows.Add(1)
	if r := w.Record; r != nil {
		if id >= db.reserved {
			db.reserved = id + sessionsPerOpen
			if err := db.putMeta(nextSessionKey, db.reserved); err != nil {
				return err
			}
		}
		if err := db.putSession(r); err != nil {
			return err
		}
	}
	if w.HasWill {
		if err := db.applyWill(id, w.Will); err != nil {
			return err
		}
	}
	for filter, sub := range w.Subscriptions {
		var err error
		if sub == nil {
			err = exec(s.delSub, id, []byte(filter))
		} else {
			options := packOptions(sub)
			err = exec(s.putSub, id, []byte(filter), options, int64(sub.ID), subscriptionSum(id, filter, options, int64(sub.ID)))
		}
		if err != nil {
			return err
		}
	}
	if err := db.applyOwed(id, w.Owed); err != nil {
		return err
	}
	if w.State != nil {
		db.packer.data = finishPacked(append(startPacked(db.packer.data), w.State...), kindState, uint64(id))
		if err := exec(s.putState, id, db.packer.data); err != nil {
			return err
		}
	}
	if w.Floor > 0 {
		if err := db.deleteRuns(id, int64(w.Floor), int64(w.FloorBefore)); err != nil {
			return err
		}
	}
	if err := db.discardRanges(id, w.DiscardedRanges); err != nil {
		return err
	}
	return db.discard(id, w.Discarded)
}

func (db *DB) putSession(r *session.Record) error {
	return exec(db.stmts.putSession, int64(r.ID), []byte(r.ClientID), []byte(r.UserName), int64(r.Version),
		int64(r.ExpirySeconds), boolInt(r.Connected), unixMilli(r.ExpiresAt), sessionSum(r))
}

func (db *DB) applyWill(id int64, w *session.Will) error {
	if w == nil {
		return exec(db.stmts.delWill, id)
	}
	db.packer.data = appendWill(db.packer.data, w, uint64(id))
	return exec(db.stmts.putWill, id, unixMilli(w.DueAt), db.packer.data)
}

func (db *DB) applyRetained(topic string, w session.RetainedWrite) error {
	db.rows.Add(1)
	if w.Message == nil {
		return exec(db.stmts.delRetain, []byte(topic), int64(w.Version))
	}
	db.packer.data = appendRetained(db.packer.data, topic, &w)
	return exec(db.stmts.putRetained, []byte(topic), int64(w.Version), db.packer.data)
}

func boolInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
