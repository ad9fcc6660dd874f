package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/x0a1b/promptmq/session"
)

// An openFile is a file of the store and its path. A process may go on writing
// to a file that was removed or moved, and to its database while another is in
// its place; only what the path leads to is there for the next start.
type openFile struct {
	path string
	info fs.FileInfo
}

// noteFiles notes the files that are open, for Gone.
func (db *DB) noteFiles() error {
	paths := []string{db.path, filepath.Join(db.o.DataDir, lockName)}
	if db.o.JournalMode == "WAL" {
		paths = append(paths, db.path+"-wal", db.path+"-shm")
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		db.files = append(db.files, openFile{path, info})
	}
	return nil
}

// Gone returns an error that is session.ErrStoreGone if a file of the store was
// removed, moved or replaced, or the directory that it is in. It costs a few
// microseconds.
func (db *DB) Gone() error {
	if broken("gone-files-unnoticed") {
		return nil
	}
	for _, f := range db.files {
		info, err := os.Stat(f.path)
		if (err == nil && os.SameFile(info, f.info)) || cannotTell(err) {
			continue
		}
		if err == nil {
			err = fmt.Errorf("another file is at %s", f.path)
		}
		return goneError{fmt.Errorf("the data directory, or a file of it, was removed, moved or replaced: %w", err)}
	}
	return nil
}

// cannotTell reports whether err leaves open that the file is still at its place: there
// was no permission, no memory or no time to look.
func cannotTell(err error) bool {
	for _, e := range []error{fs.ErrPermission, syscall.ENOMEM, syscall.ETIMEDOUT, syscall.EAGAIN} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// A goneError is an error that is session.ErrStoreGone too.
type goneError struct{ error }

func (e goneError) Unwrap() error        { return e.error }
func (e goneError) Is(target error) bool { return target == session.ErrStoreGone }
