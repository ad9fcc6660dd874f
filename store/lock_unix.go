//go:build unix

package store

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lockFile takes the lock that keeps a second process out of the directory. It
// ends with the process, however that ends.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close() // the first error is the one that tells
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, unfit{fmt.Errorf("the file system has no locks, without which two processes could write to one database; storage.data-dir must be on another (lock %s: %w)", path, err)}
		}
		return nil, inUse{fmt.Errorf("another process uses this directory (lock %s: %w)", path, err)}
	}
	return f, nil
}
