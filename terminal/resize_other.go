//go:build !unix

package terminal

import "os"

// notifyResize does nothing: there is no such signal.
func notifyResize(chan<- os.Signal) {}
