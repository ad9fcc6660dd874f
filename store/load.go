package store

import (
	"errors"
	"fmt"

	"github.com/ncruces/go-sqlite3"

	"github.com/x0a1b/promptmq/session"
)

// Load calls eachSession for every stored Session and eachRetained for every
// retained message. Queues are not read; of each, an index tells the extent.
func (db *DB) Load(eachSession func(*session.Loaded) error,
	eachRetained func(topic string, r *session.RetainedWrite) error) error {
	if broken("load-stalls") {
		select {}
	}
	if err := db.loadSessions(eachSession); err != nil {
		return ifDamage(err)
	}
	return ifDamage(db.query("SELECT topic, version, data FROM retained", func(s *sqlite3.Stmt) error {
		topic, version := string(s.ColumnRawBlob(0)), uint64(s.ColumnInt64(1))
		r, err := unpackRetained(s.ColumnRawBlob(2), topic, version)
		if err != nil {
			return fmt.Errorf("the retained message of %q: %w", topic, err)
		}
		return eachRetained(topic, r)
	}))
}

func (db *DB) loadSessions(each func(*session.Loaded) error) error {
	subs, _, err := db.w.Prepare("SELECT filter, options, sub_id, sum FROM subscription WHERE session = ?1")
	if err != nil {
		return err
	}
	defer func() { _ = subs.Close() }() // its error is that of Step
	var e extents
	if err := e.prepare(db.w); err != nil {
		return err
	}
	defer e.close()
	defer func() { db.removalsLeft.Store(int64(len(db.removals))) }()
	owed, err := db.loadOwed()
	if err != nil {
		return err
	}
	return db.query(`SELECT id, client_id, user_name, version, expiry, connected, expires_at,
		(SELECT data FROM state WHERE session = id), will.due_at, will.data,
		session.sum FROM session LEFT JOIN will ON will.session = session.id ORDER BY id`,
		func(s *sqlite3.Stmt) error {
			l, err := loadSession(s)
			if err != nil {
				return fmt.Errorf("the session of client %q: %w", s.ColumnRawBlob(1), err)
			}
			if ended(&l.Record) {
				db.removals[int64(l.Record.ID)] = wholeQueue
				return nil
			}
			if err := errors.Join(loadSubscriptions(subs, l), db.loadExtent(&e, l)); err != nil {
				return fmt.Errorf("the session of client %q: %w", l.Record.ClientID, err)
			}
			l.Owed = owed[l.Record.ID]
			return each(l)
		})
}

func loadSession(s *sqlite3.Stmt) (*session.Loaded, error) {
	l := &session.Loaded{Record: *recordOf(s)}
	if s.ColumnInt64(10) != sessionSum(&l.Record) {
		return nil, ErrDamaged
	}
	if s.ColumnType(7) != sqlite3.NULL {
		state, err := openPacked(s.ColumnRawBlob(7), kindState, uint64(l.Record.ID))
		if err != nil {
			return nil, err
		}
		l.State = clone(state)
	}
	if s.ColumnType(9) != sqlite3.NULL {
		will, err := unpackWill(s.ColumnRawBlob(9), uint64(l.Record.ID), s.ColumnInt64(8))
		if err != nil {
			return nil, err
		}
		l.Will = will
	}
	return l, nil
}

// extents are the statements that find out how far queues go.
type extents struct {
	oldest, ends, sum *sqlite3.Stmt
	unsummed          map[int64]bool
}

func (e *extents) prepare(c *sqlite3.Conn) (err error) {
	for _, p := range []struct {
		stmt **sqlite3.Stmt
		sql  string
	}{
		{&e.oldest, "SELECT last FROM run WHERE session = ?1 ORDER BY first LIMIT 1"},
		// As in Page: the run that contains ?2 is the last that begins before.
		{&e.ends, `SELECT * FROM (SELECT first, last, bytes, total FROM run WHERE session = ?1 AND last >= ?2 AND first >=
			coalesce((SELECT max(first) FROM run WHERE session = ?1 AND first <= ?2), 0) ORDER BY first LIMIT 1)
			UNION ALL SELECT * FROM (SELECT first, last, bytes, total FROM run WHERE session = ?1 AND last >= ?2 ORDER BY first DESC LIMIT 1)`},
		{&e.sum, "SELECT coalesce(sum(bytes), 0) FROM run WHERE session = ?1 AND first >= ?2"},
	} {
		if *p.stmt, _, err = c.Prepare(p.sql); err != nil {
			return fmt.Errorf("%s: %w", p.sql, err)
		}
	}
	e.unsummed = make(map[int64]bool)
	s, _, err := c.Prepare("SELECT session FROM unsummed")
	if err != nil {
		return err
	}
	for s.Step() {
		e.unsummed[s.ColumnInt64(0)] = true
	}
	return s.Close()
}

func (e *extents) close() {
	for _, s := range []*sqlite3.Stmt{e.oldest, e.ends, e.sum} {
		_ = s.Close() // its error is that of Step
	}
}

// loadExtent fills in what the first and the last run of the queue tell of it, and
// notes runs that are left to remove, below where the State says that it begins.
func (db *DB) loadExtent(e *extents, l *session.Loaded) error {
	id, floor := int64(l.Record.ID), int64(0)
	var st session.State
	if st.Decode(l.State) == nil { // else restoring the Session fails
		floor = int64(st.Floor)
	}
	if err := bind(e.oldest, []any{id}); err != nil {
		return err
	}
	oldest, err := stepInt(e.oldest)
	if err != nil || oldest == 0 {
		return err
	}
	if oldest < floor {
		db.removals[id] = floor
	}
	if err := bind(e.ends, []any{id, floor}); err != nil {
		return err
	}
	var first, last, before, total int64
	for i := 0; e.ends.Step(); i++ {
		last, total = e.ends.ColumnInt64(1), e.ends.ColumnInt64(3)
		if i == 0 {
			first, before = e.ends.ColumnInt64(0), total-e.ends.ColumnInt64(2)
		}
	}
	if err := e.ends.Reset(); err != nil || last == 0 {
		return err
	}
	if first <= 0 || last < first || before < 0 || total < before {
		return ErrDamaged
	}
	bytes := total - before
	if e.unsummed[id] {
		if err := bind(e.sum, []any{id, first}); err != nil {
			return err
		}
		if bytes, err = stepInt(e.sum); err != nil {
			return err
		}
	}
	l.FirstSeq, l.NextSeq, l.QueuedBytes = uint64(first), uint64(last)+1, uint64(bytes)
	return nil
}

func loadSubscriptions(s *sqlite3.Stmt, l *session.Loaded) error {
	if err := s.BindInt64(1, int64(l.Record.ID)); err != nil {
		return err
	}
	for s.Step() {
		sub := session.Subscription{Filter: string(s.ColumnRawBlob(0)), ID: uint32(s.ColumnInt64(2))}
		options := s.ColumnInt64(1)
		if s.ColumnInt64(3) != subscriptionSum(int64(l.Record.ID), sub.Filter, options, int64(sub.ID)) {
			_ = s.Reset() // the damage says what is wrong
			return ErrDamaged
		}
		unpackOptions(&sub, options)
		l.Subscriptions = append(l.Subscriptions, sub)
	}
	return s.Reset()
}

// query calls fn for each row.
func (db *DB) query(sql string, fn func(*sqlite3.Stmt) error) error {
	s, _, err := db.w.Prepare(sql)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // its error is that of Step
	for s.Step() {
		if err := fn(s); err != nil {
			return err
		}
	}
	return s.Err()
}
