//go:build unix

package metrics

import "syscall"

// OpenFilesMax is how many files and sockets the process may have open; 0: it is not
// known. The runtime has raised it as far as it may be.
func OpenFilesMax() uint64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return uint64(limit.Cur) //nolint:unconvert // signed on some systems
}
