//go:build unix

package admin

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// bindName is a directory for the socket until it has its mode: a socket is made with one
// that the umask gives, and somebody else might connect before that is changed.
const bindName = "admin.sock.new"

// listen opens the socket of a data directory. remove removes it from there.
func listen(dir string) (ln net.Listener, remove func(), err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, nil, err
	}
	place, private := filepath.Join(dir, socketName), filepath.Join(dir, bindName)
	if err := notOurs(place); err != nil {
		return nil, nil, err
	}
	if err := os.RemoveAll(private); err != nil { // of a process that was killed
		return nil, nil, err
	}
	if err := os.Mkdir(private, 0o700); err != nil {
		return nil, nil, err
	}
	defer func() { _ = os.Remove(private) }() // the next start does it otherwise
	path, done, err := reachable(dir, filepath.Join(bindName, socketName))
	if err != nil {
		return nil, nil, err
	}
	defer done()
	if ln, err = listenAt(path); err != nil {
		return nil, nil, err
	}
	if err := errors.Join(guard(path), os.Rename(path, place)); err != nil {
		_, _ = ln.Close(), os.Remove(path) // the first error is the one that tells
		return nil, nil, err
	}
	return ln, func() { _ = os.Remove(place) }, nil // the next start does it otherwise
}

// guard keeps others from a socket.
func guard(path string) error {
	if err := os.Chmod(path, 0o600); err != nil && !peersAreKnown {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && !peersAreKnown {
		return fmt.Errorf("the file system gives the socket the mode %v, with which others could connect", mode)
	}
	return nil
}
