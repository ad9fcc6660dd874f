package link

import (
	"crypto/x509"
	"net"
	"net/netip"
)

// A Peer is what is known of the other end of a Network Connection, whatever it says in
// CONNECT.
type Peer struct {
	// Address is where it is, as a trusted proxy says if there is one; the zero Addr: that is
	// not known, or it came over a Unix socket.
	Address netip.Addr
	// Certificate is its verified one, User the name that the listener takes from it; nil
	// and "": none.
	Certificate *x509.Certificate
	User        string
}

// PeerOf returns what is known of the peer of a Transport.
func PeerOf(t Transport) Peer {
	p := Peer{Address: addressOf(t.RemoteAddr())}
	c := tlsOf(t)
	if c == nil {
		return p
	}
	if chain := c.ConnectionState().PeerCertificates; len(chain) > 0 {
		p.Certificate = chain[0]
		if listener := t.Listener().Config(); listener.TLS != nil {
			p.User = userOf(chain[0], listener.TLS.UserFrom)
		}
	}
	return p
}

// addressOf returns the IP address of a; the zero Addr: it has none.
func addressOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// IsLocal reports whether an address is on this machine. That of an in-memory connection,
// and of a Unix socket, is.
func IsLocal(a net.Addr) bool {
	if ip := addressOf(a); ip.IsValid() {
		return ip.IsLoopback()
	}
	return a.Network() == "pipe" || a.Network() == "unix"
}

// isLocal reports whether the peer of a socket is on this machine, and handed on by no proxy.
func (l *Listener) isLocal(s *socket) bool {
	c := l.config.Load()
	return !c.ProxyProtocol && !c.ForwardedFor && IsLocal(s.RemoteAddr())
}
