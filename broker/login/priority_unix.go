//go:build unix

package login

import "syscall"

// lowestPriority lets others run first.
func lowestPriority() { _ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, 19) } // else it has the priority that it has
