//go:build unix && (!linux || race || 386 || s390x)

package link

import "syscall"

// rawCalls: see raw_nosched.go.
const rawCalls = false

func receiveNow(fd uintptr, b []byte) (int, error) { return syscall.Read(int(fd), b) }

func sendNow(fd uintptr, b []byte) (int, error) { return syscall.Write(int(fd), b) }
