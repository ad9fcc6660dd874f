package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ErrTarget says that what is asked for is not done to, or with, the files that are named.
var ErrTarget = errors.New("not with that file")

// A badTarget is an error that is ErrTarget too.
type badTarget struct{ error }

func (e badTarget) Unwrap() error        { return e.error }
func (e badTarget) Is(target error) bool { return target == ErrTarget }

// CheckTarget returns an error that is ErrTarget if a file at path would replace something
// that is no regular file, or would be taken for one of a data directory: of dir, or of any
// other. path need not exist.
func CheckTarget(dir, path string) error {
	info, err := os.Lstat(path)
	switch {
	case err == nil && info.IsDir():
		return badTarget{fmt.Errorf("%s is a directory: name a file", path)}
	case err == nil && !info.Mode().IsRegular():
		return badTarget{fmt.Errorf("%s is no regular file: name another", path)}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(path)
	if _, err := os.Stat(parent); err != nil {
		return badTarget{fmt.Errorf("there is no directory for %s: %w", path, err)}
	}
	if isOfStore(filepath.Base(path)) && (sameFile(parent, dir) || isDataDir(parent)) {
		return badTarget{fmt.Errorf("%s has the name of a file of the store, in a data directory, which it would destroy: name another", path)}
	}
	if dir == "" {
		return nil
	}
	own, err := filepath.Glob(filepath.Join(escapeGlob(dir), "*"))
	if err != nil {
		return err
	}
	for _, file := range own {
		if isOfStore(filepath.Base(file)) && sameFile(path, file) {
			return badTarget{fmt.Errorf("%s is %s, a file of the store: name another", path, file)}
		}
	}
	return nil
}

// File is the path of the database in a data directory.
func File(dir string) string { return filepath.Join(dir, fileName) }

// isOfStore reports whether a file of a data directory is, or may become, one of the broker.
// Some file systems do not tell capital letters from small ones.
func isOfStore(name string) bool {
	name = strings.ToLower(name)
	for _, own := range []string{fileName, lockName, "admin.sock"} {
		if strings.HasPrefix(name, own) {
			return true
		}
	}
	return false
}

// isDataDir reports whether a broker has used a directory for its data.
func isDataDir(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, lockName))
	return err == nil
}

// sameFile reports whether two paths lead to one file that is there.
func sameFile(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}

// checkSource returns an error that is ErrTarget if a file is none that can be restored to dir: it is not
// there, or is itself what would be replaced.
func checkSource(from, dir string) error {
	info, err := os.Stat(from)
	switch {
	case err != nil:
		return badTarget{err}
	case !info.Mode().IsRegular():
		return badTarget{fmt.Errorf("%s is no regular file", from)}
	}
	path := filepath.Join(dir, fileName)
	for _, own := range []string{path, path + restoreSuffix} {
		if sameFile(from, own) {
			return badTarget{fmt.Errorf("%s is what would be replaced, and no backup of it", from)}
		}
	}
	return nil
}
