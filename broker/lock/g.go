//go:build invariants && (amd64 || arm64)

package lock

// goroutine tells the goroutine that calls it from all others that live: it is where the
// runtime keeps it. (To read its number from runtime.Stack takes microseconds.)
func goroutine() uintptr
