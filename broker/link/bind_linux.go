package link

import (
	"context"
	"net"
	"os"
	"syscall"
)

// The probes by which the system finds out that a peer is gone which sends nothing:
// as net has them.
const keepAliveProbes, keepAliveProbeSeconds = 9, 15

// listenTCP is net.Listen, but what net sets for each socket that is accepted is
// set here once: four system calls less for each connection. On Linux it has
// what its listener has.
func listenTCP(network, address string) (net.Listener, error) {
	config := net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) error { return probePeersOf(c) }}
	ln, err := config.Listen(context.Background(), network, address)
	if err != nil { // perhaps of probePeers
		return net.Listen(network, address)
	}
	return ln, nil
}

func probePeersOf(c syscall.RawConn) (err error) {
	if failed := c.Control(func(fd uintptr) { err = probePeers(int(fd)) }); failed != nil {
		return failed
	}
	return err
}

// probe gives a listener that was passed what listenTCP sets.
func probe(ln *net.TCPListener) {
	if c, err := ln.SyscallConn(); err == nil {
		_ = probePeersOf(c) // net sets it for each socket that is accepted
	}
}

func probePeers(fd int) error {
	for _, o := range [...]struct{ level, name, value int }{
		{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, keepAliveProbeSeconds},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, keepAliveProbeSeconds},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, keepAliveProbes},
	} {
		if err := syscall.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return nil
}
