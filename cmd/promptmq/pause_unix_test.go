//go:build unix

package main

import (
	"syscall"
	"time"
)

// pause stops the process for a while, as a machine does that is suspended or
// has too much to do.
func (s *server) pause(d time.Duration) {
	s.t.Helper()
	for _, signal := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
		if err := s.cmd.Process.Signal(signal); err != nil {
			s.t.Fatal(err)
		}
		time.Sleep(d) // how long it stands, and how long it has to recover
	}
}
