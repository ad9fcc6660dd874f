package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ncruces/go-sqlite3"

	"github.com/x0a1b/promptmq/session"
)

// ErrInUse says that another process has the store open.
var ErrInUse = errors.New("another process uses the data directory")

// An inUse is an error that is ErrInUse too.
type inUse struct{ error }

func (e inUse) Unwrap() error        { return e.error }
func (e inUse) Is(target error) bool { return target == ErrInUse }

// Errors of Open beside ErrInUse and ErrDamaged.
var (
	// ErrFileSystem is of a file system that has not what the store needs.
	ErrFileSystem = errors.New("the file system is not fit for a database")
	// ErrNewer is of a database that a newer program has written.
	ErrNewer = errors.New("use a newer promptmq")
	// ErrForeign is of a file that is not one of the store.
	ErrForeign = errors.New("not a PromptMQ database")
	// ErrGone is of a running store whose files are no longer where they were.
	ErrGone = session.ErrStoreGone
)

// An unfit is an error that is ErrFileSystem too.
type unfit struct{ error }

func (e unfit) Unwrap() error        { return e.error }
func (e unfit) Is(target error) bool { return target == ErrFileSystem }

// Exists reports whether there is a database in a data directory.
func Exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, fileName))
	return err == nil
}

// Owner returns the number of the user to whom a data directory, or the database in it,
// belongs, where the system has such numbers.
func Owner(dir string) (user int, known bool) {
	for _, path := range []string{filepath.Join(dir, fileName), dir} {
		if info, err := os.Stat(path); err == nil {
			return ownerOf(info)
		}
	}
	return 0, false
}

// prepareFiles makes the directory, takes the lock, and makes a new database
// beside its place if there is none: a file at that place is never half made.
func (db *DB) prepareFiles() error {
	if err := os.MkdirAll(db.o.DataDir, 0o700); err != nil {
		return err
	}
	lock, err := lockFile(filepath.Join(db.o.DataDir, lockName))
	if err != nil {
		return err
	}
	db.lock = lock
	if err := finishSalvage(db.path); err != nil {
		return err
	}
	info, err := os.Stat(db.path)
	switch {
	case err == nil && info.Size() == 0:
		return damaged(errors.New("the file is empty"))
	case err == nil:
		return db.secureFiles()
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	for _, suffix := range []string{"-wal", "-journal"} {
		if info, err := os.Stat(db.path + suffix); err == nil && info.Size() > 0 {
			return damaged(fmt.Errorf("the file is missing, but %s has %d bytes, which belong to it", db.path+suffix, info.Size()))
		}
	}
	return createDatabase(db.path)
}

func createDatabase(path string) error {
	next := path + ".new"
	for _, leftover := range []string{next, next + "-journal"} {
		if err := os.Remove(leftover); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	f, err := os.OpenFile(next, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	c, err := sqlite3.OpenFlags(fileURI(next), sqlite3.OPEN_READWRITE|sqlite3.OPEN_URI)
	if err != nil {
		return err
	}
	err = c.Exec(fmt.Sprintf("PRAGMA page_size = %d; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA synchronous = FULL", pageSize))
	if err == nil {
		err = migrate(c)
	}
	if err := errors.Join(err, c.Close()); err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// uri names the database. Files that SQLite makes beside it get its mode.
func (db *DB) uri() string {
	uri := fileURI(db.path) + "?modeof=" + escape.Replace(filepath.ToSlash(db.path))
	return uri + "&vfs=" + escape.Replace(db.o.VFS)
}

var escape = strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23", "&", "%26", "=", "%3d", "+", "%2b")

// fileURI escapes what means something in a URI.
func fileURI(path string) string {
	return "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(filepath.ToSlash(path))
}
