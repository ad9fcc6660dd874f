package link

import (
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

// turns wait until the runtime has asked the system what has come, for all sockets: those who
// read what came before are ready then.
type turns struct {
	event *os.File // an eventfd, of which the runtime learns when it asks
	raw   syscall.RawConn
}

// newTurns returns nil, which waits for nothing, if there can be none.
func newTurns() *turns {
	fd, _, errno := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errno != 0 {
		return nil
	}
	t := &turns{event: os.NewFile(fd, "eventfd")}
	raw, err := t.event.SyscallConn()
	if err != nil || t.event.SetReadDeadline(time.Time{}) != nil { // the runtime does not wait for it
		_ = t.event.Close()
		return nil
	}
	t.raw = raw
	return t
}

// take waits for one. Many can at a time, one after the other.
func (t *turns) take() {
	if t == nil {
		return
	}
	asked := false
	_ = t.raw.Read(func(fd uintptr) bool { // an error says that it is closed
		if asked {
			return true
		}
		asked = true
		return !raise(fd)
	})
	runtime.Gosched() // the others that are ready now go first
}

// raise has an event come, and reports whether it will: never as good as 2^64 of them do.
func raise(fd uintptr) bool {
	one := uint64(1)
	_, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(&one)), unsafe.Sizeof(one))
	return errno == 0
}

func (t *turns) close() {
	if t != nil {
		_ = t.event.Close()
	}
}
