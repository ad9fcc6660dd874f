//go:build !linux

package doctor

import "os"

// syncData syncs as SQLite does.
func syncData(f *os.File) error { return f.Sync() }

// synchronised is not known here.
func synchronised() (is, known bool) { return false, false }
