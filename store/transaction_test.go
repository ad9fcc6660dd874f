package store

import (
	"errors"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/x0a1b/promptmq/session"
)

// What was begun is written when it is committed, and not before; what is rolled back leaves
// nothing, and can be written again.
func TestHalves(t *testing.T) {
	r := newRand(t)
	for _, mode := range []string{"WAL", "DELETE"} {
		t.Run(mode, func(t *testing.T) {
			o := testOptions(t.TempDir())
			o.JournalMode, o.RemoveRows = mode, 2 // so that removals are put off
			db := openTest(t, o)
			m := newModel(r, db.NextID())
			for i := range 24 / raceSlowdown {
				before, removals, b := dumped(t, db), len(db.removals), m.batch()
				for range r.IntN(3) {
					if err := db.Begin(b); err != nil {
						t.Fatalf("batch %d: %v", i, err)
					}
					db.Rollback()
					if after := dumped(t, db); after != before || len(db.removals) != removals {
						t.Fatalf("batch %d: the store is not as before what was rolled back", i)
					}
				}
				apply(t, db, b)
				if err := m.compare(db); err != nil {
					t.Fatalf("batch %d: %v", i, err)
				}
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if err := m.compare(openTest(t, o)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func dumped(t *testing.T, db *DB) string {
	t.Helper()
	text, err := dump(db)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Who reads sees nothing of what is not committed, and need not wait for it where there is a WAL.
func TestReadersOfATransaction(t *testing.T) {
	db := openTest(t, testOptions(t.TempDir()))
	apply(t, db, oneSession(1, "m"))
	read := func() int {
		page, err := db.Page(1, 1, 100, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		return len(page)
	}
	was := read()
	if err := db.Begin(oneMessage(1, 2, "n")); err != nil {
		t.Fatal(err)
	}
	if n := read(); n != was {
		t.Errorf("%d messages before the commit, %d had been there", n, was)
	}
	if err := db.Commit(); err != nil {
		t.Fatal(err)
	}
	if n := read(); n != was+1 {
		t.Errorf("%d messages after the commit, %d had been there", n, was)
	}
}

// A half without the other is an error, and does not hurt the transaction that there is.
func TestHalvesInTurn(t *testing.T) {
	db := openTest(t, testOptions(t.TempDir()))
	if err := db.Commit(); err != errNoTransaction {
		t.Errorf("commit of nothing: %v", err)
	}
	db.Rollback()
	for _, b := range []*session.Batch{session.NewBatch(), oneSession(1, "m")} {
		if err := db.Begin(b); err != nil {
			t.Fatal(err)
		}
		if err := db.Begin(oneSession(2, "n")); err != errTransaction {
			t.Errorf("begun twice: %v", err)
		}
		if err := db.PutUser(&User{Name: "u"}); err == nil {
			t.Error("a user was stored within a transaction")
		}
		if err := db.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if n := rowsOf(t, db, "session"); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

// A commit that fails has taken back what was begun, the limit of the file and what is
// reserved too.
func TestCommitFails(t *testing.T) {
	v := newFaultVFS(t)
	o := testOptions(t.TempDir())
	o.VFS, o.MaxSize = t.Name(), 1<<20
	db := openTest(t, o)
	apply(t, db, oneSession(1, "m"))
	next := fillRoom(t, db, 2)
	before, reserved := dumped(t, db), db.reserved
	b := oneMessage(1, next, "n")
	b.Sessions[1].Entries[0].Message.Payload = make([]byte, 1<<20) // more than the reserve
	b.Sessions[session.ID(db.reserved)] = oneSession(session.ID(db.reserved), "n").Sessions[session.ID(db.reserved)]
	if err := db.Begin(b); err != nil {
		t.Fatal(err)
	}
	if db.reserved == reserved {
		t.Error("the batch reserved no identifiers, so it is no test")
	}
	v.fail(sqlite3.IOERR_WRITE, 0, -1, 1)
	if err := db.Commit(); err == nil || errors.Is(err, session.ErrNoSpace) {
		t.Fatalf("the commit: %v", err)
	}
	v.fail(sqlite3.IOERR_WRITE, -1, -1, 0)
	if dumped(t, db) != before || db.reserved != reserved {
		t.Error("a commit that failed has left something")
	}
	apply(t, db, b)
	if db.reserved == reserved {
		t.Error("what was applied after it has reserved no identifiers")
	}
	if most, err := queryInt(db.w, "PRAGMA max_page_count"); err != nil || most == pagesUnlimited {
		t.Errorf("the file may have %d pages, %v", most, err)
	}
}
