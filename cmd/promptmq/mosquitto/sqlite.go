package mosquitto

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/ncruces/go-sqlite3"
	_ "github.com/ncruces/go-sqlite3/vfs" // files of the operating system
)

// sqliteMagic is how an SQLite database begins.
const sqliteMagic = "SQLite format 3\x00"

// sqliteColumns are what is read of the tables of Mosquitto 2.1.
var sqliteColumns = []struct {
	table   string
	columns []string
}{
	{"base_msgs", []string{"store_id", "expiry_time", "topic", "payload", "source_id", "source_username", "qos", "retain", "properties"}},
	{"retains", []string{"topic", "store_id"}},
	{"clients", []string{"client_id", "username", "session_expiry_time", "session_expiry_interval"}},
	{"subscriptions", []string{"client_id", "topic", "subscription_options", "subscription_identifier"}},
	{"client_msgs", []string{"client_id", "cmsg_id", "store_id", "direction", "mid", "qos", "retain", "state", "subscription_identifier"}},
}

// A database21 is the SQLite database of Mosquitto 2.1.
type database21 struct {
	name string
	c    *sqlite3.Conn
	temp string // a folder with the copy that is read; empty: the file itself is
}

// openSQLite opens a database and looks whether it is one of Mosquitto 2.1.
func openSQLite(file string, r *Report) (*database21, error) {
	db := &database21{name: file}
	err := db.open()
	if err == nil {
		err = db.checkColumns()
	}
	if err == nil {
		err = db.tell(r)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", file, err), db.Close())
	}
	return db, nil
}

// open opens the file itself if all is in it. If there is a log beside it, SQLite would
// write there to read it: then a copy is read.
func (db *database21) open() (err error) {
	beside := int64(0)
	for _, suffix := range []string{"-wal", "-journal"} {
		info, err := os.Stat(db.name + suffix)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err == nil {
			beside += info.Size()
		}
	}
	if beside == 0 {
		db.c, err = sqlite3.OpenFlags(uriOf(db.name)+"?immutable=1", sqlite3.OPEN_READONLY|sqlite3.OPEN_URI)
		return err
	}
	if db.temp, err = os.MkdirTemp("", "promptmq-import-"); err != nil {
		return err
	}
	to := filepath.Join(db.temp, "copy")
	for _, suffix := range []string{"", "-wal", "-journal"} {
		if err := copyFile(to+suffix, db.name+suffix); err != nil && (suffix == "" || !errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	db.c, err = sqlite3.OpenFlags(uriOf(to), sqlite3.OPEN_READWRITE|sqlite3.OPEN_URI)
	return err
}

func uriOf(path string) string {
	path, _ = filepath.Abs(path) // fails if there is no current directory: then it stays
	return (&url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path)}).String()
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // only read
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// checkColumns returns an error unless all is there that is read.
func (db *database21) checkColumns() error {
	for _, t := range sqliteColumns {
		there := make(map[string]bool)
		for row, err := range db.rows("SELECT name FROM pragma_table_info(?1)", t.table) {
			if err != nil {
				return err
			}
			there[row.ColumnText(0)] = true
		}
		if len(there) == 0 {
			return fmt.Errorf("it has no table %s: it is not the database of Mosquitto 2.1's persist-sqlite", t.table)
		}
		for _, column := range t.columns {
			if !there[column] {
				return fmt.Errorf("its table %s has no column %s: it is of a version of Mosquitto that is not known", t.table, column)
			}
		}
	}
	return nil
}

// tell reports what belongs to nothing, and what is not taken.
func (db *database21) tell(r *Report) error {
	for _, left := range []struct{ sql, what, why string }{
		{"SELECT count(*) FROM subscriptions WHERE client_id NOT IN (SELECT client_id FROM clients)", "subscriptions of clients without a session", "the database has no session of these clients"},
		{"SELECT count(*) FROM client_msgs WHERE client_id NOT IN (SELECT client_id FROM clients)", "messages of clients without a session", "the database has no session of these clients"},
		{`SELECT (SELECT count(*) FROM client_msgs WHERE store_id NOT IN (SELECT store_id FROM base_msgs)) +
			(SELECT count(*) FROM retains WHERE store_id NOT IN (SELECT store_id FROM base_msgs))`, "messages that are not in the database", "it refers to them"},
		{"SELECT count(*) FROM sqlite_schema WHERE name = 'wills'", "", ""},
	} {
		var n int64
		for row, err := range db.rows(left.sql) {
			if err != nil {
				return err
			}
			n = row.ColumnInt64(0)
		}
		if n > 0 && left.what != "" {
			r.Add(db.name, 0, fmt.Sprintf("%d %s", n, left.what), LeftOut, "%s", left.why)
		} else if n > 0 {
			return db.tellWills(r)
		}
	}
	return nil
}

// tellWills reports the Wills of clients that were connected at the end.
func (db *database21) tellWills(r *Report) error {
	for row, err := range db.rows("SELECT client_id, topic FROM wills ORDER BY client_id") {
		if err != nil {
			return err
		}
		r.Add(db.name, 0, fmt.Sprintf("Will of client %q for topic %q", row.ColumnText(0), row.ColumnText(1)), LeftOut,
			"its connection ended with Mosquitto: the client says it again when it connects")
	}
	return nil
}

// rows answers a query.
func (db *database21) rows(sql string, args ...string) iter.Seq2[*sqlite3.Stmt, error] {
	return func(yield func(*sqlite3.Stmt, error) bool) {
		s, _, err := db.c.Prepare(sql)
		if err != nil {
			yield(nil, err)
			return
		}
		defer func() { _ = s.Close() }() // its error is that of Step
		for i, arg := range args {
			if err := s.BindText(i+1, arg); err != nil {
				yield(nil, err)
				return
			}
		}
		for s.Step() {
			if !yield(s, nil) {
				return
			}
		}
		if err := s.Err(); err != nil {
			yield(nil, err)
		}
	}
}

// Format implements State.
func (db *database21) Format() string { return "SQLite database of Mosquitto 2.1" }

// Close implements State.
func (db *database21) Close() (err error) {
	if db.c != nil {
		err = db.c.Close()
	}
	if db.temp != "" {
		err = errors.Join(err, os.RemoveAll(db.temp))
	}
	return err
}

// Sessions implements State.
func (db *database21) Sessions() iter.Seq2[*Session, error] {
	return func(yield func(*Session, error) bool) {
		for row, err := range db.rows("SELECT client_id, username, session_expiry_time, session_expiry_interval FROM clients ORDER BY client_id") {
			var s *Session
			if err == nil {
				s, err = db.session(row)
			}
			if !yield(s, err) || err != nil {
				return
			}
		}
	}
}

func (db *database21) session(row *sqlite3.Stmt) (*Session, error) {
	s := &Session{
		ClientID: row.ColumnText(0), UserName: row.ColumnText(1),
		ExpiresAt: unixTime(row.ColumnInt64(2)), ExpirySeconds: uint32(row.ColumnInt64(3)),
	}
	if interval := row.ColumnInt64(3); interval < 0 || interval > NeverExpires {
		return nil, fmt.Errorf("%s: client %q has a session_expiry_interval of %d", db.name, s.ClientID, interval)
	}
	for row, err := range db.rows("SELECT topic, subscription_options, subscription_identifier FROM subscriptions WHERE client_id = ?1", s.ClientID) {
		if err != nil {
			return nil, err
		}
		options, id := row.ColumnInt64(1), row.ColumnInt64(2)
		if options < 0 || options > 0xFF || options&3 == 3 || id < 0 || id > subscriptionIDMax {
			return nil, fmt.Errorf("%s: client %q has a subscription with options %d and identifier %d", db.name, s.ClientID, options, id)
		}
		sub := Subscription{Filter: row.ColumnText(0), QoS: byte(options & 3), ID: uint32(id)}
		sub.withOptions(byte(options))
		s.Subscriptions = append(s.Subscriptions, sub)
	}
	s.Queue = func() iter.Seq2[*Queued, error] { return db.queue(s.ClientID) }
	return s, nil
}

// subscriptionIDMax is the largest Subscription Identifier that the protocol has.
const subscriptionIDMax = 268_435_455

// queue has the messages of a client in order: those under way were sent before the others.
func (db *database21) queue(client string) iter.Seq2[*Queued, error] {
	return func(yield func(*Queued, error) bool) {
		for row, err := range db.rows(`SELECT direction, state, mid, client_msgs.qos, client_msgs.retain, subscription_identifier, store_id
			FROM client_msgs JOIN base_msgs USING (store_id) WHERE client_id = ?1 ORDER BY cmsg_id`, client) {
			var q *Queued
			if err == nil {
				q, err = db.queued(row)
			}
			if !yield(q, err) || err != nil {
				return
			}
		}
	}
}

func (db *database21) queued(row *sqlite3.Stmt) (*Queued, error) {
	step, err := stepOf(row.ColumnInt64(0), row.ColumnInt64(1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", db.name, err)
	}
	mid, qos, sub, store := row.ColumnInt64(2), row.ColumnInt64(3), row.ColumnInt64(5), row.ColumnText(6)
	if mid < 0 || mid > 0xFFFF || qos < 0 || qos > 2 || sub < 0 || sub > subscriptionIDMax {
		return nil, fmt.Errorf("%s: a message of a client has mid %d, qos %d and subscription_identifier %d", db.name, mid, qos, sub)
	}
	q := &Queued{Step: step, PacketID: uint16(mid), QoS: byte(qos), Retain: row.ColumnInt64(4) != 0}
	if sub > 0 {
		q.SubscriptionIDs = []uint32{uint32(sub)}
	}
	q.Message = func() (*Message, error) {
		for m, err := range db.messages("WHERE store_id = CAST(?1 AS INTEGER)", store) {
			return m, err
		}
		return nil, fmt.Errorf("%s: there is no message %s", db.name, store)
	}
	return q, nil
}

// Retained implements State.
func (db *database21) Retained() iter.Seq2[*Message, error] {
	return db.messages("WHERE store_id IN (SELECT store_id FROM retains) ORDER BY store_id")
}

// messages reads those that the rest of the query selects.
func (db *database21) messages(rest string, args ...string) iter.Seq2[*Message, error] {
	return func(yield func(*Message, error) bool) {
		for row, err := range db.rows("SELECT topic, payload, properties, qos, retain, expiry_time, source_id, source_username, store_id FROM base_msgs "+rest, args...) {
			var m *Message
			if err == nil {
				m, err = db.message(row)
			}
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}

func (db *database21) message(row *sqlite3.Stmt) (*Message, error) {
	m := &Message{
		Topic: row.ColumnText(0), Payload: row.ColumnBlob(1, nil), QoS: byte(row.ColumnInt64(3)), Retain: row.ColumnInt64(4) != 0,
		ExpiresAt: unixTime(row.ColumnInt64(5)), ClientID: row.ColumnText(6), UserName: row.ColumnText(7),
	}
	if qos := row.ColumnInt64(3); qos < 0 || qos > 2 {
		return nil, fmt.Errorf("%s: message %d has QoS %d", db.name, row.ColumnInt64(8), qos)
	}
	if text := strings.TrimSpace(row.ColumnText(2)); text != "" {
		if m.Properties, m.Fault = propertiesFromJSON(text); m.Fault != nil {
			m.Fault = fmt.Errorf("its properties: %w", m.Fault)
		}
	}
	return m, nil
}
