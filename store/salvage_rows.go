package store

import (
	"fmt"

	"github.com/ncruces/go-sqlite3"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// A salvager reads every row that can be read, verifies it, and writes it to
// another database; without one it only counts.
type salvager struct {
	from   *sqlite3.Conn // nil: nothing can be read
	to     *sqlite3.Conn // nil: nothing is written
	tables []SalvagedTable
	put    map[string]*sqlite3.Stmt

	// lastBody is the body row read last: the runs of one commit share it and
	// stand together.
	lastBody   []byte
	lastBodyID int64

	sessions map[int64]bool // those recovered
	filters  map[int64]map[string]bool
	totals   map[int64]int64         // of each Session's queue
	bodies   map[int64]*salvagedBody // by their old ID

	users, rules int64 // those recovered
}

// A salvagedBody is a body row that recovered runs refer to.
type salvagedBody struct {
	id   int64 // in the new database
	refs int64
	bad  bool
}

// copyAll copies what can be read. Its error is one of writing.
func (s *salvager) copyAll() error {
	s.put = make(map[string]*sqlite3.Stmt)
	s.sessions, s.filters = make(map[int64]bool), make(map[int64]map[string]bool)
	s.totals, s.bodies = make(map[int64]int64), make(map[int64]*salvagedBody)
	defer func() {
		for _, stmt := range s.put {
			_ = stmt.Close() // its error is that of its last execution
		}
	}()
	for _, t := range []struct {
		name, columns string
		take          func(*sqlite3.Stmt) (bool, error)
	}{
		{"session", "id, client_id, user_name, version, expiry, connected, expires_at, " + s.sumOf("session", "6, id, client_id, user_name, version, expiry, connected, expires_at"), s.takeSession},
		{"state", "session, data", s.takeState},
		{"will", "session, due_at, data", s.takeWill},
		{"retained", "rowid, topic, version, data", s.takeRetained},
		{"run", "id, session, first, last, body, data", s.takeRun},
		{"owed", "rowid, session, filter, after, up_to, sum", s.takeOwed},
		{"user", "rowid, name, hash, scram, groups, disabled, changed, sum, " + s.roleOf(), s.takeUser},
		{"rule", "position, text, sum", s.takeRule},
	} {
		if s.predates(t.name) {
			continue
		}
		if err := s.scan(t.name, t.columns, t.take); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	if err := s.scanSubscriptions(); err != nil {
		return fmt.Errorf("subscription: %w", err)
	}
	for _, b := range s.bodies {
		if b.refs > 0 {
			if err := s.insert("INSERT INTO body_ref VALUES (?1, ?2)", b.id, b.refs); err != nil {
				return err
			}
		}
	}
	return s.countAccess()
}

// predates reports whether the database is of a version that had no such table.
func (s *salvager) predates(table string) bool {
	if s.from == nil {
		return false
	}
	version, err := queryInt(s.from, "PRAGMA user_version")
	if err != nil || version < 1 || version >= int64(len(migrations)) {
		return false // or that cannot be told
	}
	n, err := queryInt(s.from, "SELECT count(*) FROM sqlite_schema WHERE name = '"+table+"'")
	return err == nil && n == 0
}

// sumOf names the checksum column of a table, or computes it for a database of
// version 1, which has none.
func (s *salvager) sumOf(table, columns string) string {
	if s.from != nil {
		if stmt, _, err := s.from.Prepare("SELECT sum FROM " + table); err == nil {
			_ = stmt.Close() // never run
			return "sum"
		}
	}
	return "row_sum(" + columns + ")"
}

// insert writes one row. Two rows of one key are both of them whole: the first stays.
func (s *salvager) insert(sql string, args ...any) error {
	if s.to == nil {
		return nil
	}
	stmt := s.put[sql]
	if stmt == nil {
		var err error
		if stmt, _, err = s.to.Prepare(sql + " ON CONFLICT DO NOTHING"); err != nil {
			return err
		}
		s.put[sql] = stmt
	}
	return exec(stmt, args...)
}

// scan hands every readable row of a table to take, which reports whether it is
// sound, in the order of the rowid, the first column. Where the table cannot be
// read it goes on behind that place.
func (s *salvager) scan(table, columns string, take func(*sqlite3.Stmt) (bool, error)) error {
	s.tables = append(s.tables, SalvagedTable{Name: table})
	t := &s.tables[len(s.tables)-1]
	if s.from == nil {
		t.Unreadable++
		return nil
	}
	rows, _, err := s.from.Prepare("SELECT " + columns + " FROM " + table + " NOT INDEXED WHERE rowid >= ?1 ORDER BY rowid")
	if err != nil {
		t.Unreadable++
		return nil
	}
	defer func() { _ = rows.Close() }()
	for next := int64(-1 << 62); ; {
		if err := rows.BindInt64(1, next); err != nil {
			return err
		}
		for rows.Step() {
			if rows.ColumnInt64(0) < next {
				continue // out of order, so seen before or not to be trusted
			}
			next = rows.ColumnInt64(0) + 1
			ok, err := take(rows)
			if err != nil {
				return err
			}
			if ok {
				t.Recovered++
			} else {
				t.Lost++
			}
		}
		if rows.Reset() == nil {
			return nil
		}
		t.Unreadable++
		var more bool
		if next, more = s.behind(table, columns, next); !more {
			return nil
		}
	}
}

// behind returns the first rowid from which on rows can be read again.
func (s *salvager) behind(table, columns string, bad int64) (good int64, more bool) {
	probe, _, err := s.from.Prepare("SELECT " + columns + " FROM " + table + " NOT INDEXED WHERE rowid >= ?1 ORDER BY rowid LIMIT 1")
	if err != nil {
		return 0, false
	}
	defer func() { _ = probe.Close() }()
	readable := func(from int64) bool {
		if probe.BindInt64(1, from) != nil {
			return false
		}
		for probe.Step() {
			for i := range probe.ColumnCount() {
				_ = probe.ColumnRawBlob(i) // reads overflow pages
			}
		}
		return probe.Reset() == nil
	}
	step := int64(1)
	bad = max(bad, 0)
	for good = bad + step; !readable(good); good = bad + step {
		if step > 1<<60 {
			return 0, false
		}
		bad, step = good, 2*step
	}
	for good-bad > 1 {
		if mid := bad + (good-bad)/2; readable(mid) {
			good = mid
		} else {
			bad = mid
		}
	}
	return good, true
}

func (s *salvager) takeSession(row *sqlite3.Stmt) (ok bool, err error) {
	r := session.Record{
		ID: session.ID(row.ColumnInt64(0)), ClientID: string(row.ColumnRawBlob(1)), UserName: string(row.ColumnRawBlob(2)),
		Version: codec.Version(row.ColumnInt64(3)), ExpirySeconds: uint32(row.ColumnInt64(4)),
		Connected: row.ColumnInt64(5) != 0, ExpiresAt: timeOf(row.ColumnInt64(6)),
	}
	if row.ColumnInt64(7) != sessionSum(&r) {
		return false, nil
	}
	s.sessions[int64(r.ID)] = true
	return true, s.insert("INSERT INTO session VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)", int64(r.ID), []byte(r.ClientID),
		[]byte(r.UserName), int64(r.Version), int64(r.ExpirySeconds), boolInt(r.Connected), unixMilli(r.ExpiresAt), sessionSum(&r))
}

// owned reports whether the Session of a row was recovered. Without foreign keys
// a sound store may have rows of a Session that ended.
func (s *salvager) owned(id int64) bool { return s.to == nil || s.sessions[id] }

func (s *salvager) takeState(row *sqlite3.Stmt) (ok bool, err error) {
	id, data := row.ColumnInt64(0), row.ColumnRawBlob(1)
	if _, err := openPacked(data, kindState, uint64(id)); err != nil || !s.owned(id) {
		return false, nil
	}
	return true, s.insert("INSERT INTO state VALUES (?1, ?2)", id, clone(data))
}

func (s *salvager) takeWill(row *sqlite3.Stmt) (ok bool, err error) {
	id, due, data := row.ColumnInt64(0), row.ColumnInt64(1), row.ColumnRawBlob(2)
	if _, err := unpackWill(data, uint64(id), due); err != nil || !s.owned(id) {
		return false, nil
	}
	return true, s.insert("INSERT INTO will VALUES (?1, ?2, ?3)", id, due, clone(data))
}

func (s *salvager) takeRetained(row *sqlite3.Stmt) (ok bool, err error) {
	topic, version, data := string(row.ColumnRawBlob(1)), row.ColumnInt64(2), row.ColumnRawBlob(3)
	if _, err := unpackRetained(data, topic, uint64(version)); err != nil {
		return false, nil
	}
	return true, s.insert("INSERT INTO retained VALUES (?1, ?2, ?3)", []byte(topic), version, clone(data))
}

func (s *salvager) takeRun(row *sqlite3.Stmt) (ok bool, err error) {
	id, body, data := row.ColumnInt64(1), row.ColumnInt64(4), clone(row.ColumnRawBlob(5))
	key := runKey{session: uint64(id), first: uint64(row.ColumnInt64(2)), last: uint64(row.ColumnInt64(3))}
	if !s.owned(id) {
		return false, nil
	}
	var shared []byte
	if body != 0 {
		if shared = s.body(body); shared == nil {
			return false, nil
		}
	}
	entries, err := unpackRun(nil, key, data, shared, 0)
	if err != nil || len(entries) == 0 {
		return false, nil
	}
	var ref any
	if body != 0 {
		if ref, err = s.putBody(body, shared); err != nil {
			return false, err
		}
	}
	bytes := int64(0)
	for i := range entries {
		bytes += int64(entries[i].Bytes())
	}
	s.totals[id] += bytes
	return true, s.insert("INSERT INTO run (session, first, last, bytes, total, body, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
		id, int64(key.first), int64(key.last), bytes, s.totals[id], ref, data)
}

// body reads a body row; nil: it cannot be read.
func (s *salvager) body(id int64) (data []byte) {
	if b := s.bodies[id]; b != nil && b.bad {
		return nil
	}
	if id == s.lastBodyID {
		return s.lastBody
	}
	stmt, _, err := s.from.Prepare("SELECT data FROM body WHERE id = ?1")
	if err == nil {
		defer func() { _ = stmt.Close() }()
		if err = stmt.BindInt64(1, id); err == nil && stmt.Step() {
			data = clone(stmt.ColumnRawBlob(0))
		}
	}
	if _, err := openPacked(data, kindBody); err != nil {
		s.bodies[id] = &salvagedBody{bad: true}
		return nil
	}
	s.lastBody, s.lastBodyID = data, id
	return data
}

// putBody writes a body row that a sound run refers to, once, and counts.
func (s *salvager) putBody(id int64, data []byte) (newID int64, err error) {
	b := s.bodies[id]
	if b == nil {
		b = &salvagedBody{}
		s.bodies[id] = b
		if err := s.insert("INSERT INTO body (data) VALUES (?1)", data); err != nil {
			return 0, err
		}
		if s.to != nil {
			b.id = s.to.LastInsertRowID()
		}
	}
	b.refs++
	return b.id, nil
}
