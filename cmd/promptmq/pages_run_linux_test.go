package main

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"unsafe"
)

var errNoNamespace = errors.New("the system gives no network namespace")

// loopbackOf, in the environment, has this test binary bring up the loopback of its network
// and become the command behind it.
const loopbackOf = "PROMPTMQ_TEST_LOOPBACK"

func init() {
	if os.Getenv(loopbackOf) == "" {
		return
	}
	if err := bringUpLoopback(); err != nil {
		panic(err)
	}
	if err := os.Unsetenv(loopbackOf); err != nil {
		panic(err)
	}
	panic(syscall.Exec(os.Args[1], os.Args[1:], os.Environ()))
}

func bringUpLoopback() error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	request := struct { // ifreq of netdevice(7)
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}{flags: syscall.IFF_UP | syscall.IFF_RUNNING}
	copy(request.name[:], "lo")
	if _, _, fault := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request))); fault != 0 {
		return fault
	}
	return nil
}

// runAlone runs a command with a network of its own, which has a loopback and nothing else.
func runAlone(cmd *exec.Cmd) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	cmd.Args = append([]string{program, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = program
	cmd.Env = append(cmd.Env, loopbackOf+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	if err := cmd.Start(); err != nil {
		return errors.Join(errNoNamespace, err)
	}
	return cmd.Wait()
}
