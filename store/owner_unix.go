//go:build unix

package store

import (
	"io/fs"
	"syscall"
)

// ownerOf returns the number of the user to whom a file belongs.
func ownerOf(info fs.FileInfo) (user int, ok bool) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(s.Uid), true
}
