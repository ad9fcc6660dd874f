package mosquitto

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/x0a1b/promptmq/codec"
)

// sqliteTables are those of Mosquitto 2.1, of which a test changes something.
const sqliteTables = `
CREATE TABLE base_msgs (store_id INT64 PRIMARY KEY, expiry_time INT64, topic STRING NOT NULL, payload BLOB, source_id STRING, source_username STRING,
	payloadlen INTEGER, source_mid INTEGER, source_port INTEGER, qos INTEGER, retain INTEGER, properties STRING);
CREATE TABLE retains (topic STRING PRIMARY KEY, store_id INT64);
CREATE TABLE clients (client_id TEXT PRIMARY KEY, username TEXT, connection_time INT64, will_delay_time INT64, session_expiry_time INT64, listener_port INT,
	max_packet_size INT, max_qos INT, retain_available INT, session_expiry_interval INT, will_delay_interval INT);
CREATE TABLE subscriptions (client_id TEXT NOT NULL, topic TEXT NOT NULL, subscription_options INTEGER, subscription_identifier INTEGER, PRIMARY KEY (client_id, topic));
CREATE TABLE client_msgs (client_id TEXT NOT NULL, cmsg_id INT64, store_id INT64, dup INTEGER, direction INTEGER, mid INTEGER, qos INTEGER, retain INTEGER,
	state INTEGER, subscription_identifier INTEGER);
CREATE TABLE wills (client_id TEXT PRIMARY KEY, payload BLOB, topic STRING NOT NULL, payloadlen INTEGER, qos INTEGER, retain INTEGER, properties STRING);
INSERT INTO base_msgs VALUES (72057594037927937, 4000000000, 'a/b', x'00ff', 'publisher', 'joe', 2, 5, 1883, 1, 1,
	'[{"identifier":"user-property","name":"n","value":"v"},{"identifier":"correlation-data","value":"00FF"},{"identifier":"payload-format-indicator","value":1},
	{"identifier":"content-type","value":"t"},{"identifier":"response-topic","value":"r"}]'), (2, 0, 'x', NULL, NULL, NULL, 0, 0, 0, 2, 0, NULL);
INSERT INTO retains VALUES ('a/b', 72057594037927937);
INSERT INTO clients VALUES ('c', 'ann', 0, 0, 4100000000, 1883, 0, 2, 1, 3600, 0);
INSERT INTO subscriptions VALUES ('c', '$share/g/a/+', 46, 77);
INSERT INTO client_msgs VALUES ('c', 2, 2, 0, 1, 8, 2, 0, 11, 0), ('c', 1, 72057594037927937, 1, 1, 7, 1, 1, 3, 77), ('c', 3, 2, 0, 0, 9, 2, 0, 7, 0);
INSERT INTO wills VALUES ('c', x'', 'gone', 0, 1, 0, NULL);
`

// sqliteFile makes a database. With log it is left as a process leaves it that was killed:
// all is in the log beside it.
func sqliteFile(t *testing.T, sql string, log bool) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mosquitto.sqlite3")
	c, err := sqlite3.OpenFlags(uriOf(file), sqlite3.OPEN_READWRITE|sqlite3.OPEN_CREATE|sqlite3.OPEN_URI)
	if err == nil && log {
		if err = c.Exec("PRAGMA journal_mode = WAL"); err == nil {
			_, err = c.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, true)
		}
	}
	if err == nil {
		err = c.Exec(sql)
	}
	if err == nil {
		err = c.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file + "-wal"); (err == nil && info.Size() > 0) != log {
		t.Fatalf("the log: %v, %v", info, err)
	}
	return file
}

// folder is what is in a folder.
func folder(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	all := make(map[string]string)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestSQLite: all is read, of a database with a log and of one without, and no file of the
// folder is changed.
func TestSQLite(t *testing.T) {
	t.Parallel()
	for _, log := range []bool{false, true} {
		file := sqliteFile(t, sqliteTables, log)
		before := folder(t, filepath.Dir(file))
		r := new(Report)
		db, err := OpenState(file, r)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Findings) != 1 || r.Findings[0].What != `Will of client "c" for topic "gone"` {
			t.Errorf("%v", r.Findings)
		}
		checkSQLite(t, db)
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		if after := folder(t, filepath.Dir(file)); !reflect.DeepEqual(before, after) {
			t.Errorf("the folder has changed, with a log: %v", log)
		}
	}
}

func checkSQLite(t *testing.T, db State) {
	t.Helper()
	properties := codec.AppendUserProperty(nil, []byte("n"), []byte("v"))
	properties = codec.AppendCorrelationData(properties, []byte{0, 0xFF})
	properties = codec.AppendResponseTopic(codec.AppendContentType(codec.AppendPayloadFormat(properties, 1), []byte("t")), []byte("r"))
	message := &Message{
		Topic: "a/b", Payload: []byte{0, 0xFF}, Properties: properties, QoS: 1, Retain: true,
		ExpiresAt: time.Unix(4_000_000_000, 0).UTC(), ClientID: "publisher", UserName: "joe",
	}
	n := 0
	for m, err := range db.Retained() {
		n++
		if err != nil || !reflect.DeepEqual(m, message) {
			t.Errorf("%+v, %v, want %+v", m, err, message)
		}
	}
	for s, err := range db.Sessions() {
		if err != nil {
			t.Fatal(err)
		}
		var steps []string
		for q, err := range s.Queue() {
			if err != nil {
				t.Fatal(err)
			}
			m, err := q.Message()
			if err != nil {
				t.Fatal(err)
			}
			steps = append(steps, fmt.Sprint(q.Step, q.PacketID, q.QoS, q.Retain, q.SubscriptionIDs, m.Topic))
		}
		if want := "[1 7 1 true [77]a/b 0 8 2 false []x 3 9 2 false []x]"; fmt.Sprint(steps) != want {
			t.Errorf("%v, want %s", steps, want)
		}
		want := Session{
			ClientID: "c", UserName: "ann", ExpirySeconds: 3600, ExpiresAt: time.Unix(4_100_000_000, 0).UTC(),
			Subscriptions: []Subscription{{Filter: "$share/g/a/+", QoS: 2, NoLocal: true, RetainAsPublished: true, RetainHandling: 2, ID: 77}},
		}
		if s.Queue = nil; !reflect.DeepEqual(*s, want) {
			t.Errorf("%+v, want %+v", s, want)
		}
		n++
	}
	if n != 2 {
		t.Errorf("%d things", n)
	}
}

// TestSQLiteRefused: a database that is not understood is refused, and what has no place is
// told.
func TestSQLiteRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ sql, want string }{
		{"CREATE TABLE t (x)", "it has no table base_msgs"},
		{sqliteTables + "ALTER TABLE clients RENAME COLUMN username TO user_name", "its table clients has no column username"},
	} {
		if _, err := OpenState(sqliteFile(t, test.sql, false), new(Report)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %s", err, test.want)
		}
	}
	for _, test := range []struct{ sql, want string }{
		{"UPDATE client_msgs SET state = 99", "state 99"},
		{"UPDATE client_msgs SET mid = 70000", "mid 70000"},
		{"UPDATE client_msgs SET qos = 3", "qos 3"},
		{"UPDATE subscriptions SET subscription_options = 3", "options 3"},
		{"UPDATE clients SET session_expiry_interval = -1", "session_expiry_interval of -1"},
		{"UPDATE base_msgs SET qos = 3", "has QoS 3"},
		{"UPDATE base_msgs SET properties = '{}'", "no list of properties"},
		{`UPDATE base_msgs SET properties = '[{"identifier":"correlation-data","value":"?"}]'`, "neither in hexadecimal digits"},
		{`UPDATE base_msgs SET properties = '[{"identifier":"topic-alias","value":"1"}]'`, "no such property"},
	} {
		db, err := OpenState(sqliteFile(t, sqliteTables+test.sql, false), new(Report))
		if err != nil {
			t.Fatal(err)
		}
		if err := firstFault(db); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", test.sql, err, test.want)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	r := new(Report)
	db, err := OpenState(sqliteFile(t, sqliteTables+"DELETE FROM clients; DELETE FROM base_msgs WHERE store_id = 2; DELETE FROM wills", false), r)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if len(r.Findings) != 3 || r.Findings[2].What != "2 messages that are not in the database" {
		t.Errorf("%v", r.Findings)
	}
}

// firstFault is the first error of all that is in a State.
func firstFault(db State) error {
	for m, err := range db.Retained() {
		if err == nil {
			err = m.Fault
		}
		if err != nil {
			return err
		}
	}
	for s, err := range db.Sessions() {
		if err != nil {
			return err
		}
		for q, err := range s.Queue() {
			if err != nil {
				return err
			}
			if _, err := q.Message(); err != nil {
				return err
			}
		}
	}
	return nil
}
