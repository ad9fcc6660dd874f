package store

import (
	"fmt"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/x0a1b/promptmq/session"
)

// removeAll removes what is left to remove, and returns in how many transactions.
func removeAll(tb testing.TB, db *DB) (transactions int) {
	tb.Helper()
	for db.Removing() {
		if _, err := db.Remove(); err != nil {
			tb.Fatal(err)
		}
		transactions++
	}
	return transactions
}

// fillRuns gives the Session n entries from this Seq on, each in a run of its own.
func fillRuns(tb testing.TB, db *DB, id session.ID, from uint64, n int) {
	tb.Helper()
	for i := range uint64(n) {
		apply(tb, db, oneMessage(id, from+i, "payload"))
	}
}

func changed(db *DB) int64 { return db.w.TotalChanges() }

// queued returns how many bytes the store says that the queue of a Session holds;
// found: it is loaded.
func queued(tb testing.TB, db *DB, id session.ID) (bytes uint64, found bool) {
	tb.Helper()
	err := db.Load(func(l *session.Loaded) error {
		if l.Record.ID == id {
			bytes, found = l.QueuedBytes, true
		}
		return nil
	}, func(string, *session.RetainedWrite) error { return nil })
	if err != nil {
		tb.Fatal(err)
	}
	return bytes, found
}

// bytesFrom is the sum of Bytes over what Page reads.
func bytesFrom(tb testing.TB, db *DB, id session.ID, from uint64) (bytes uint64) {
	tb.Helper()
	for {
		page, err := db.Page(id, from, 1000, 1<<20)
		if err != nil {
			tb.Fatal(err)
		}
		if len(page) == 0 {
			return bytes
		}
		for i := range page {
			bytes += uint64(page[i].Bytes())
		}
		from = page[len(page)-1].Seq + 1
	}
}

// What is taken from among a queue costs what is taken, however much is behind
// it; what the queue holds is known all the same, at the next start too.
func TestDiscardingIsLinear(t *testing.T) {
	const runs, step = 1200, 100
	o := testOptions(t.TempDir())
	db := openTest(t, o)
	apply(t, db, oneSession(1, "m"))
	fillRuns(t, db, 1, 2, runs-1)
	before := changed(db)
	for from := uint64(1); from < runs; from += step {
		b := session.NewBatch()
		b.Sessions[1] = &session.Writes{}
		for seq := from; seq < from+step; seq++ {
			if seq%2 == 0 {
				b.Sessions[1].Discarded = append(b.Sessions[1].Discarded, seq)
			}
		}
		apply(t, db, b)
	}
	if n := changed(db) - before; n > 2*runs {
		t.Errorf("%d rows were changed to remove %d", n, runs/2)
	}
	for range 2 {
		got, _ := queued(t, db, 1)
		if want := bytesFrom(t, db, 1, 0); got != want || want == 0 {
			t.Errorf("%d bytes are said to be queued, %d are", got, want)
		}
		fillRuns(t, db, 1, runs+uint64(got), 10)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = openTest(t, o)
	}
	b := session.NewBatch()
	b.Sessions[1] = &session.Writes{Floor: 1 << 40}
	apply(t, db, b)
	removeAll(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openTest(t, o)
	if n := rowsOf(t, db, "run", "unsummed"); n != 0 {
		t.Errorf("%d rows are left of an empty queue", n)
	}
}

// However much is done or has ended, a transaction removes a bounded number of
// rows; the rest is gone for good all the same, after a restart too.
func TestRemovalsAreBounded(t *testing.T) {
	const runs, subs = 3 * removeRowsMax / 2, 3 * removeRowsMax
	state := func(floor uint64) []byte {
		return (&session.State{Floor: floor, Sent: floor, Next: runs + 1}).Append(nil)
	}
	for name, c := range map[string]struct {
		subs, bodies int
		w            session.Writes
		left         uint64 // of the queue
	}{
		"acknowledged in one go":              {w: session.Writes{Floor: runs - 9, State: state(runs - 9)}, left: 10},
		"ended":                               {w: session.Writes{Ended: true}},
		"ended, with many subscriptions":      {subs: subs, w: session.Writes{Ended: true}},
		"ended, with messages that it shares": {bodies: runs, w: session.Writes{Ended: true}},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restart %v", name, restart), func(t *testing.T) {
				o := testOptions(t.TempDir())
				db := openTest(t, o)
				b := oneSession(1, "m")
				b.Sessions[1].HasWill, b.Sessions[1].Will = true, &session.Will{Message: &session.Message{Topic: "w"}}
				b.Sessions[1].Subscriptions = make(map[string]*session.Subscription)
				for i := range c.subs {
					filter := fmt.Sprint("f/", i)
					b.Sessions[1].Subscriptions[filter] = &session.Subscription{Filter: filter}
				}
				apply(t, db, b)
				apply(t, db, oneSession(2, "other"))
				for i := range uint64(c.bodies) {
					b, m := session.NewBatch(), &session.Message{Topic: "t", QoS: 1}
					for id := range session.ID(2) {
						b.Sessions[id+1] = &session.Writes{Entries: []session.Entry{{Seq: i + 2, QoS: 1, Message: m}}}
					}
					apply(t, db, b)
				}
				if c.bodies == 0 {
					fillRuns(t, db, 1, 2, runs-1)
				}
				db.removedMost.Store(0)
				b = session.NewBatch()
				w := c.w
				b.Sessions[1] = &w
				apply(t, db, b)
				check := func() {
					t.Helper()
					bytes, found := queued(t, db, 1)
					if found == w.Ended {
						t.Errorf("the session is there: %v", found)
					}
					if want := bytesFrom(t, db, 1, w.Floor); found && (bytes != want || want == 0) {
						t.Errorf("%d bytes are said to be queued, %d are", bytes, want)
					}
				}
				if restart {
					if err := db.Close(); err != nil {
						t.Fatal(err)
					}
					db = openTest(t, o)
				}
				check()
				if !db.Removing() {
					t.Error("one transaction removed it all")
				}
				if n := rowsOf(t, db, "will"); w.Ended && n != 0 {
					t.Error("the Will of a session that has ended is there")
				}
				removeAll(t, db)
				check()
				if n := db.Stats().RemovedMost; n > removeRowsMax+2*removeChunk || n == 0 {
					t.Errorf("one transaction removed %d rows", n)
				}
				want := int64(c.left) + 1 + int64(c.bodies)*3 // of the other: run, body and body_ref
				if n := rowsOf(t, db, "run", "body", "body_ref"); n != want {
					t.Errorf("%d rows of queues are left, not %d", n, want)
				}
				if n := rowsOf(t, db, "subscription", "will", "state"); w.Ended && n != 0 {
					t.Errorf("%d rows of a session that has ended are left", n)
				}
			})
		}
	}
}

// A transaction that fails leaves nothing to remove that is not done.
func TestRemovalOfAFailedTransaction(t *testing.T) {
	v := newFaultVFS(t)
	o := testOptions(t.TempDir())
	o.VFS, o.RemoveRows = t.Name(), 1
	db := openTest(t, o)
	apply(t, db, oneSession(1, "m"))
	fillRuns(t, db, 1, 2, 4)
	b := session.NewBatch()
	b.Sessions[1] = &session.Writes{Floor: 6}
	b.Sessions[2] = oneSession(2, "n").Sessions[2]
	b.Sessions[2].Entries = []session.Entry{{Seq: 2, QoS: 1, Message: &session.Message{Topic: "t", Payload: make([]byte, 1<<20)}}}
	v.fail(sqlite3.FULL, 0, -1, 1<<30)
	if err := db.Apply(b); err == nil {
		t.Fatal("the transaction did not fail")
	}
	v.fail(sqlite3.FULL, -1, -1, 0)
	if db.Removing() {
		t.Error("something is left to remove of a transaction that failed")
	}
	if n := removeAll(t, db); n != 0 || rowsOf(t, db, "run") != 5 {
		t.Errorf("%d runs after %d transactions", rowsOf(t, db, "run"), n)
	}
}

// TestRangesAreBounded: a range of what is done, however long, holds up one transaction
// no longer than any other removal.
func TestRangesAreBounded(t *testing.T) {
	const runs = 3 * removeRowsMax / 2
	db := openTest(t, testOptions(t.TempDir()))
	apply(t, db, oneSession(1, "m")) // its message stays
	fillRuns(t, db, 1, 2, runs)
	db.removedMost.Store(0)
	b := session.NewBatch()
	b.Sessions[1] = &session.Writes{DiscardedRanges: []session.SeqRange{{First: 2, Last: runs / 2}, {First: runs/2 + 1, Last: runs + 1}}}
	apply(t, db, b)
	n := db.Stats().RemovedMost
	if n == 0 || n > removeRowsMax {
		t.Errorf("one transaction removed %d rows", n)
	}
	if left := rowsOf(t, db, "run"); left != 1+runs-int64(n) {
		t.Errorf("%d runs are left of %d, and %d were removed", left, 1+runs, n)
	}
}
