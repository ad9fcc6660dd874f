package admin

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// peersAreKnown: it can be told who connects, whatever the mode of the socket is worth.
const peersAreKnown = true

// mayAdminister reports whether the peer is root or the user of this process.
func mayAdminister(c net.Conn) bool {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return false
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return false
	}
	var peer *syscall.Ucred
	if raw.Control(func(fd uintptr) {
		peer, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}) != nil || err != nil {
		return false
	}
	return peer.Uid == 0 || int(peer.Uid) == os.Geteuid()
}

// byDescriptor names a file in dir by an open descriptor of it.
func byDescriptor(dir, name string) (path string, done func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	return filepath.Join(fmt.Sprintf("/proc/self/fd/%d", d.Fd()), name), func() { _ = d.Close() }, nil // only a name
}
