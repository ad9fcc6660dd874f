package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// Salvaged says what Salvage found and did.
type Salvaged struct {
	// Damage is what was wrong with the store; nil: it is sound, and Salvage
	// changed nothing.
	Damage error
	// Aside is where the damaged database is now.
	Aside  string
	Tables []SalvagedTable
}

// SalvagedTable counts the rows of one kind.
type SalvagedTable struct {
	Name string
	// Recovered rows are in the new store. Lost ones were seen, but are damaged
	// or belong to something that is lost. Unreadable counts the places where
	// the table could not be read: how many rows each held is not known.
	Recovered, Lost, Unreadable int
}

// salvagedMark and asideMark stand in the names of what replaces a damaged
// database, and of where that is set aside, in front of the time.
const (
	salvagedMark = ".salvaged-"
	asideMark    = ".corrupt-"
)

// Salvage checks every row of the store in o.DataDir. If it is damaged, Salvage
// makes a new store of all that can be read and verified and sets the damaged
// one aside, named with the time. What is no damage is an error, and nothing is
// changed then.
func Salvage(o Options, now time.Time) (*Salvaged, error) {
	found := verify(o)
	if found == nil {
		return &Salvaged{}, nil
	}
	if !errors.Is(found, ErrDamaged) {
		return nil, found
	}
	dir, err := filepath.Abs(o.DataDir)
	if err != nil {
		return nil, err
	}
	lock, err := lockFile(filepath.Join(dir, lockName))
	if err != nil {
		return nil, err
	}
	defer func() { _ = lock.Close() }() // only ever read
	path := filepath.Join(dir, fileName)
	stamp := freeStamp(path, now)
	result := &Salvaged{Damage: found, Aside: path + asideMark + stamp}
	if result.Tables, err = rebuild(path, path+".salvage"); err != nil {
		return nil, fmt.Errorf("salvage: making the new store: %w", err)
	}
	// From this name on the new store is whole, and any start puts it in place.
	if err := os.Rename(path+".salvage", path+salvagedMark+stamp); err != nil {
		return nil, err
	}
	if err := syncDir(dir); err != nil {
		return nil, err
	}
	return result, finishSalvage(path)
}

// freeStamp is the time, with a number if that name is taken.
func freeStamp(path string, now time.Time) string {
	stamp := now.UTC().Format("20060102T150405Z")
	for n := 2; ; n++ {
		if _, err := os.Lstat(path + asideMark + stamp); errors.Is(err, fs.ErrNotExist) {
			return stamp
		}
		stamp = fmt.Sprintf("%s-%d", now.UTC().Format("20060102T150405Z"), n)
	}
}

// finishSalvage puts a salvaged store in place of the damaged one, which is set
// aside. A process that died in between is no harm: each start does it first.
func finishSalvage(path string) error {
	ready, err := filepath.Glob(escapeGlob(path) + salvagedMark + "*")
	if err != nil || len(ready) == 0 {
		return err
	}
	for _, next := range ready {
		aside := path + asideMark + strings.TrimPrefix(next, path+salvagedMark)
		// The database last: without it, its WAL would be taken for a lost one's.
		for _, suffix := range []string{"-shm", "-wal", "-journal", ""} {
			if err := os.Rename(path+suffix, aside+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		if err := os.Rename(next, path); err != nil {
			return err
		}
	}
	return syncDir(filepath.Dir(path))
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// verify opens the store and reads every row. A store that is not there is made.
func verify(o Options) error {
	db, err := Open(o)
	if err != nil {
		return err
	}
	err = db.verify()
	return errors.Join(err, db.Close())
}

func (db *DB) verify() error {
	_, err := verifyRows(db.w, int64(len(migrations)))
	return err
}

// rebuild makes a database at next of what can be read of the one at path,
// which is not written to.
func rebuild(path, next string) (tables []SalvagedTable, err error) {
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err // left over from a salvage that was cut short
	}
	if err := createDatabase(next); err != nil {
		return nil, err
	}
	to, err := sqlite3.OpenFlags(fileURI(next), sqlite3.OPEN_READWRITE|sqlite3.OPEN_URI)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	s := salvager{to: to}
	spare := next + "-spare"
	removeSpare(spare) // left over too
	defer removeSpare(spare)
	if from, err := openForSalvage(path, spare); err == nil {
		s.from = from
		defer func() { _ = from.Close() }() // nothing was written
	}
	if err := to.Exec("PRAGMA synchronous = FULL; BEGIN IMMEDIATE"); err != nil {
		return nil, err
	}
	if err := s.copyAll(); err != nil {
		rollback(to)
		return nil, err
	}
	return s.tables, to.Exec("COMMIT")
}

// openDamaged opens a database for reading only, however damaged, and leaves
// its WAL where it is.
func openDamaged(path string) (*sqlite3.Conn, error) {
	c, err := sqlite3.OpenFlags(fileURI(path), sqlite3.OPEN_READWRITE|sqlite3.OPEN_URI)
	if err != nil {
		return nil, err
	}
	_, err = c.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, true)
	if err == nil {
		err = c.Exec("PRAGMA mmap_size = 0; PRAGMA query_only = ON")
	}
	if err == nil {
		err = c.CreateFunction("row_sum", -1, sqlite3.DETERMINISTIC, rowSum)
	}
	if err != nil {
		_ = c.Close() // the first error is the one that tells
		return nil, err
	}
	return c, nil
}
