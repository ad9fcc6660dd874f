package link

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

func init() {
	kinds[KindUnix] = &kind{open: openUnix, serve: serveStreams, foreign: foreignToMQTT}
}

// A localPeer is the other end of a Unix socket, which has no address.
type localPeer struct{}

func (localPeer) Network() string { return "unix" }
func (localPeer) String() string  { return "unix" }

// localSocketMode is the mode of a socket if nothing is said: for the same user.
const localSocketMode fs.FileMode = 0o600

func modeOf(mode fs.FileMode) fs.FileMode { return cmp.Or(mode, localSocketMode) }

// openUnix opens a Unix socket. It is made where nobody else can connect, since it has the
// umask's mode at first, and moved to its place, where it replaces one that a killed process
// has left.
func openUnix(c *ListenerConfig) (net.Listener, error) {
	path := c.Address
	failed := func(err error) error { return fmt.Errorf("%s: cannot listen on %q: %w", c.Key, path, err) }
	if strings.HasPrefix(path, "@") {
		return nil, failed(errors.New("a socket needs a path: one without has no mode that keeps others out"))
	}
	if err := unused(path); err != nil {
		return nil, failed(err)
	}
	private := path + ".new"
	made := filepath.Join(private, "s")
	if err := unused(made); err == nil { // else making the directory says why not
		_ = os.Remove(made) // of a process that was killed here
		_ = os.Remove(private)
	}
	if err := os.Mkdir(private, 0o700); err != nil {
		return nil, failed(err)
	}
	defer func() { _ = os.Remove(private) }() // the next start does it otherwise
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, failed(err)
	}
	ln.SetUnlinkOnClose(false) // it would be the name that it was made with
	l := &localListener{UnixListener: ln, path: path}
	if err = os.Chmod(made, modeOf(c.Mode)); err == nil {
		if l.file, err = os.Lstat(made); err == nil {
			err = os.Rename(made, path)
		}
	}
	if err != nil {
		_ = ln.Close()
		_ = os.Remove(made)
		return nil, failed(err)
	}
	return l, nil
}

// unused returns nil if there is nothing at path, or a socket that nobody listens on.
func unused(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("there is a file that is no socket")
	}
	nc, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		_ = nc.Close()
		return errors.New("another program listens there")
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return fmt.Errorf("it cannot be told whether another program listens there: %w", err)
}

// A localListener removes its socket in the end, unless another has taken the place, or it is
// to keep it.
type localListener struct {
	*net.UnixListener
	path   string
	file   fs.FileInfo // nil: there is none to remove
	passed bool        // the path belongs to who made the socket
	keep   atomic.Bool
}

func (l *localListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

func (l *localListener) Close() error {
	if now, err := os.Lstat(l.path); err == nil && !l.keep.Load() && l.file != nil && os.SameFile(now, l.file) {
		_ = os.Remove(l.path) // it is replaced at the next start
	}
	return l.UnixListener.Close()
}
