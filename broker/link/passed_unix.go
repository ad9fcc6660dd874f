//go:build unix

package link

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// checkListens returns an error if a file is no socket that listens.
func checkListens(f *os.File) error {
	is, err := socketOption(f, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN)
	switch {
	case err != nil:
		return err
	case is == 0:
		return errors.New("it does not listen: with systemd, Accept=no is needed")
	}
	return nil
}

// socketOption is getsockopt of an int.
func socketOption(f syscall.Conn, level, name int) (value int, err error) {
	c, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	failed := c.Control(func(fd uintptr) { value, err = syscall.GetsockoptInt(int(fd), level, name) })
	return value, os.NewSyscallError("getsockopt", errors.Join(failed, err))
}

// onlyIPv6 reports whether a listener on all addresses is for IPv6 alone.
func onlyIPv6(ln net.Listener) bool {
	c, ok := ln.(syscall.Conn)
	if !ok {
		return false
	}
	only, err := socketOption(c, syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY)
	return err == nil && only != 0
}

// descriptorOf returns a new descriptor of the socket of a listener. That of its method File is
// made to block when it is passed, and with it the listener itself.
func descriptorOf(ln net.Listener) (f *os.File, err error) {
	l, ok := ln.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	c, err := l.SyscallConn()
	if err != nil {
		return nil, err
	}
	failed := c.Control(func(fd uintptr) {
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		var own int
		if own, err = syscall.Dup(int(fd)); err == nil {
			syscall.CloseOnExec(own)
			f = os.NewFile(uintptr(own), "listener")
		}
	})
	return f, os.NewSyscallError("dup", errors.Join(failed, err))
}
