//go:build invariants && !amd64 && !arm64

package lock

import (
	"bytes"
	"runtime"
	"strconv"
)

// goroutine is the number of the goroutine that calls it, as its stack trace has it.
func goroutine() uintptr {
	var b [40]byte
	text := bytes.TrimPrefix(b[:runtime.Stack(b[:], false)], []byte("goroutine "))
	n, _ := strconv.ParseUint(string(text[:bytes.IndexByte(text, ' ')]), 10, 64) // it is always there
	return uintptr(n)
}
