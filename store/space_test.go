package store

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/x0a1b/promptmq/session"
)

// fillRoom queues messages for Session 1 until the store says that it has no more
// room, and returns the next Seq.
func fillRoom(t *testing.T, db *DB, seq uint64) uint64 {
	t.Helper()
	for ; db.Room() > 0; seq++ {
		if seq > 5000 {
			t.Fatal("5000 messages of 4 kB fit in")
		}
		apply(t, db, oneMessage(1, seq, strings.Repeat("x", 4000)))
	}
	return seq
}

func removeBelow(t *testing.T, db *DB, seq uint64) {
	t.Helper()
	b := session.NewBatch()
	b.Sessions[1] = &session.Writes{Floor: seq}
	apply(t, db, b)
	removeAll(t, db) // a slow machine does not remove all in the time of one transaction
}

// The file stays within MaxSize; what was promised is stored all the same, and
// removing makes room at once and for as much again.
func TestMaxSize(t *testing.T) {
	const limit = 4 << 20
	o := testOptions(t.TempDir())
	o.MaxSize = limit
	db := openTest(t, o)
	apply(t, db, oneSession(1, "m"))
	seq := fillRoom(t, db, 2)
	if seq < 500 {
		t.Errorf("only %d messages of 4 kB fit in %d bytes", seq, limit)
	}
	inFile := func() int64 {
		n, err := queryInt(db.w, "PRAGMA page_count")
		if err != nil {
			t.Fatal(err)
		}
		return n * pageSize
	}
	if n := inFile(); n > limit {
		t.Errorf("%d bytes, the limit is %d", n, limit)
	}
	promised := oneMessage(1, seq, strings.Repeat("y", 1<<20)) // more than the reserve
	apply(t, db, promised)
	if n := inFile(); n < limit || n > limit+2<<20 || db.Room() >= 0 {
		t.Errorf("%d bytes after what was promised, room %d", n, db.Room())
	}
	page, err := db.Page(1, seq, 1, 1)
	if err != nil || len(page) != 1 || len(page[0].Message.Payload) != 1<<20 {
		t.Fatalf("what was promised: %d entries, %v", len(page), err)
	}
	// The limit holds again: SQLite itself refuses beyond what the file has.
	if err := db.w.Exec("CREATE TABLE more (a); INSERT INTO more VALUES (zeroblob(100000))"); !errors.Is(err, sqlite3.FULL) {
		t.Errorf("beyond the limit: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openTest(t, o) // a full store starts
	if db.Room() >= 0 {
		t.Errorf("room %d after a new start", db.Room())
	}
	removeBelow(t, db, seq+1)
	removeAll(t, db)
	if room := db.Room(); room < limit/2 {
		t.Errorf("room %d after everything was removed", room)
	}
	if again := fillRoom(t, db, seq+1) - seq; again < 500 {
		t.Errorf("only %d messages fit in after everything was removed", again)
	}
	if text, err := dump(db); err != nil || strings.Count(text, "entry ") < 500 {
		t.Errorf("%d entries, %v", strings.Count(text, "entry "), err)
	}
}

func TestNoMaxSize(t *testing.T) {
	db := openTest(t, testOptions(t.TempDir()))
	apply(t, db, oneSession(1, "m"))
	if db.Room() != math.MaxInt64 {
		t.Errorf("room %d without a limit", db.Room())
	}
}

// A full disk is no lack of room in the file, and says so even with a MaxSize.
func TestFullDiskWithMaxSize(t *testing.T) {
	v := newFaultVFS(t)
	o := testOptions(t.TempDir())
	o.VFS, o.Synchronous, o.MaxSize = t.Name(), "FULL", 4<<20
	db := openTest(t, o)
	apply(t, db, oneSession(1, "m"))
	v.fail(sqlite3.FULL, 0, -1, 1<<30)
	for range 3 {
		if err := db.Apply(oneMessage(1, 2, "n")); !errors.Is(err, session.ErrNoSpace) {
			t.Fatalf("on a full disk: %v", err)
		}
	}
	v.fail(sqlite3.FULL, -1, -1, 0)
	apply(t, db, oneMessage(1, 2, "n"))
	fillRoom(t, db, 3)
	if n, err := queryInt(db.w, "PRAGMA page_count"); err != nil || n*pageSize > o.MaxSize {
		t.Errorf("%d pages, %v: the limit is gone after the full disk", n, err)
	}
}
