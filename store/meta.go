package store

import (
	"fmt"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/x0a1b/promptmq/session"
)

// The keys of table meta.
const (
	// nextSessionKey is the first Session ID that is not set aside.
	nextSessionKey = "next_session"
	// clockKey is the time at about the last commit, in Unix milliseconds, and systemKey
	// what the system clock said then.
	clockKey  = "clock"
	systemKey = "clock_system"
	// syncedKey is 1 if every commit since the last checkpoint of a start was
	// synced. The setting of synchronous may have been another one when the WAL
	// was written.
	syncedKey = "wal_synced"
	// usersKey and rulesKey count the rows of the tables. accessLostKey is 1 if a salvage
	// may have lost some of them, until KeepAccess.
	usersKey      = "users"
	rulesKey      = "rules"
	accessLostKey = "access_lost"
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

// clockStep is the most that the stored time lags behind the last commit.
const clockStep = time.Second

// A clockReading is a time, and what the system clock said then.
type clockReading struct{ time, system time.Time }

// clockDue reports whether the stored reading is to be replaced by that of b.
func (db *DB) clockDue(b *session.Batch) bool {
	was := db.clock
	return !b.Time.IsZero() && (!b.Time.Before(was.time.Add(clockStep)) ||
		!b.Time.Before(was.time) && (b.System.Sub(was.system)-b.Time.Sub(was.time)).Abs() >= clockStep) // it was set
}

// putTime stores the time of b unless the stored one is late enough. It never goes back.
func (db *DB) putTime(b *session.Batch) error {
	if !db.clockDue(b) {
		return nil
	}
	db.clock = clockReading{b.Time, b.System}
	if err := db.putMeta(clockKey, unixMilli(b.Time)); err != nil {
		return err
	}
	return db.putMeta(systemKey, unixMilli(b.System))
}

// LastTime returns the latest time that was committed when the store was
// opened, and what the system clock said then; zero: none.
func (db *DB) LastTime() (last, system time.Time) { return db.last.time, db.last.system }

func (db *DB) readClock() error {
	for key, t := range map[string]*time.Time{clockKey: &db.clock.time, systemKey: &db.clock.system} {
		ms, _, err := readMeta(db.w, key)
		if err != nil {
			return err
		}
		*t = timeOf(ms)
	}
	db.last = db.clock
	return nil
}
