package store

import (
	"errors"
	"fmt"

	"github.com/ncruces/go-sqlite3"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// Load calls eachSession for every stored Session and eachRetained for every
// retained message. Queues are not read; of each, an index tells the extent.
func (db *DB) Load(eachSession func(*session.Loaded) error,
	eachRetained func(topic string, version uint64, m *session.Message) error) error {
	if broken("load-stalls") {
		select {}
	}
	if err := db.loadSessions(eachSession); err != nil {
		return ifDamage(err)
	}
	return ifDamage(db.query("SELECT topic, version, data FROM retained", func(s *sqlite3.Stmt) error {
		topic, version := string(s.ColumnRawBlob(0)), uint64(s.ColumnInt64(1))
		m, err := unpackRetained(s.ColumnRawBlob(2), topic, version)
		if err != nil {
			return fmt.Errorf("the retained message of %q: %w", topic, err)
		}
		return eachRetained(topic, version, m)
	}))
}

func (db *DB) loadSessions(each func(*session.Loaded) error) error {
	subs, _, err := db.w.Prepare("SELECT filter, options, sub_id, sum FROM subscription WHERE session = ?1")
	if err != nil {
		return err
	}
	defer func() { _ = subs.Close() }() // its error is that of Step
	ends, _, err := db.w.Prepare(`SELECT * FROM (SELECT first, last, bytes, total FROM run WHERE session = ?1 ORDER BY first LIMIT 1)
		UNION ALL SELECT * FROM (SELECT first, last, bytes, total FROM run WHERE session = ?1 ORDER BY first DESC LIMIT 1)`)
	if err != nil {
		return err
	}
	defer func() { _ = ends.Close() }()
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
			if err := errors.Join(loadSubscriptions(subs, l), loadExtent(ends, l)); err != nil {
				return fmt.Errorf("the session of client %q: %w", l.Record.ClientID, err)
			}
			l.Owed = owed[l.Record.ID]
			return each(l)
		})
}

func loadSession(s *sqlite3.Stmt) (*session.Loaded, error) {
	l := &session.Loaded{Record: session.Record{
		ID: session.ID(s.ColumnInt64(0)), ClientID: string(s.ColumnRawBlob(1)), UserName: string(s.ColumnRawBlob(2)),
		Version: codec.Version(s.ColumnInt64(3)), ExpirySeconds: uint32(s.ColumnInt64(4)),
		Connected: s.ColumnInt64(5) != 0, ExpiresAt: timeOf(s.ColumnInt64(6)),
	}}
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

// loadExtent fills in what the first and the last run of the queue tell of it.
func loadExtent(s *sqlite3.Stmt, l *session.Loaded) error {
	if err := s.BindInt64(1, int64(l.Record.ID)); err != nil {
		return err
	}
	var first, last, before, total int64
	for i := 0; s.Step(); i++ {
		last, total = s.ColumnInt64(1), s.ColumnInt64(3)
		if i == 0 {
			first, before = s.ColumnInt64(0), total-s.ColumnInt64(2)
		}
	}
	if err := s.Reset(); err != nil || last == 0 {
		return err
	}
	if first <= 0 || last < first || before < 0 || total < before {
		return ErrDamaged
	}
	l.FirstSeq, l.NextSeq, l.QueuedBytes = uint64(first), uint64(last)+1, uint64(total-before)
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
			_ = s.Reset() // the damage is what tells
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
