//go:build unix

package login

import "syscall"

// lowestPriority lets others run first. It is for the group, which is this process alone: on
// Linux PRIO_PROCESS is one thread. Without it the priority is that of the server.
func lowestPriority() { _ = syscall.Setpriority(syscall.PRIO_PGRP, 0, 19) }
