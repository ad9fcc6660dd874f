//go:build linux && !race && !386 && !s390x

package link

import (
	"syscall"
	"unsafe"
)

// rawCalls says that reads and writes are system calls that the scheduler is not told of.
//
// An ordinary one tells it that it may block, which wakes the monitor thread of a process
// that was quiet: for a message now and then that is half of the cost. With MSG_DONTWAIT
// these never block. The race detector must see what is read and written, and two
// architectures have no such system calls: see raw_call.go.
//
// They are nosplit, so that the stack of an idle connection need not be larger for them.
const rawCalls = true

//go:nosplit
func receiveNow(fd uintptr, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), syscall.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

//go:nosplit
func sendNow(fd uintptr, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
