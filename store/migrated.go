package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/x0a1b/promptmq/session"
)

// SchemaVersion is what Open brings a database to.
func SchemaVersion() int64 { return int64(len(migrations)) }

// SchemaOf returns the version of the database in a directory, which a broker may have open.
func SchemaOf(dir string) (int64, error) {
	const versionAt = 60 // of four bytes, in the header of the file
	f, err := os.Open(filepath.Join(dir, fileName))
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // only read
	var version [4]byte
	if _, err := f.ReadAt(version[:], versionAt); err != nil {
		return 0, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return int64(binary.BigEndian.Uint32(version[:])), nil
}

// A Migrated says what Migrate has done.
type Migrated struct {
	Before, After      int64 // versions of the schema; Before 0: there was no database
	Sessions, Retained int
	Bytes              int64 // of the file
}

// Migrate brings the database in a directory to the version of this program, makes one where
// there is none, and loads it, as a start does.
func Migrate(dir string) (m Migrated, err error) {
	o := DefaultOptions()
	o.DataDir = dir
	if Exists(dir) {
		if m.Before, err = SchemaOf(dir); err != nil {
			return m, err
		}
	}
	db, err := Open(o)
	if err != nil {
		return m, err
	}
	err = db.Load(
		func(*session.Loaded) error { m.Sessions++; return nil },
		func(string, *session.RetainedWrite) error { m.Retained++; return nil })
	m.After = SchemaVersion()
	err = errors.Join(err, db.Close())
	m.Bytes = filesOf(filepath.Join(dir, fileName)).FileBytes
	return m, err
}

// SizeOf is how large the database in a directory is, in bytes, with its WAL.
func SizeOf(dir string) int64 {
	s := filesOf(filepath.Join(dir, fileName))
	return s.FileBytes + s.WALBytes
}

// FreeBytes is how much the process may still write to the file system of a directory; -1: it
// is not known.
func FreeBytes(dir string) int64 { return freeBytes(dir) }
