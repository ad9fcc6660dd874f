package store

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/x0a1b/promptmq/session"
)

var accessUsers = []User{
	{Name: "ann", Hash: "$argon2id$1", Scram: "SCRAM-SHA-256$1", Groups: []string{"a", "b c"}, Changed: time.UnixMilli(1_800_000_000_123)},
	{Name: "bob", Disabled: true, Changed: time.UnixMilli(1_800_000_000_124)},
	{Name: "Ünï \xf0\x9f\x98\x80", Hash: "$7$"},
}

var accessRules = []string{"user ann allow publish a/#", "deny subscribe #", "allow all b/+"}

// storeAccess stores accessUsers and accessRules.
func storeAccess(t *testing.T, db *DB) {
	t.Helper()
	for _, u := range accessUsers {
		if err := db.PutUser(&u); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.SetRules(accessRules); err != nil {
		t.Fatal(err)
	}
}

// wantAccess reads users and rules.
func wantAccess(t *testing.T, db *DB, users []User, rules []string) {
	t.Helper()
	gotUsers, err := db.Users()
	if err != nil {
		t.Fatal(err)
	}
	gotRules, err := db.Rules()
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(gotUsers, users) || !slices.Equal(gotRules, rules) {
		t.Errorf("stored are %+v\n%q\nexpected %+v\n%q", gotUsers, gotRules, users, rules)
	}
}

// TestAccessIsKept: users and rules are there after each change and after a restart, with
// any journal.
func TestAccessIsKept(t *testing.T) {
	for _, mode := range []string{"WAL", "TRUNCATE"} {
		o := testOptions(t.TempDir())
		o.JournalMode = mode
		db := openTest(t, o)
		wantAccess(t, db, nil, nil)
		storeAccess(t, db)
		wantAccess(t, db, accessUsers, accessRules)
		changed := accessUsers[1]
		changed.Disabled, changed.Groups = false, []string{"c"}
		if err := errors.Join(db.PutUser(&changed), db.DeleteUser("ann"), db.DeleteUser("nobody"), db.SetRules(accessRules[1:])); err != nil {
			t.Fatal(err)
		}
		users := []User{changed, accessUsers[2]}
		wantAccess(t, db, users, accessRules[1:])
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		wantAccess(t, openTest(t, o), users, accessRules[1:])
	}
}

// accessDamage are changes that no program makes.
var accessDamage = []string{
	"UPDATE user SET name = x'616e6f' WHERE name = x'616e6e'",
	"UPDATE user SET hash = x'00' WHERE name = x'616e6e'",
	"UPDATE user SET scram = x'' WHERE name = x'616e6e'",
	"UPDATE user SET groups = x'61' WHERE name = x'616e6e'",
	"UPDATE user SET disabled = 0",
	"UPDATE user SET changed = changed + 1",
	"UPDATE user SET sum = sum + 1",
	"DELETE FROM user WHERE name = x'616e6e'",
	"DELETE FROM user",
	"UPDATE rule SET text = x'616c6c6f77' WHERE position = 2",
	"UPDATE rule SET position = 4 WHERE position = 3",
	"DELETE FROM rule WHERE position = 2",
	"DELETE FROM rule WHERE position = 3",
	"DELETE FROM rule",
	"UPDATE meta SET value = 2 WHERE key = 'rules'",
	"DELETE FROM meta WHERE key = 'users'",
}

// readAccess is what a start reads.
func readAccess(db *DB) error {
	_, users := db.Users()
	_, rules := db.Rules()
	_, lost := db.AccessLost()
	return errors.Join(users, rules, lost)
}

// TestDamagedAccess: whatever is changed, added or missing is told; and after a salvage
// of it, that users or rules may be lost, until somebody says that the rest may stand.
func TestDamagedAccess(t *testing.T) {
	for _, change := range accessDamage {
		o := testOptions(t.TempDir())
		db := openTest(t, o)
		storeAccess(t, db)
		if err := db.w.Exec(change); err != nil {
			t.Fatal(err)
		}
		if err := readAccess(db); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", change, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		report, err := Salvage(o, salvageTime)
		if err != nil || report.Damage == nil {
			t.Fatalf("%s: %+v, %v", change, report, err)
		}
		db = openTest(t, o)
		if err := readAccess(db); err != nil {
			t.Errorf("%s: after the salvage: %v", change, err)
		}
		if lost, err := db.AccessLost(); !lost || err != nil {
			t.Errorf("%s: nothing is said to be lost, %v", change, err)
		}
		if err := db.KeepAccess(); err != nil {
			t.Fatal(err)
		}
		if lost, err := db.AccessLost(); lost || err != nil {
			t.Errorf("%s: still said to be lost, %v", change, err)
		}
	}
}

// TestSalvageKeepsAccess: a salvage of something else keeps users and rules, and says
// nothing of them; one of a store that lost some says it again.
func TestSalvageKeepsAccess(t *testing.T) {
	o := testOptions(t.TempDir())
	db := openTest(t, o)
	storeAccess(t, db)
	apply(t, db, oneSession(1, "m"))
	damage := func(db *DB, change string) *DB {
		t.Helper()
		if err := errors.Join(db.w.Exec(change), db.Close()); err != nil {
			t.Fatal(err)
		}
		if report, err := Salvage(o, salvageTime); err != nil || report.Damage == nil {
			t.Fatalf("%+v, %v", report, err)
		}
		return openTest(t, o)
	}
	db = damage(db, "UPDATE run SET data = zeroblob(100)")
	wantAccess(t, db, accessUsers, accessRules)
	if lost, err := db.AccessLost(); lost || err != nil {
		t.Errorf("said to be lost, %v", err)
	}
	db = damage(db, "UPDATE rule SET text = x'' WHERE position = 1")
	wantAccess(t, db, accessUsers, accessRules[1:])
	db = damage(db, "UPDATE session SET expiry = expiry + 1")
	if lost, err := db.AccessLost(); !lost || err != nil {
		t.Errorf("forgotten by the second salvage, %v", err)
	}
}

// TestMigratesToAccess: a store of version 6 has no users and no rules, and a salvage of
// it has lost none.
func TestMigratesToAccess(t *testing.T) {
	v6 := func(damage string) Options {
		o := testOptions(t.TempDir())
		db := openTest(t, o)
		apply(t, db, oneSession(1, "m"))
		err := db.w.Exec("DROP TABLE user; DROP TABLE rule; DELETE FROM meta WHERE key IN ('users', 'rules'); PRAGMA user_version = 6; " + damage)
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		return o
	}
	o := v6("")
	db := openTest(t, o)
	wantAccess(t, db, nil, nil)
	storeAccess(t, db)
	wantAccess(t, db, accessUsers, accessRules)
	if text, err := dump(db); err != nil || !strings.Contains(text, "entry 1/1") {
		t.Errorf("%q, %v", text, err)
	}
	o = v6("UPDATE run SET data = zeroblob(100)")
	if report, err := Salvage(o, salvageTime); err != nil || report.Damage == nil {
		t.Fatalf("%+v, %v", report, err)
	}
	db = openTest(t, o)
	wantAccess(t, db, nil, nil)
	if lost, err := db.AccessLost(); lost || err != nil {
		t.Errorf("said to be lost, %v", err)
	}
}

// TestFailedChangeOfAccess: a change that fails, in whatever place, changes nothing, and
// the connection takes the next one and batches.
func TestFailedChangeOfAccess(t *testing.T) {
	r := newRand(t)
	v := newFaultVFS(t)
	o := testOptions(t.TempDir())
	o.VFS, o.Synchronous = t.Name(), "FULL"
	db := openTest(t, o)
	storeAccess(t, db)
	apply(t, db, oneSession(1, "m"))
	other := User{Name: "ann", Hash: strings.Repeat("other", 5000)}
	for i := range 60 / raceSlowdown {
		fault := []error{sqlite3.FULL, sqlite3.IOERR_WRITE, sqlite3.IOERR_FSYNC}[i%3]
		if i%3 == 2 {
			v.fail(fault, -1, 0, 1)
		} else {
			v.fail(fault, r.Int64N(2), -1, 1)
		}
		hits := v.hits.Load()
		var err error
		switch i / 3 % 3 {
		case 0:
			err = db.PutUser(&other)
		case 1:
			err = db.DeleteUser("ann")
		default:
			err = db.SetRules(nil)
		}
		failed := v.hits.Load() > hits
		v.fail(fault, -1, -1, 0)
		if failed != (err != nil) || i%3 == 0 && failed && !errors.Is(err, session.ErrNoSpace) {
			t.Fatalf("change %d: a fault took place: %v; %v", i, failed, err)
		}
		if !failed {
			storeAccess(t, db)
		}
		wantAccess(t, db, accessUsers, accessRules)
		apply(t, db, oneMessage(1, uint64(i+2), "m"))
	}
	if n := v.hits.Load(); n < 10 {
		t.Errorf("only %d faults took place", n)
	}
}

// TestAccessIsSynced: a change is on disk whatever synchronous says, and the setting is as
// before then.
func TestAccessIsSynced(t *testing.T) {
	for _, level := range []string{"OFF", "NORMAL", "FULL"} {
		v := newFaultVFS(t)
		o := testOptions(t.TempDir())
		o.VFS, o.Synchronous = t.Name(), level
		db := openTest(t, o)
		v.fail(sqlite3.IOERR_FSYNC, -1, 0, 1)
		if err := db.PutUser(&accessUsers[0]); err == nil || v.hits.Load() != 1 {
			t.Errorf("%s: not synced: %v", level, err)
		}
		if p, err := db.Pragmas(); err != nil || p["synchronous"] != map[string]string{"OFF": "0", "NORMAL": "1", "FULL": "2"}[level] {
			t.Errorf("%s: synchronous is %v, %v", level, p, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		v.fail(nil, -1, -1, 0)
	}
}

// TestAccessBeyondMaxSize: at MaxSize users can still be kept out.
func TestAccessBeyondMaxSize(t *testing.T) {
	o := testOptions(t.TempDir())
	o.MaxSize = 1 << 20
	db := openTest(t, o)
	apply(t, db, oneSession(1, "m"))
	for seq := uint64(2); db.Room() > 0; seq++ {
		apply(t, db, oneMessage(1, seq, strings.Repeat("x", 30_000)))
	}
	for i := range 200 {
		if err := db.PutUser(&User{Name: fmt.Sprint("user", i), Hash: strings.Repeat("h", 2000)}); err != nil {
			t.Fatalf("user %d: %v", i, err)
		}
	}
}
