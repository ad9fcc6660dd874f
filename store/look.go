package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A Looked is what can be told of a store without opening it for work.
type Looked struct {
	// Version is that of the schema, Newest the one that this program makes of it.
	Version, Newest int64
	// Users and Rules are how many there are; -1 in a version that has none.
	Users, Rules int64
}

// LookStopped tells of the store in a data directory whose broker does not run, and writes
// nothing. Its error is ErrInUse if another process has the directory.
func LookStopped(dir string) (*Looked, error) {
	if path := filepath.Join(dir, lockName); fileThere(path) { // else it would be made
		lock, err := lockFile(path)
		if err != nil {
			return nil, err
		}
		defer func() { _ = lock.Close() }() // only ever read
	}
	c, err := openReadOnly(File(dir))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", File(dir), ifDamage(err))
	}
	defer func() { _ = c.Close() }() // only read
	l := &Looked{Newest: int64(len(migrations)), Users: -1, Rules: -1}
	if l.Version, err = identify(c); err == nil && l.Version >= accessVersion {
		if l.Users, err = queryInt(c, "SELECT count(*) FROM user"); err == nil {
			l.Rules, err = queryInt(c, "SELECT count(*) FROM rule")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", File(dir), ifDamage(err))
	}
	return l, nil
}

func fileThere(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// DirFileSystem returns what a directory is on, and how much the process may still write there;
// -1: that is not known.
func DirFileSystem(dir string) (system FileSystem, free int64) {
	return fileSystemOf(dir), freeBytes(dir)
}
