//go:build !unix

package link

import "errors"

// Nonblocking says that sockets can be read and written without blocking.
const Nonblocking = false

var errBlockingOnly = errors.New("broker: sockets can only block here")

func writeSocket(uintptr, []byte) (int, error) { return 0, errBlockingOnly }

func hasEnded(uintptr) bool { return false }

func quickAck(uintptr) {}

func readSocket(uintptr, []byte) (n int, again bool, err error) { return 0, false, errBlockingOnly }
