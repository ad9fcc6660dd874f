package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
)

// socketName is the socket in the data directory.
const socketName = "admin.sock"

// pathBytesMax is the longest path of a socket, in bytes, that every system takes: 104 with
// a byte for the end.
const pathBytesMax = 103

// reachable returns a path of a file in dir that is short enough for a socket, which holds
// until done is called.
func reachable(dir, name string) (path string, done func(), err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return "", nil, err
	}
	path = filepath.Join(dir, name)
	if len(path) <= pathBytesMax {
		return path, func() {}, nil
	}
	if wd, err := os.Getwd(); err == nil {
		if relative, err := filepath.Rel(wd, path); err == nil && len(relative) <= pathBytesMax {
			return relative, func() {}, nil
		}
	}
	if path, done, err = byDescriptor(dir, name); errors.Is(err, errors.ErrUnsupported) {
		err = fmt.Errorf("the path of a socket has %d bytes at most on this system, and %s is longer: choose a shorter storage.data-dir", pathBytesMax, filepath.Join(dir, name))
	}
	return path, done, err
}

// notOurs returns an error if something that is no socket is in its place.
func notOurs(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is no socket: move it away", path)
	}
	return nil
}

// listenAt binds a socket, whose file stays when the listener is closed.
func listenAt(path string) (net.Listener, error) {
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	ln.SetUnlinkOnClose(false)
	return ln, nil
}
