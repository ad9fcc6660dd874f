//go:build !linux

package store

// fileSystemOf is not known here.
func fileSystemOf(string) FileSystem { return FileSystem{} }

// freeBytes is not known here.
func freeBytes(string) int64 { return -1 }
