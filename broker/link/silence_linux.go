package link

import "syscall"

// quickAck has the system acknowledge what was read now.
func quickAck(fd uintptr) {
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1) // fails for a connection that has ended
}
