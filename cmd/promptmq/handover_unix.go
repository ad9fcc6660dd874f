//go:build unix

package main

import (
	"errors"
	"os"
	"strconv"
	"syscall"
)

func closeOnExec(fd uintptr) { syscall.CloseOnExec(int(fd)) }

// mayHandOver returns an error if a new process cannot take the place of this one.
func mayHandOver() error {
	switch {
	case os.Getpid() == 1:
		return errors.New("the broker is process 1, as in a container, which ends with it: start another container in its place")
	case os.Getenv("SYSTEMD_EXEC_PID") == strconv.Itoa(os.Getpid()) && os.Getenv("NOTIFY_SOCKET") == "":
		return errors.New("systemd runs the broker and is not told of a new process, so it would end that too: say Type=notify in the unit, or use systemctl restart, with promptmq.socket if no connect may be refused")
	}
	return nil
}
