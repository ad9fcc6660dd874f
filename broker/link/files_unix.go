//go:build unix

package link

import "syscall"

// openFilesMax is how many files and sockets the process may have open; 0: not
// known. The runtime has raised it as far as it may be.
func openFilesMax() uint64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return uint64(limit.Cur) //nolint:unconvert // signed on some systems
}
