//go:build linux && !race && !386 && !s390x

package link

import (
	"syscall"
	"unsafe"
)

// An ordinary system call tells the scheduler that it may block, which wakes
// the monitor thread of a process that was quiet: for a message now and then
// that is half of what it costs. MSG_DONTWAIT makes sure that these never do,
// so they need not. The race detector must see what is read and written, and
// two architectures have no system calls for it: see transport_call.go.
//
// They do with the end of the stack that is kept for functions that cannot grow
// it: so that of an idle connection need not be larger for them.

// rawCalls says which kind these are.
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
