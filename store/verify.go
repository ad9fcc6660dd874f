package store

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/ncruces/go-sqlite3"
)

// A Verified says what a database has.
type Verified struct {
	// Damage is what is wrong with it; nil: nothing.
	Damage error
	// SchemaVersion is that of its tables.
	SchemaVersion int64
	// Tables count the rows of each kind: those of which the checksums are right, which a salvage
	// would recover, and those that are lost.
	Tables []SalvagedTable
	// Orphans are rows of Sessions that are not there, which do no harm: without
	// storage.sqlite.foreign-keys some may stay.
	Orphans int64
}

// VerifyStopped looks through the store of a broker that does not run, and changes nothing.
// Its error is ErrInUse if another process has the directory.
func VerifyStopped(dir string) (*Verified, error) {
	lock, err := lockFile(filepath.Join(dir, lockName))
	if err != nil {
		return nil, err
	}
	defer func() { _ = lock.Close() }() // only ever read
	return verifyFile(filepath.Join(dir, fileName))
}

// VerifyFile looks through a database that nobody writes to: what SQLite can tell of it, the
// checksum of every row, and that what rows refer to is there. It changes nothing. Its error
// is one of reading that is no damage.
func VerifyFile(path string) (*Verified, error) {
	if err := mayBeDatabase(path); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return verifyFile(path)
}

func verifyFile(path string) (*Verified, error) {
	v := new(Verified)
	c, err := openReadOnly(path)
	if err == nil {
		v.SchemaVersion, err = identify(c)
	}
	if err == nil {
		err = c.CreateFunction("row_sum", -1, sqlite3.DETERMINISTIC, rowSum)
	}
	if err == nil {
		v.Tables, err = verifyRows(c, v.SchemaVersion)
	}
	if err == nil {
		v.Orphans, err = verifyReferences(c)
	}
	if c != nil {
		defer func() { _ = c.Close() }() // only read
	}
	err = ifDamage(err)
	if err == nil || errors.Is(err, ErrDamaged) {
		v.Damage = err
		return v, nil
	}
	return nil, fmt.Errorf("%s: %w", path, err)
}

// verifyRows returns damage as an error, with what it found all the same.
func verifyRows(c *sqlite3.Conn, version int64) ([]SalvagedTable, error) {
	var faults []error
	result, err := queryText(c, "PRAGMA integrity_check(1)")
	if err != nil {
		faults = append(faults, ifDamage(err))
	} else if result != "ok" {
		faults = append(faults, damaged(fmt.Errorf("integrity_check: %s", result)))
	}
	s := salvager{from: c}
	if err := s.copyAll(); err != nil {
		return s.tables, err
	}
	for _, t := range s.tables {
		if t.Lost > 0 || t.Unreadable > 0 {
			faults = append(faults, damaged(fmt.Errorf("%d rows of %s are damaged, and %d places of it cannot be read", t.Lost, t.Name, t.Unreadable)))
		}
	}
	if version == int64(len(migrations)) {
		db := &DB{w: c}
		_, users := db.Users()
		_, rules := db.Rules()
		_, lost := db.AccessLost()
		faults = append(faults, users, rules, lost)
	}
	return s.tables, errors.Join(faults...)
}

// verifyReferences returns an error if a row refers to a message that is not there, or one is
// counted wrongly, and counts the rows of Sessions that are not there.
func verifyReferences(c *sqlite3.Conn) (orphans int64, err error) {
	for _, check := range []struct{ sql, what string }{
		{"SELECT count(*) FROM run WHERE body IS NOT NULL AND body NOT IN (SELECT id FROM body)", "queues refer to shared messages that are not there"},
		{"SELECT count(*) FROM body_ref LEFT JOIN (SELECT body, count(*) AS n FROM run WHERE body IS NOT NULL GROUP BY body) ON body = body_ref.id WHERE refs IS NOT n", "shared messages are counted wrongly"},
	} {
		n, err := queryInt(c, check.sql)
		if err != nil {
			return 0, err
		}
		if n > 0 {
			return 0, damaged(fmt.Errorf("%d %s", n, check.what))
		}
	}
	return queryInt(c, `SELECT (SELECT count(*) FROM run WHERE session NOT IN (SELECT id FROM session)) + (SELECT count(*) FROM state WHERE session NOT IN (SELECT id FROM session)) +
		(SELECT count(*) FROM subscription WHERE session NOT IN (SELECT id FROM session)) + (SELECT count(*) FROM will WHERE session NOT IN (SELECT id FROM session))`)
}
