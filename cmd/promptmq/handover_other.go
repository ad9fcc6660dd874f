//go:build !unix

package main

import "errors"

func closeOnExec(uintptr) {}

// mayHandOver returns an error if a new process cannot take the place of this one.
func mayHandOver() error {
	return errors.New("on this system a process cannot pass its sockets on: stop the broker, and start the new one")
}
