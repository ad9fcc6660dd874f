package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"github.com/ncruces/go-sqlite3"
)

// An ExposedFile is a file of the store that other users of the machine may read
// or write, and whose mode cannot be changed.
type ExposedFile struct {
	Path string
	Mode fs.FileMode
	Err  error // nil: the file system took the change and made none
}

// Exposed returns the files that Open could not keep others from.
func (db *DB) Exposed() []ExposedFile { return db.exposed }

// secureFiles keeps others from reading what SQLite made, as far as the file
// system lets it, and makes the names of those files durable.
func (db *DB) secureFiles() error {
	db.exposed = nil
	dir, err := os.Stat(db.o.DataDir)
	if err != nil {
		return err
	}
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		open, err := secureFile(db.path + suffix)
		if err != nil {
			return err
		}
		if open != nil && dir.Mode().Perm()&0o011 != 0 { // else nobody comes as far as the file
			db.exposed = append(db.exposed, *open)
		}
	}
	return syncDir(db.o.DataDir)
}

// secureFile takes all rights to a file from others, and returns those that they keep.
// If the file system has no modes, or the file belongs to somebody else, that is no
// error: refusing to start would make the file no safer.
func secureFile(path string) (open *ExposedFile, err error) {
	const others = 0o077
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && (info.Mode().Perm()&others == 0 || runtime.GOOS == "windows")) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	err = os.Chmod(path, 0o600)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, fs.ErrPermission), errors.Is(err, errors.ErrUnsupported):
		return &ExposedFile{path, info.Mode(), err}, nil
	case err != nil:
		return nil, err
	}
	if info, err = os.Stat(path); err == nil && info.Mode().Perm()&others != 0 {
		return &ExposedFile{path, info.Mode(), nil}, nil
	}
	return nil, nil
}

// hint adds to an error of the file system what can be done about it.
func (db *DB) hint(err error) error {
	if errors.Is(err, sqlite3.IOERR_SHMMAP) || errors.Is(err, sqlite3.IOERR_SHMOPEN) || errors.Is(err, sqlite3.IOERR_SHMSIZE) {
		return unfit{fmt.Errorf("%w; the file system of %s cannot share mapped memory, which storage.sqlite.journal-mode WAL needs: choose TRUNCATE, or another file system", err, db.o.DataDir)}
	}
	return db.hintOwner(err)
}

// hintOwner adds to an error of access who owns the directory and who asked.
func (db *DB) hintOwner(err error) error {
	denied := errors.Is(err, fs.ErrPermission) || errors.Is(err, sqlite3.READONLY) || errors.Is(err, sqlite3.CANTOPEN) || errors.Is(err, sqlite3.PERM)
	if !denied {
		return err
	}
	for _, path := range []string{db.path, db.o.DataDir} {
		info, statErr := os.Stat(path)
		if statErr != nil {
			continue
		}
		if user, ok := ownerOf(info); ok && user != os.Geteuid() {
			return fmt.Errorf("%w; %s belongs to user %d with mode %v, and this process runs as user %d: give it the data directory and what is in it (chown -R), or choose another with storage.data-dir",
				err, path, user, info.Mode(), os.Geteuid())
		}
	}
	return err
}
