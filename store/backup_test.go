package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func noProgress(int64, int64) {}

// wantSound verifies a file, and that it has this many entries of Session 1.
func wantSound(t *testing.T, path string, least int) {
	t.Helper()
	v, err := VerifyFile(path)
	if err != nil || v.Damage != nil {
		t.Fatalf("%v, %+v", err, v)
	}
	got, err := QueryFile(t.Context(), path, "SELECT count(*) FROM queued WHERE client = 'client1'", QueryLimits{Within: QueryWithinMax})
	if err != nil || got.Rows[0][0].(int64) < int64(least) {
		t.Errorf("%v, %v, want %d at least", got, err, least)
	}
}

// TestBackup: a copy that is made while batches are applied is sound, has all that was applied
// before, and needs no other file; the store goes on.
func TestBackup(t *testing.T) {
	t.Parallel()
	db := openTest(t, testOptions(t.TempDir()))
	payload := strings.Repeat("x", 100_000)
	apply(t, db, oneSession(1, payload))
	for seq := uint64(2); seq <= 100; seq++ {
		apply(t, db, oneMessage(1, seq, payload))
	}
	path := filepath.Join(t.TempDir(), "backup.db")
	var applied atomic.Int64
	done := make(chan error, 1)
	go func() {
		for applied.Load() < 5 { // some come between
			time.Sleep(time.Millisecond)
		}
		done <- db.Backup(t.Context(), path, noProgress)
	}()
	var err error
	seq := uint64(101)
	for running := true; running; seq++ {
		select {
		case err = <-done:
			running = false
		default:
		}
		apply(t, db, oneMessage(1, seq, payload))
		applied.Add(1)
	}
	if err != nil {
		t.Fatal(err)
	}
	wantMode(t, path, 0o600)
	wantSound(t, path, 105)
	if _, err := os.Stat(path + "-wal"); err == nil {
		t.Error("the copy has a WAL")
	}
	if err := db.Backup(t.Context(), path, noProgress); !errors.Is(err, os.ErrExist) {
		t.Errorf("a file that is there: %v", err)
	}
	got, err := db.Query(t.Context(), "SELECT count(*) FROM queued", QueryLimits{Within: QueryWithinMax})
	if err != nil || got.Rows[0][0] != int64(seq-1) {
		t.Errorf("the store has %v, %v; want %d", got, err, seq-1)
	}
}

// TestBackupTarget: none is made under the name of a file of a store, whether that is there.
func TestBackupTarget(t *testing.T) {
	t.Parallel()
	db := queryStore(t)
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, lockName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(db.o.DataDir, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		db.path, db.path + "-journal", filepath.Join(db.o.DataDir, "PromptMQ.DB-wal"), db.path + ".salvaged-1", filepath.Join(db.o.DataDir, "admin.sock.new"),
		filepath.Join(link, fileName+"-journal"), filepath.Join(other, fileName), filepath.Join(other, "none", "b.db"), other, link,
	} {
		if err := db.Backup(t.Context(), path, noProgress); !errors.Is(err, ErrTarget) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := db.Backup(t.Context(), filepath.Join(t.TempDir(), fileName), noProgress); err != nil {
		t.Errorf("the control: %v", err)
	}
}

// TestBackupEnds: what is cut short leaves no file.
func TestBackupEnds(t *testing.T) {
	t.Parallel()
	db := openTest(t, testOptions(t.TempDir()))
	apply(t, db, oneSession(1, strings.Repeat("x", 10<<20)))
	ctx, cancel := context.WithCancel(t.Context())
	path := filepath.Join(t.TempDir(), "backup.db")
	err := db.Backup(ctx, path, func(int64, int64) { cancel() })
	if _, statErr := os.Stat(path); !errors.Is(err, context.Canceled) || statErr == nil || !db.snapshots.none() {
		t.Errorf("%v, %v", err, statErr)
	}
}

// TestRestore: only what is sound, only where nothing is, unless that is to be set aside.
func TestRestore(t *testing.T) {
	t.Parallel()
	db := queryStore(t)
	backup := filepath.Join(t.TempDir(), "backup.db")
	if err := db.Backup(t.Context(), backup, noProgress); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	restore := func(from string, force bool) (string, error) {
		return Restore(t.Context(), from, dir, force, time.Now(), noProgress)
	}
	if aside, err := restore(backup, false); err != nil || aside != "" {
		t.Fatal(aside, err)
	}
	o := testOptions(dir)
	again, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := restore(backup, true); !errors.Is(err, ErrInUse) {
		t.Errorf("of a store that is in use: %v", err)
	}
	if users, err := again.Users(); err != nil || len(users) != 1 || users[0].Hash != secretHash {
		t.Errorf("%v, %v", users, err)
	}
	apply(t, again, oneMessage(1, 10, "later"))
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := restore(backup, false); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("over a store: %v", err)
	}
	damagedCopy := filepath.Join(t.TempDir(), "damaged.db")
	b, err := os.ReadFile(backup)
	if err != nil {
		t.Fatal(err)
	}
	at := strings.LastIndex(string(b), `{"n":1}`)
	b[at] ^= 1
	if err := os.WriteFile(damagedCopy, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if v, err := VerifyFile(damagedCopy); err != nil || !errors.Is(v.Damage, ErrDamaged) {
		t.Errorf("one bit is wrong, and verify: %v, %v", v, err)
	}
	if _, err := restore(damagedCopy, true); !errors.Is(err, ErrDamaged) {
		t.Errorf("a damaged copy: %v", err)
	}
	aside, err := restore(backup, true)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int64{filepath.Join(dir, fileName): 3, aside: 4} {
		got, err := QueryFile(t.Context(), path, "SELECT count(*) FROM queued WHERE client = 'c1'", QueryLimits{})
		if err != nil || got.Rows[0][0] != want {
			t.Errorf("%s: %v, %v, want %d", path, got, err, want)
		}
	}
	if _, err := restore(filepath.Join(dir, fileName), true); err == nil || !strings.Contains(err.Error(), "no backup of it") {
		t.Errorf("the database itself: %v", err)
	}
	if _, err := restore(filepath.Join(dir, "none"), true); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestVerifyReferences: rows that are whole and do not fit each other.
func TestVerifyReferences(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]string{
		"UPDATE body_ref SET refs = 7": "counted wrongly",
		"PRAGMA foreign_keys = OFF; DELETE FROM session WHERE client_id = CAST('c1' AS BLOB)": "",
	} {
		db := queryStore(t)
		if err := db.w.Exec(sql); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		v, err := VerifyStopped(db.o.DataDir)
		if err != nil || (v.Damage == nil) != (want == "") || v.Damage != nil && !strings.Contains(v.Damage.Error(), want) || want == "" && v.Orphans == 0 {
			t.Errorf("%s: %+v, %v", sql, v, err)
		}
	}
}

// TestTakeBack: what was in the WAL alone of a database that was set aside is back with it.
func TestTakeBack(t *testing.T) {
	from := openTest(t, testOptions(t.TempDir()))
	if err := from.Close(); err != nil {
		t.Fatal(err)
	}
	o := testOptions(t.TempDir())
	db := openTest(t, o)
	apply(t, db, oneSession(1, "m"))
	killed := testOptions(t.TempDir()) // as a process that was killed leaves it
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(db.path + suffix)
		if err == nil {
			err = os.WriteFile(filepath.Join(killed.DataDir, fileName+suffix), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	aside, err := Restore(t.Context(), from.path, killed.DataDir, true, time.Now(), noProgress)
	if err == nil {
		err = TakeBack(killed.DataDir, aside)
	}
	if err != nil {
		t.Fatal(err)
	}
	if page, err := openTest(t, killed).Page(1, 1, 1, 1); err != nil || len(page) != 1 {
		t.Errorf("%v, %v", page, err)
	}
}
