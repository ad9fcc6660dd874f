//go:build !unix

package main

import "time"

// pause does nothing to the process where one cannot be stopped for a while.
func (s *server) pause(d time.Duration) { time.Sleep(d) }
