//go:build unix

package link

import "syscall"

// Nonblocking says that sockets can be read and written without blocking.
const Nonblocking = true

// writeSocket writes what fd, which is in non-blocking mode, takes now.
func writeSocket(fd uintptr, b []byte) (int, error) {
	for {
		n, err := sendNow(fd, b)
		switch err {
		case nil:
			return n, nil
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			return 0, nil
		default:
			return 0, err
		}
	}
}

// readSocket reads what fd has now; again says that it has nothing yet.
func readSocket(fd uintptr, b []byte) (n int, again bool, err error) {
	for {
		n, err := receiveNow(fd, b)
		switch err {
		case nil:
			return n, false, nil
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			return 0, true, nil
		default:
			return 0, false, err
		}
	}
}

// hasEnded reports whether all that came over fd is read, and the peer has ended.
func hasEnded(fd uintptr) bool {
	var next [1]byte
	n, _, err := syscall.Recvfrom(int(fd), next[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return err == nil && n == 0 || err == syscall.ECONNRESET
}
