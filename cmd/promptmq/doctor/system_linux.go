package doctor

import (
	"os"
	"syscall"
)

// syncData syncs as SQLite does.
func syncData(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }

// synchronised reports whether the clock of this machine is set by another one.
func synchronised() (is, known bool) {
	const unsynchronised = 0x40 // STA_UNSYNC
	var t syscall.Timex
	if _, err := syscall.Adjtimex(&t); err != nil {
		return false, false
	}
	return t.Status&unsynchronised == 0, true
}
