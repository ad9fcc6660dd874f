//go:build !unix

package admin

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
)

// listen opens the socket of a data directory. remove removes it from there. Who can get at
// it is what the directory says.
func listen(dir string) (ln net.Listener, remove func(), err error) {
	path, done, err := reachable(dir, socketName)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	place := filepath.Join(dir, socketName)
	if err := os.Remove(place); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	if ln, err = listenAt(path); err != nil {
		return nil, nil, err
	}
	return ln, func() { _ = os.Remove(place) }, nil // the next start does it otherwise
}
