package store

import (
	"fmt"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// The keys of table meta.
const (
	// nextSessionKey is the first Session ID that is not set aside.
	nextSessionKey = "next_session"
	// clockKey is what time it was, in Unix milliseconds, at about the last commit.
	clockKey = "clock"
	// syncedKey is 1 if every commit since the last checkpoint of a start was
	// synced. The setting of synchronous may have been another one when the WAL
	// was written.
	syncedKey = "wal_synced"
)

const putMetaSQL = "INSERT INTO meta VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET value = excluded.value, sum = excluded.sum"

// readMeta returns the value of a key, and whether it is there.
func readMeta(c *sqlite3.Conn, key string) (value int64, found bool, err error) {
	s, _, err := c.Prepare("SELECT value, sum FROM meta WHERE key = ?1")
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = s.Close() }() // its error is that of Step
	if err := s.BindText(1, key); err != nil {
		return 0, false, err
	}
	if !s.Step() {
		return 0, false, s.Err()
	}
	if value = s.ColumnInt64(0); s.ColumnInt64(1) != metaSum(key, value) {
		return 0, true, damaged(fmt.Errorf("the value of %s", key))
	}
	return value, true, nil
}

func (db *DB) putMeta(key string, value int64) error {
	s := db.stmts.putMeta
	if err := s.BindText(1, key); err != nil {
		return err
	}
	if err := s.BindInt64(2, value); err != nil {
		return err
	}
	if err := s.BindInt64(3, metaSum(key, value)); err != nil {
		return err
	}
	return s.Exec()
}

// clockStep is by how much the stored time lags at most behind the last commit.
const clockStep = time.Second

// clockDue reports whether the stored time is to be replaced by t.
func (db *DB) clockDue(t time.Time) bool {
	return !t.IsZero() && !t.Before(db.clock.Add(clockStep))
}

// putTime stores t unless the stored time is late enough. It never goes back.
func (db *DB) putTime(t time.Time) error {
	if !db.clockDue(t) {
		return nil
	}
	db.clock = t
	return db.putMeta(clockKey, unixMilli(t))
}

// LastTime returns the latest time that was committed when the store was
// opened; zero: none.
func (db *DB) LastTime() time.Time { return db.lastTime }

func (db *DB) readClock() error {
	ms, _, err := readMeta(db.w, clockKey)
	db.clock = timeOf(ms)
	db.lastTime = db.clock
	return err
}
