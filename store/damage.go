package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ncruces/go-sqlite3"
)

// indexCheckMax is the largest file, in bytes, whose indexes are checked against their
// tables at start, and fullCheckMax the largest of which every page is checked: 1 GB of
// the smallest rows takes 26 and 7 seconds. Of a larger file the header, the size and
// the schema are checked.
const (
	indexCheckMax = 128 << 20
	fullCheckMax  = 512 << 20
)

// ErrDamaged says that something stored is not what was written. By errors.Is every
// error about damage is one; an error about permission, space, a lock or a newer schema
// is not.
var ErrDamaged = errors.New("a stored value is damaged")

// damaged marks err as damage.
func damaged(err error) error { return &damageError{err} }

type damageError struct{ err error }

func (d *damageError) Error() string        { return "damaged: " + d.err.Error() }
func (d *damageError) Unwrap() error        { return d.err }
func (d *damageError) Is(target error) bool { return target == ErrDamaged }

// ifDamage marks what SQLite itself calls damage.
func ifDamage(err error) error {
	for _, code := range []error{sqlite3.CORRUPT, sqlite3.NOTADB, sqlite3.IOERR_SHORT_READ} {
		if errors.Is(err, code) && !errors.Is(err, ErrDamaged) {
			return damaged(err)
		}
	}
	return err
}

// checkSize compares the size of the file with what its header says. With a WAL
// the file may be shorter, so that is for after the checkpoint.
func (db *DB) checkSize() error {
	pages, err := queryInt(db.w, "PRAGMA page_count")
	if err != nil {
		return err
	}
	size, err := queryInt(db.w, "PRAGMA page_size")
	if err != nil {
		return err
	}
	if got := db.Stats().FileBytes; got != pages*size {
		return damaged(fmt.Errorf("the file has %d bytes, and %d pages of %d bytes are %d", got, pages, size, pages*size))
	}
	return nil
}

// check looks for damage before anything is acknowledged on top of it.
func (db *DB) check() error {
	if db.Stats().WALBytes == 0 {
		if err := db.checkSize(); err != nil {
			return err
		}
	}
	bytes := db.Stats().FileBytes
	if bytes > fullCheckMax {
		_, err := queryInt(db.w, "SELECT count(*) FROM sqlite_schema")
		return err
	}
	pragma := "integrity_check"
	if bytes > indexCheckMax || db.o.Handed {
		pragma = "quick_check"
	}
	result, err := queryText(db.w, "PRAGMA "+pragma+"(1)")
	if err != nil {
		return fmt.Errorf("%s: %w", pragma, err)
	}
	if result != "ok" {
		return damaged(fmt.Errorf("%s: %s", pragma, result))
	}
	return nil
}

// fileMagic begins every database of SQLite.
const fileMagic = "SQLite format 3\x00"

// mayBeDatabase returns an error if a file was never one of our databases, which is no damage
// of it. One whose first page was overwritten has still the size and the zeros of one.
func mayBeDatabase(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: it is no file", ErrForeign)
	}
	begins := make([]byte, 2*pageSize)
	n, err := io.ReadFull(f, begins)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	begins = begins[:n]
	switch {
	case bytes.HasPrefix(begins, []byte(fileMagic)):
		return nil
	case n == 0:
		return fmt.Errorf("%w: the file is empty", ErrForeign)
	case info.Size()%pageSize != 0 || n < 2*pageSize || !bytes.Contains(begins, []byte{0}):
		return fmt.Errorf("%w: no file of SQLite", ErrForeign)
	}
	return nil
}
