package main

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/x0a1b/promptmq/cmd/promptmq/mosquitto"
	"github.com/x0a1b/promptmq/codec"
)

// TestImportMosquittoSQLite: the same state as the store of Mosquitto 2.1 has it, which left
// a log beside it, is there after the import.
func TestImportMosquittoSQLite(t *testing.T) {
	t.Parallel()
	unraced(t)
	from, err := mosquitto.OpenState(filepath.Join("testdata", "mosquitto", "2.0.11.db"), new(mosquitto.Report))
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	file := filepath.Join(t.TempDir(), "mosquitto.sqlite3")
	w := &sqliteWriter{t: t}
	w.c, err = sqlite3.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.c.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, true); err != nil {
		t.Fatal(err)
	}
	w.all(from)
	if err := w.c.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file + "-wal"); err != nil || info.Size() == 0 {
		t.Fatalf("there is no log: %v", err)
	}
	smallScene.checkImport(t, file)
}

// A sqliteWriter writes what persist-sqlite of Mosquitto 2.1 would.
type sqliteWriter struct {
	t            *testing.T
	c            *sqlite3.Conn
	store, queue int64 // the last identifiers
}

func (w *sqliteWriter) exec(sql string, args ...any) {
	w.t.Helper()
	s, _, err := w.c.Prepare(sql)
	for i, a := range args {
		switch a := a.(type) {
		case int64:
			err = s.BindInt64(i+1, a)
		case string:
			err = s.BindText(i+1, a)
		case []byte:
			err = s.BindBlob(i+1, a)
		}
		if err != nil {
			break
		}
	}
	if err == nil {
		err = s.Exec()
	}
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

func (w *sqliteWriter) all(from mosquitto.State) {
	w.t.Helper()
	if err := w.c.Exec(`PRAGMA journal_mode = WAL; BEGIN;
CREATE TABLE base_msgs (store_id INT64 PRIMARY KEY, expiry_time INT64, topic STRING NOT NULL, payload BLOB, source_id STRING, source_username STRING,
	payloadlen INTEGER, source_mid INTEGER, source_port INTEGER, qos INTEGER, retain INTEGER, properties STRING);
CREATE TABLE retains (topic STRING PRIMARY KEY, store_id INT64);
CREATE TABLE clients (client_id TEXT PRIMARY KEY, username TEXT, session_expiry_time INT64, session_expiry_interval INT);
CREATE TABLE subscriptions (client_id TEXT NOT NULL, topic TEXT NOT NULL, subscription_options INTEGER, subscription_identifier INTEGER, PRIMARY KEY (client_id, topic));
CREATE TABLE client_msgs (client_id TEXT NOT NULL, cmsg_id INT64, store_id INT64, dup INTEGER, direction INTEGER, mid INTEGER, qos INTEGER, retain INTEGER,
	state INTEGER, subscription_identifier INTEGER)`); err != nil {
		w.t.Fatal(err)
	}
	for m, err := range from.Retained() {
		if err != nil {
			w.t.Fatal(err)
		}
		w.exec("INSERT INTO retains VALUES (?1, ?2)", m.Topic, w.message(m))
	}
	for s, err := range from.Sessions() {
		if err != nil {
			w.t.Fatal(err)
		}
		w.session(s)
	}
	if err := w.c.Exec("COMMIT"); err != nil {
		w.t.Fatal(err)
	}
}

func (w *sqliteWriter) session(s *mosquitto.Session) {
	w.t.Helper()
	w.exec("INSERT INTO clients VALUES (?1, ?2, ?3, ?4)", s.ClientID, s.UserName, unixOf(s.ExpiresAt), int64(s.ExpirySeconds))
	for _, sub := range s.Subscriptions {
		options := int64(sub.QoS) | int64(sub.RetainHandling)<<4
		if sub.NoLocal {
			options |= 0x04
		}
		if sub.RetainAsPublished {
			options |= 0x08
		}
		w.exec("INSERT INTO subscriptions VALUES (?1, ?2, ?3, ?4)", s.ClientID, sub.Filter, options, int64(sub.ID))
	}
	// direction and state
	steps := map[mosquitto.Step][2]int64{mosquitto.Waiting: {1, 11}, mosquitto.Sent: {1, 5}, mosquitto.Released: {1, 9}, mosquitto.Received: {0, 7}}
	for q, err := range s.Queue() {
		if err != nil {
			w.t.Fatal(err)
		}
		m, err := q.Message()
		if err != nil {
			w.t.Fatal(err)
		}
		w.queue++
		id, at, sub := w.message(m), steps[q.Step], int64(0)
		for _, one := range q.SubscriptionIDs {
			sub = int64(one)
		}
		w.exec("INSERT INTO client_msgs VALUES (?1, ?2, ?3, 0, ?4, ?5, ?6, 0, ?7, ?8)", s.ClientID, w.queue, id, at[0], int64(q.PacketID), int64(q.QoS), at[1], sub)
	}
}

func unixOf(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return at.Unix()
}

// message writes a message and returns its identifier.
func (w *sqliteWriter) message(m *mosquitto.Message) int64 {
	w.t.Helper()
	type property struct {
		Identifier string `json:"identifier"`
		Name       string `json:"name,omitempty"`
		Value      any    `json:"value"`
	}
	var list []property
	forward := codec.ForwardBytes(m.Properties)
	forward.EachUserProperty(func(name, value codec.View) bool {
		list = append(list, property{"user-property", string(name), string(value)})
		return true
	})
	if v, ok := forward.ContentType(); ok {
		list = append(list, property{"content-type", "", string(v)})
	}
	if v, ok := forward.CorrelationData(); ok {
		list = append(list, property{"correlation-data", "", hex.EncodeToString(v)})
	}
	if v, ok := forward.ResponseTopic(); ok {
		list = append(list, property{"response-topic", "", string(v)})
	}
	if v, ok := forward.PayloadFormat(); ok {
		list = append(list, property{"payload-format-indicator", "", v})
	}
	text := ""
	if len(list) > 0 {
		b, err := json.Marshal(list)
		if err != nil {
			w.t.Fatal(err)
		}
		text = string(b)
	}
	w.store++
	retain := int64(0)
	if m.Retain {
		retain = 1
	}
	w.exec("INSERT INTO base_msgs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, 0, ?8, ?9, ?10)",
		w.store, unixOf(m.ExpiresAt), m.Topic, m.Payload, m.ClientID, m.UserName, int64(len(m.Payload)), int64(m.QoS), retain, text)
	return w.store
}
