package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/session"
)

// A store of version 1 has no checksums of session and subscription rows, and
// no totals: all of it is there after the migration, and checked from then on.
func TestMigratesVersion1(t *testing.T) {
	dir := t.TempDir()
	run := func(id int64, seq uint64) string {
		e := session.Entry{Seq: seq, QoS: 1, Message: &session.Message{Topic: "a/b", QoS: 1, Payload: []byte("m")}}
		data := finishPacked(appendEntry(startPacked(nil), &e, 0, -1), kindRun, uint64(id), seq, seq, 0)
		return fmt.Sprintf("INSERT INTO run (session, first, last, bytes, data) VALUES (%d, %d, %d, %d, x'%x');", id, seq, seq, e.Bytes(), data)
	}
	makeDB(t, dir, fmt.Sprintf("PRAGMA page_size = %d; %s; PRAGMA application_id = %d; PRAGMA user_version = 1;", pageSize, migrations[0], applicationID)+`
		INSERT INTO meta VALUES ('next_session', 77);
		INSERT INTO session VALUES (3, CAST('client' AS BLOB), CAST('user' AS BLOB), 5, 60, 1, 0), (4, x'ff00', x'', 4, 4294967295, 0, 1234);
		INSERT INTO subscription VALUES (3, CAST('a/+' AS BLOB), 26, 9), (3, CAST('$share/g/b' AS BLOB), 1, 0);`+run(3, 1)+run(4, 1)+run(3, 2)+run(3, 3))
	db := openTest(t, testOptions(dir))
	if db.NextID() != 77 {
		t.Errorf("NextID %d", db.NextID())
	}
	text, err := dump(db)
	if err != nil {
		t.Fatal(err)
	}
	one := (&session.Message{Topic: "a/b", Payload: []byte("m")}).Bytes()
	for _, want := range []string{
		"session {ID:3 ClientID:client UserName: Version:5 ExpirySeconds:60 Connected:true",
		"session {ID:4 ClientID:\xff\x00 UserName: Version:3.1.1",
		"{Filter:$share/g/b QoS:1", "{Filter:a/+ QoS:2 NoLocal:false RetainAsPublished:true RetainHandling:1 ID:9}",
		"queue 1-4 ", "queue 1-2 ", "entry 3/3", "entry 4/1",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	err = db.Load(func(l *session.Loaded) error {
		if n := map[session.ID]int{3: 3, 4: 1}[l.Record.ID]; int(l.QueuedBytes) < n*one {
			t.Errorf("session %d: %d bytes queued", l.Record.ID, l.QueuedBytes)
		}
		return nil
	}, func(string, *session.RetainedWrite) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []string{
		"UPDATE session SET expiry = 61 WHERE id = 3", "UPDATE subscription SET options = 25 WHERE sub_id = 9",
		"UPDATE session SET client_id = x'01' WHERE id = 4",
	} {
		if err := db.w.Exec("SAVEPOINT s; " + change); err != nil {
			t.Fatal(err)
		}
		if _, err := dump(db); err == nil {
			t.Errorf("%s: not noticed", change)
		}
		if err := db.w.Exec("ROLLBACK TO s; RELEASE s"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMigratesRetained: retained messages of a store of version 7 have no users, and get one
// when they are published again. A salvage keeps them.
func TestMigratesRetained(t *testing.T) {
	o := testOptions(t.TempDir())
	db := openTest(t, o)
	retain := func(version uint64, user, topic string) {
		b := session.NewBatch()
		b.Retained[topic] = session.RetainedWrite{Version: version, UserName: user, Message: &session.Message{Topic: topic, Payload: []byte("p"), Retain: true}}
		apply(t, db, b)
	}
	want := func(lines ...string) {
		t.Helper()
		text, err := dump(db)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range lines {
			if !strings.Contains(text, line) {
				t.Errorf("no %q in\n%s", line, text)
			}
		}
	}
	// As version 7 wrote it.
	m := session.Message{Topic: "old", Payload: []byte("p"), Retain: true}
	data := finishPacked(appendMessage(startPacked(nil), &m), kindRetained, textKey("old"), 1)
	if err := db.w.Exec(fmt.Sprintf("INSERT INTO retained VALUES (CAST('old' AS BLOB), 1, x'%x'); ALTER TABLE user DROP COLUMN role; PRAGMA user_version = 7", data)); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openTest(t, o)
	if version, err := queryInt(db.w, "PRAGMA user_version"); err != nil || version != int64(len(migrations)) {
		t.Errorf("version %d, %v", version, err)
	}
	want(`retained "old" 1 of ""`)
	retain(2, "ann", "old")
	retain(3, "bob\xff\n", "new")
	retain(4, "", "nobody's")
	lines := []string{`retained "old" 2 of "ann"`, `retained "new" 3 of "bob\xff\n"`, `retained "nobody's" 4 of ""`}
	want(lines...)
	apply(t, db, oneSession(1, "m"))
	if err := db.w.Exec("UPDATE session SET expiry = expiry + 1"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if report, err := Salvage(o, salvageTime); err != nil || report.Damage == nil {
		t.Fatalf("%+v, %v", report, err)
	}
	db = openTest(t, o)
	want(lines...)
}

// TestMigratesRoles: users of a store of version 8 have no role after the migration, and may be
// given one, which a salvage keeps. A role that changed on the disk is damage.
func TestMigratesRoles(t *testing.T) {
	o := testOptions(t.TempDir())
	db := openTest(t, o)
	put := func(u *User) {
		t.Helper()
		if err := db.PutUser(u); err != nil {
			t.Fatal(err)
		}
	}
	want := func(what string) {
		t.Helper()
		users, err := db.Users()
		if got := fmt.Sprintf("%+v", users); err != nil || got != what {
			t.Errorf("%s, %v; expected %s", got, err, what)
		}
	}
	put(&User{Name: "ann", Hash: "h", Groups: []string{"g"}})
	if err := db.w.Exec("ALTER TABLE user DROP COLUMN role; PRAGMA user_version = 8"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openTest(t, o)
	users, err := db.Users()
	if err != nil || len(users) != 1 || users[0].Role != "" || users[0].Hash != "h" {
		t.Fatalf("%+v, %v", users, err)
	}
	users[0].Role = "viewer"
	put(&users[0])
	put(&User{Name: "bob", Hash: "h", Role: "admin"})
	if users, err = db.Users(); err != nil || len(users) != 2 || users[1].Role != "admin" {
		t.Errorf("%+v, %v", users, err)
	}
	whole := fmt.Sprintf("%+v", users)
	for _, role := range []string{"", "admin", "Viewer"} {
		if err := db.w.Exec("SAVEPOINT s; UPDATE user SET role = CAST('" + role + "' AS BLOB) WHERE name = CAST('ann' AS BLOB)"); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Users(); err == nil {
			t.Errorf("the role %q in place of viewer is not noticed", role)
		}
		if err := db.w.Exec("ROLLBACK TO s; RELEASE s"); err != nil {
			t.Fatal(err)
		}
	}
	apply(t, db, oneSession(1, "m"))
	if err := db.w.Exec("UPDATE session SET expiry = expiry + 1"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if report, err := Salvage(o, salvageTime); err != nil || report.Damage == nil {
		t.Fatalf("%+v, %v", report, err)
	}
	db = openTest(t, o)
	want(whole)
}

// TestSchemaInWAL: a migration whose commit is in the WAL alone is seen, as a killed process leaves
// it.
func TestSchemaInWAL(t *testing.T) {
	o := testOptions(t.TempDir())
	db := openTest(t, o)
	wantSchema := func(want int64) {
		t.Helper()
		if is, err := SchemaOf(o.DataDir); err != nil || is != want {
			t.Errorf("version %d in place of %d: %v", is, want, err)
		}
	}
	wantSchema(SchemaVersion())
	if err := db.w.Exec("PRAGMA user_version = 77"); err != nil {
		t.Fatal(err)
	}
	wantSchema(77)
	if err := db.w.Exec("BEGIN; PRAGMA user_version = 78; ROLLBACK; PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		t.Fatal(err)
	}
	wantSchema(77)
	if err := db.w.Exec("PRAGMA user_version = 79; PRAGMA wal_checkpoint(PASSIVE)"); err != nil {
		t.Fatal(err)
	}
	apply(t, db, oneSession(1, "m")) // the WAL begins anew
	wantSchema(79)
}

// TestHanded: who takes a store over from a process that has closed it in good order does not
// compare the indexes, as a start does.
func TestHanded(t *testing.T) {
	o := testOptions(t.TempDir())
	db := openTest(t, o)
	apply(t, db, oneSession(1, "m"))
	// An index that is not what the table is: another column.
	err := db.w.Exec("PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE INDEX run_of_session ON run (session, last, first, bytes, body)' WHERE name = 'run_of_session'; PRAGMA writable_schema = OFF")
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o); !errors.Is(err, ErrDamaged) {
		t.Fatalf("a start: %v", err)
	}
	o.Handed = true
	openTest(t, o)
}
