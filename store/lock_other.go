//go:build !unix

package store

import (
	"errors"
	"io/fs"
	"os"
)

// lockFile keeps a second process out where an open file cannot be removed: the
// lock of a process that is gone can.
func lockFile(path string) (*os.File, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, inUse{err}
	}
	return os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
}
