package store

import (
	"fmt"

	"github.com/ncruces/go-sqlite3"
)

// checkWAL looks, before the WAL is used, for damage that SQLite would take for its end.
// It can be told only if every commit was synced.
func checkWAL(c *sqlite3.Conn) error {
	synced, err := readSynced(c)
	if err != nil || synced != 1 {
		return err
	}
	wal, err := walFile(c)
	if err != nil || wal == nil {
		return err
	}
	size, err := wal.Size()
	if err != nil {
		return err
	}
	scan, err := scanWAL(wal, size)
	if err != nil {
		return err
	}
	return scan.err()
}

// readSynced returns what noteSynced noted; -1: nothing.
func readSynced(c *sqlite3.Conn) (synced int64, err error) {
	if t, err := tablesOf(c); err != nil || !t.sums {
		return -1, err
	}
	synced, found, err := readMeta(c, syncedKey)
	if err == nil && !found {
		synced = -1
	}
	return synced, err
}

// noteSynced notes how the commits of this process are synced, durably and out
// of the WAL, before the first of them. The WAL is empty when it is called.
func (db *DB) noteSynced(c *sqlite3.Conn) error {
	want := boolInt(db.o.Synchronous == "FULL" || db.o.Synchronous == "EXTRA")
	noted, err := readSynced(c)
	if err != nil || noted == want {
		return err
	}
	if t, err := tablesOf(c); err != nil || !t.sums {
		return err // the start that follows the migration notes it
	}
	err = c.Exec(fmt.Sprintf("PRAGMA synchronous = FULL; INSERT INTO meta VALUES ('%s', %d, %d) ON CONFLICT DO UPDATE SET value = excluded.value, sum = excluded.sum",
		syncedKey, want, metaSum(syncedKey, want)))
	if err != nil {
		return err
	}
	_, _, err = c.WALCheckpoint("main", sqlite3.CHECKPOINT_TRUNCATE)
	return err
}
