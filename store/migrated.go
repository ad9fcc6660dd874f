package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/x0a1b/promptmq/session"
)

// SchemaVersion is what Open brings a database to.
func SchemaVersion() int64 { return int64(len(migrations)) }

// versionAt is where the version stands in the first page, with four bytes.
const versionAt = 60

// SchemaOf returns the version of the database in a directory, which a broker may have open.
func SchemaOf(dir string) (int64, error) {
	path := filepath.Join(dir, fileName)
	// The WAL first: what is taken out of it meanwhile is in the file then.
	version, found, err := schemaInWAL(path + "-wal")
	if err != nil || found {
		return version, err
	}
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // only read
	var b [4]byte
	if _, err := f.ReadAt(b[:], versionAt); err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return int64(binary.BigEndian.Uint32(b[:])), nil
}

// schemaInWAL returns the version of the last commit in a WAL that has the first page.
func schemaInWAL(path string) (version int64, found bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	} else if err != nil {
		return 0, false, err
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return 0, false, err
	}
	scan, err := scanWAL(f, info.Size())
	if errors.Is(err, io.EOF) {
		return 0, false, nil // it was cut meanwhile: all of it is in the file
	} else if err != nil {
		return 0, false, err
	}
	var number, b [4]byte
	for i := scan.end - 1; i >= 0; i-- {
		at := scan.offset(i)
		if _, err := f.ReadAt(number[:], at); err != nil {
			return 0, false, err
		}
		if binary.BigEndian.Uint32(number[:]) == 1 {
			_, err := f.ReadAt(b[:], at+frameHeaderBytes+versionAt)
			return int64(binary.BigEndian.Uint32(b[:])), err == nil, err
		}
	}
	return 0, false, nil
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
