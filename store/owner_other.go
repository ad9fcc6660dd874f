//go:build !unix

package store

import "io/fs"

// ownerOf is not known here.
func ownerOf(fs.FileInfo) (user int, ok bool) { return 0, false }
