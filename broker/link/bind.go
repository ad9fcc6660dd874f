package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// Listen opens the TCP listener of a configuration key. The address means what it
// says: "0.0.0.0:1883" is every IPv4 address, "[::]:1883" every IPv6 address, and
// ":1883" both. Its error names the key and says what can be done.
func Listen(key, address string) (net.Listener, error) {
	network := networkOf(address)
	ln, err := listenTCP(network, address)
	if err != nil {
		return nil, fmt.Errorf("%s: cannot listen on %q: %w%s", key, address, err, adviceOn(key, err))
	}
	if network == "tcp" {
		return everywhere(ln), nil
	}
	return ln, nil
}

// everywhere returns ln, as an everyAddress if it is for both families.
func everywhere(ln net.Listener) net.Listener {
	if l, ok := ln.(*net.TCPListener); ok && l.Addr().(*net.TCPAddr).IP.IsUnspecified() && l.Addr().(*net.TCPAddr).IP.To4() == nil {
		return everyAddress{l}
	}
	return ln
}

// networkOf returns the network for net.Listen, which takes "tcp" with the
// unspecified address of either family for both.
func networkOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return "tcp"
	}
	switch ip, err := netip.ParseAddr(host); {
	case err != nil: // none, or a name
		return "tcp"
	case ip.Unmap().Is4():
		return "tcp4"
	default:
		return "tcp6"
	}
}

// adviceOn says what an operator can do about an error of net.Listen.
func adviceOn(key string, err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "; another program listens there, or a broker that runs already (promptmq doctor says which): end it, or choose another port with " + key
	case errors.Is(err, syscall.EACCES):
		return "; ports below 1024 are for the administrator: choose another with " + key + ", or grant CAP_NET_BIND_SERVICE"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "; no interface of this machine has that address: " + key + ` takes one that an interface has, or ":port" for all`
	case errors.Is(err, syscall.EAFNOSUPPORT):
		return "; this machine does not have that version of IP: " + key + ` takes ":port" for what it has`
	}
	var unknown *net.DNSError
	if errors.As(err, &unknown) {
		return "; " + key + ` takes an IP address, a name of this machine, or ":port" for all addresses`
	}
	return ""
}

// everyAddress is a listener on all addresses of both families, whose address
// net gives as that of IPv6 alone.
type everyAddress struct{ *net.TCPListener }

func (l everyAddress) Addr() net.Addr { return anyHost(l.TCPListener.Addr().(*net.TCPAddr).Port) }

// anyHost is a port on all addresses.
type anyHost int

func (anyHost) Network() string  { return "tcp" }
func (p anyHost) String() string { return fmt.Sprintf(":%d", int(p)) }
