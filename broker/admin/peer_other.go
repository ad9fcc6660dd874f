//go:build !linux

package admin

import (
	"errors"
	"net"
)

// peersAreKnown: it can be told who connects, whatever the mode of the socket is worth.
const peersAreKnown = false

// mayAdminister reports whether the peer is the user of this process, or root: the mode of
// the socket lets nobody else connect.
func mayAdminister(net.Conn) bool { return true }

// byDescriptor names a file in dir by an open descriptor of it, which this system cannot.
func byDescriptor(dir, name string) (path string, done func(), err error) {
	return "", nil, errors.ErrUnsupported
}
