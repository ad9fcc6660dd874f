package store

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestCannotTell: which errors say that a file is not where it was. To have no right
// to look is none: what is stored is still there.
func TestCannotTell(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, missing := os.Stat(filepath.Join(dir, "missing"))
	_, below := os.Stat(filepath.Join(file, "below")) // the directory was replaced by a file
	for _, c := range []struct {
		err  error
		want bool
	}{
		{missing, false},
		{below, false},
		{nil, false},
		{&fs.PathError{Op: "stat", Path: file, Err: syscall.ELOOP}, false},
		{&fs.PathError{Op: "stat", Path: file, Err: syscall.EIO}, false},
		{&fs.PathError{Op: "stat", Path: file, Err: syscall.EACCES}, true},
		{&fs.PathError{Op: "stat", Path: file, Err: syscall.EPERM}, true},
		{&fs.PathError{Op: "stat", Path: file, Err: syscall.ENOMEM}, true},
		{&fs.PathError{Op: "stat", Path: file, Err: syscall.ETIMEDOUT}, true},
	} {
		if got := cannotTell(c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}
