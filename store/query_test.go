package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/session"
)

// TestViewsStay: the views are a contract. A line that changes or goes is a new ViewVersion.
func TestViewsStay(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	fmt.Fprintln(&b, "version", ViewVersion)
	for _, v := range Views() {
		for _, c := range v.Columns {
			fmt.Fprintln(&b, v.Name, c.Name, c.Type)
		}
	}
	path := filepath.Join("testdata", "views.golden")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the views are\n%s\nand were\n%s", b.String(), want)
	}
}

// secretHash and secretScram are of a user of queryStore.
const (
	secretHash  = "CANARY-hash"
	secretScram = "CANARY-scram"
)

// queryStore has two Sessions with queues, subscriptions and retained messages, and a user.
func queryStore(t *testing.T) *DB {
	t.Helper()
	db := openTest(t, testOptions(t.TempDir()))
	b := session.NewBatch()
	at := time.UnixMilli(1_800_000_000_123)
	shared := &session.Message{Topic: "a/b", Payload: []byte(`{"n":1}`), QoS: 1, ExpiresAt: at}
	for id := session.ID(1); id <= 2; id++ {
		st := session.State{Floor: 2, Sent: 3, Next: 5, Released: []uint64{2}}
		w := &session.Writes{
			Record: &session.Record{ID: id, ClientID: fmt.Sprintf("c%d", id), UserName: "u", Version: 5, ExpirySeconds: 100, ExpiresAt: at},
			Subscriptions: map[string]*session.Subscription{
				"a/#": {Filter: "a/#", QoS: 1, NoLocal: true}, "$share/g/b": {Filter: "$share/g/b", QoS: 2, ID: 7},
			},
			State: st.Append(nil),
		}
		for seq := uint64(1); seq <= 4; seq++ {
			w.Entries = append(w.Entries, session.Entry{Seq: seq, Message: shared, QoS: 1, QueuedAt: at})
		}
		b.Sessions[id] = w
	}
	b.Retained["r/1"] = session.RetainedWrite{Version: 1, UserName: "u", Message: &session.Message{Topic: "r/1", Payload: []byte("on"), QoS: 1}}
	apply(t, db, b)
	if err := db.PutUser(&User{Name: "u", Hash: secretHash, Scram: secretScram, Groups: []string{"g", "h"}, Changed: at}); err != nil {
		t.Fatal(err)
	}
	db.ShowLive(Live{
		Clients: func(context.Context) ([]LiveRow, error) {
			row := make([]any, len(viewNamed("clients").Columns))
			row[0], row[2], row[6] = "c1", true, at
			return []LiveRow{func(i int) any { return row[i] }}, nil
		},
		Drops: func(context.Context) ([]LiveRow, error) {
			return []LiveRow{func(i int) any { return []any{at, "c2", "t", 1, 10, "full"}[i] }}, nil
		},
	})
	return db
}

func TestQuery(t *testing.T) {
	t.Parallel()
	db := queryStore(t)
	const at = "2027-01-15 08:00:00.123"
	for _, test := range []struct {
		sql  string
		want [][]any
	}{
		{"SELECT client, user, protocol, connected, expiry_seconds, expires_at, subscriptions, queued, will_topic FROM sessions WHERE client = 'c2'",
			[][]any{{"c2", "u", "5.0", int64(0), int64(100), at, int64(2), int64(3), nil}}},
		{"SELECT client, filter, share, qos, no_local, identifier FROM subscriptions WHERE client = 'c1' ORDER BY filter",
			[][]any{{"c1", "$share/g/b", "g", int64(2), int64(0), int64(7)}, {"c1", "a/#", nil, int64(1), int64(1), nil}}},
		{"SELECT position, state, topic, qos, bytes, queued_at, expires_at, payload ->> 'n' FROM queued WHERE client = 'c1'",
			[][]any{{int64(2), "received", "a/b", int64(1), int64(7), at, at, int64(1)}, {int64(3), "waiting", "a/b", int64(1), int64(7), at, at, int64(1)}, {int64(4), "waiting", "a/b", int64(1), int64(7), at, at, int64(1)}}},
		{"SELECT count(*), sum(bytes) FROM queued", [][]any{{int64(6), int64(42)}}},
		{"SELECT topic, qos, bytes, user, expires_at, payload FROM retained WHERE topic = 'r/1'", [][]any{{"r/1", int64(1), int64(2), "u", nil, []byte("on")}}},
		{"SELECT * FROM retained WHERE topic = 'none'", [][]any{}},
		{"SELECT name, groups, disabled, scram, changed_at FROM users", [][]any{{"u", "g,h", int64(0), int64(1), at}}},
		{"SELECT s.client, c.connected_at, count(q.position) FROM sessions s JOIN clients c ON c.client = s.client JOIN queued q ON q.client = s.client GROUP BY 1", [][]any{{"c1", at, int64(3)}}},
		{"SELECT * FROM drops", [][]any{{at, "c2", "t", int64(1), int64(10), "full"}}},
		{"SELECT view_version, running, sessions, subscriptions, retained, users, rules FROM store", [][]any{{int64(1), int64(1), int64(2), int64(4), int64(1), int64(1), int64(0)}}},
		{"SELECT count(*) FROM sessions WHERE expires_at > datetime('2027-01-15 07:59', '+1 minute')", [][]any{{int64(2)}}},
		{"WITH c AS (SELECT client FROM clients) SELECT client FROM sessions WHERE client NOT IN c", [][]any{{"c2"}}},
		{"SELECT instr('äb', 'b'), replace('aba', 'a', 'x'), trim('xax', 'x'), instr(NULL, 1)", [][]any{{int64(2), "xbx", "a", nil}}},
		{"SELECT value FROM json_each('[1]') UNION ALL SELECT value FROM generate_series(2, 2);  ", [][]any{{int64(1)}, {int64(2)}}},
	} {
		got, err := db.Query(t.Context(), test.sql, QueryLimits{})
		if err != nil {
			t.Errorf("%s: %v", test.sql, err)
		} else if !reflect.DeepEqual(got.Rows, test.want) {
			t.Errorf("%s: %v, want %v", test.sql, got.Rows, test.want)
		}
	}
}

// TestQueryJoinOrder: a join begins with the view of fewer rows, and finds those of the others by their
// client. The other way round a million messages would be a million searches for their sessions.
func TestQueryJoinOrder(t *testing.T) {
	t.Parallel()
	db := queryStore(t)
	got, err := db.Query(t.Context(), "EXPLAIN QUERY PLAN SELECT count(*) FROM queued q JOIN sessions s ON s.client = q.client", QueryLimits{})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Rows) != 2 || !strings.HasPrefix(fmt.Sprint(got.Rows[0][3]), "SCAN s ") {
		t.Errorf("%v", got.Rows)
	}
}

// TestQueryRefused: nothing but SELECT, on nothing but the views.
func TestQueryRefused(t *testing.T) {
	t.Parallel()
	db := queryStore(t)
	for sql, want := range map[string]string{
		"":                                       "no statement",
		"-- nothing":                             "no statement",
		"SELECT 1; SELECT 2":                     "more than one",
		"SELECT 1; DROP TABLE x":                 "more than one",
		"SELEC 1":                                "syntax error",
		"SELECT * FROM user":                     "no such table",
		"SELECT * FROM main.session":             "no such table",
		"SELECT hash FROM users":                 "no such column",
		"SELECT * FROM sqlite_schema":            "prohibited",
		"SELECT count(*) FROM sqlite_schema":     "not authorized",
		"SELECT count(*) FROM pragma_table_list": "not authorized",
		"SELECT * FROM pragma_database_list":     "prohibited",
		"SELECT * FROM pragma_function_list":     "",
		"PRAGMA user_version = 3":                "not authorized",
		"PRAGMA user_version":                    "not authorized",
		"PRAGMA query_only = OFF":                "not authorized",
		"PRAGMA temp_store_directory = '/tmp'":   "not authorized",
		"ATTACH 'other.db' AS o":                 "not authorized",
		"DETACH main":                            "not authorized",
		"VACUUM INTO '/tmp/stolen.db'":           "only SELECT",
		"VACUUM":                                 "",
		"BEGIN":                                  "not authorized",
		"SAVEPOINT a":                            "not authorized",
		"CREATE TABLE a (b)":                     "not authorized",
		"CREATE TEMP TABLE a (b)":                "not authorized",
		"CREATE TEMP VIEW sessions AS SELECT 1":  "not authorized",
		"CREATE VIRTUAL TABLE a USING queued":    "",
		"INSERT INTO retained VALUES (1)":        "",
		"UPDATE sessions SET client = 1":         "",
		"DELETE FROM retained":                   "",
		"DROP TABLE retained":                    "",
		"ANALYZE":                                "not authorized",
		"REINDEX":                                "",
		"SELECT load_extension('x')":             "",
		"SELECT randomblob(10)":                  "not authorized",
		"SELECT zeroblob(1000000000)":            "not authorized",
		"SELECT json_patch('{}', '{}')":          "not authorized",
		"SELECT trim('x', printf('%300s', 'x'))": "at most 100 bytes",
		"EXPLAIN SELECT 1; ATTACH 'x' AS y":      "",
		"WITH user AS (SELECT * FROM main.user) SELECT * FROM user":                  "no such table",
		"WITH sessions AS (SELECT * FROM main.sqlite_schema) SELECT * FROM sessions": "prohibited",
		"SELECT " + strings.Repeat("1+", 300) + "1":                                  "",
		"SELECT '" + strings.Repeat("x", 70_000) + "'":                               "",
		"SELECT ?1":                             "none",
		"SELECT printf('%.*c', 100000000, 'x')": "",
		"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x||x FROM c) SELECT count(*) FROM c":                         "",
		"WITH RECURSIVE c(x) AS (SELECT printf('%1000000s', 'x') UNION ALL SELECT x FROM c) SELECT * FROM c ORDER BY 1": "memory",
	} {
		got, err := db.Query(t.Context(), sql, QueryLimits{Within: QueryWithinMax})
		if want == "none" {
			if err != nil {
				t.Errorf("%.80s: %v", sql, err)
			}
			continue
		}
		if !errors.As(err, new(QueryError)) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %.80v, %v, want %q", sql, got, err, want)
		}
	}
	if got, err := db.Query(t.Context(), "SELECT count(*) FROM sessions", QueryLimits{}); err != nil || got.Rows[0][0] != int64(2) {
		t.Errorf("afterwards: %v, %v", got, err)
	}
}

// TestQueryHasNoSecret: no column of any view has what a user is proved by.
func TestQueryHasNoSecret(t *testing.T) {
	t.Parallel()
	db := queryStore(t)
	for _, v := range Views() {
		got, err := db.Query(t.Context(), "SELECT * FROM "+v.Name, QueryLimits{})
		if err != nil {
			t.Fatal(err)
		}
		if text := fmt.Sprintf("%s", got.Rows); strings.Contains(text, "CANARY") {
			t.Errorf("%s: %s", v.Name, text)
		}
	}
	file, err := os.ReadFile(db.path + "-wal")
	if err != nil || !strings.Contains(string(file), secretHash) {
		t.Errorf("the control: the store has no secret, %v", err)
	}
}

// TestQueryEnds: in time, however long it would take, and the snapshot with it.
func TestQueryEnds(t *testing.T) {
	t.Parallel()
	db := queryStore(t)
	for _, sql := range []string{
		"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c",
		"SELECT count(*) FROM queued a, queued b, queued c, queued d, queued e, queued f, queued g, queued h, queued i, queued j",
		"SELECT sum(value) FROM generate_series(1, 9000000000000)",
	} {
		_, err := db.Query(t.Context(), sql, QueryLimits{Within: 50 * time.Millisecond})
		if !errors.As(err, new(QueryError)) || !strings.Contains(err.Error(), "longer than 50ms") {
			t.Errorf("%s: %v", sql, err)
		}
		if !db.snapshots.none() {
			t.Errorf("%s: there is a snapshot", sql)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := db.Query(ctx, "SELECT sum(value) FROM generate_series(1, 9000000000000)", QueryLimits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("who asked has gone: %v", err)
	}
}

// TestStuckQueryLosesItsSnapshot: one that is in the middle of a step that nobody can
// interrupt has an answer in time, and holds up nothing; the next one waits.
func TestStuckQueryLosesItsSnapshot(t *testing.T) {
	t.Parallel()
	db := queryStore(t)
	stuck := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	db.queries.live.Drops = func(context.Context) ([]LiveRow, error) {
		cancel()
		<-stuck
		return nil, nil
	}
	_, err := db.Query(ctx, "SELECT * FROM sessions, drops", QueryLimits{Within: QueryWithinMax})
	if !errors.Is(err, context.Canceled) || !db.snapshots.none() {
		t.Errorf("%v; no snapshot: %v", err, db.snapshots.none())
	}
	if _, err := db.Query(t.Context(), "SELECT 1", QueryLimits{}); !errors.Is(err, ErrQueryBusy) {
		t.Errorf("the next: %v", err)
	}
	close(stuck)
	if got, err := db.Query(t.Context(), "SELECT 1", QueryLimits{}); err != nil || len(got.Rows) != 1 {
		t.Errorf("after it: %v, %v", got, err)
	}
}

func TestQueryLimits(t *testing.T) {
	t.Parallel()
	db := queryStore(t)
	for sql, rows := range map[string]int{
		"SELECT value FROM generate_series(1, 100)":                    10,
		"SELECT value FROM generate_series(1, 10)":                     10,
		"SELECT printf('%4000000s', value) FROM generate_series(1, 5)": 4,
	} {
		got, err := db.Query(t.Context(), sql, QueryLimits{Rows: 10, Within: QueryWithinMax})
		if err != nil || len(got.Rows) != rows || got.More != !strings.Contains(sql, "1, 10)") {
			t.Errorf("%s: %v", sql, err)
		}
	}
	for _, l := range []QueryLimits{{Rows: -1}, {Rows: QueryRowsMax + 1}, {Within: -1}, {Within: QueryWithinMax + 1}} {
		if _, err := db.Query(t.Context(), "SELECT 1", l); !errors.As(err, new(QueryError)) {
			t.Errorf("%v: %v", l, err)
		}
	}
}

// TestQueryStopped: the file of a broker that does not run has the same answers, and stays as
// it is, with a WAL and without.
func TestQueryStopped(t *testing.T) {
	t.Parallel()
	db := queryStore(t)
	dir := db.o.DataDir
	if _, err := QueryStopped(t.Context(), dir, "SELECT 1", QueryLimits{}); !errors.Is(err, ErrInUse) {
		t.Errorf("of a running one: %v", err)
	}
	crashed := t.TempDir()
	for _, suffix := range []string{"", "-wal"} {
		if _, err := copyFile(db.path+suffix, filepath.Join(crashed, fileName+suffix)); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{dir, crashed} {
		before := filesIn(t, dir)
		got, err := QueryStopped(t.Context(), dir, "SELECT (SELECT count(*) FROM queued), (SELECT count(*) FROM clients), running, commits FROM store", QueryLimits{})
		if err != nil || !reflect.DeepEqual(got.Rows, [][]any{{int64(6), int64(0), int64(0), nil}}) {
			t.Errorf("%v, %v", got, err)
		}
		after := filesIn(t, dir)
		for name, was := range before {
			if after[name] != was {
				t.Errorf("%s was changed", name)
			}
		}
	}
}

// filesIn returns what is in the files of a database.
func filesIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	for _, suffix := range []string{"", "-wal"} {
		if b, err := os.ReadFile(filepath.Join(dir, fileName+suffix)); err == nil {
			files[suffix] = string(b)
		}
	}
	return files
}

// TestQueryHoldsNobodyUp: commits go on while a query reads, and the WAL is cut afterwards.
func TestQueryHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	db := queryStore(t)
	reading, finish := make(chan struct{}), make(chan struct{})
	db.queries.live.Drops = func(context.Context) ([]LiveRow, error) {
		close(reading)
		<-finish
		return nil, nil
	}
	answered := make(chan error, 1)
	go func() {
		_, err := db.Query(t.Context(), "SELECT * FROM sessions, drops", QueryLimits{Within: QueryWithinMax})
		answered <- err
	}()
	awaitReading(t, reading, answered)
	payload := strings.Repeat("x", 1<<20)
	seq := uint64(10)
	for ; db.Stats().WALBytes < walBytesMax+(8<<20); seq++ {
		apply(t, db, oneMessage(1, seq, payload))
	}
	close(finish)
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); db.Stats().WALBytes > walBytesMax; seq++ {
		if time.Now().After(deadline) {
			t.Fatalf("the WAL has %d bytes", db.Stats().WALBytes)
		}
		apply(t, db, oneMessage(1, seq, payload))
	}
}

// awaitReading waits until a query has begun to read.
func awaitReading(t *testing.T, reading chan struct{}, answered chan error) {
	t.Helper()
	select {
	case <-reading:
	case err := <-answered:
		t.Fatal(err)
	}
}

// TestQueryEndsForTheWAL: a query does not keep the WAL from ever being cut.
func TestQueryEndsForTheWAL(t *testing.T) {
	t.Parallel()
	db := queryStore(t)
	ctx, stop := context.WithCancelCause(t.Context())
	snap, err := db.beginSnapshot(1<<20, stop)
	if err != nil {
		t.Fatal(err)
	}
	payload := strings.Repeat("x", 1<<20)
	for seq := uint64(10); seq < 30; seq++ {
		apply(t, db, oneMessage(1, seq, payload))
	}
	if !errors.Is(context.Cause(ctx), errWALBound) {
		t.Errorf("%v", context.Cause(ctx))
	}
	if err := snap.end(); err != nil {
		t.Error(err)
	}
}

// TestCloseEndsQueries: a store is closed in time whoever reads from it.
func TestCloseEndsQueries(t *testing.T) {
	t.Parallel()
	db := queryStore(t)
	reading := make(chan struct{})
	db.queries.live.Drops = func(ctx context.Context) ([]LiveRow, error) {
		close(reading)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	answered := make(chan error, 1)
	go func() {
		_, err := db.Query(t.Context(), "SELECT * FROM sessions, drops", QueryLimits{Within: QueryWithinMax})
		answered <- err
	}()
	awaitReading(t, reading, answered)
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if err := <-answered; !errors.Is(err, errClosed) {
		t.Error(err)
	}
	if _, err := db.Query(t.Context(), "SELECT 1", QueryLimits{}); err == nil {
		t.Error("a closed store answers")
	}
}

// TestQueryWithoutWAL: with another journal a reader would hold up who writes.
func TestQueryWithoutWAL(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir())
	o.JournalMode = "TRUNCATE"
	if _, err := openTest(t, o).Query(t.Context(), "SELECT 1", QueryLimits{}); !errors.Is(err, errNoWAL) {
		t.Error(err)
	}
}
