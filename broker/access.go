package broker

import (
	"bytes"
	"net"

	"github.com/x0a1b/promptmq/codec"
)

// admitNobody decides whether a Client may connect while there is no Authenticator: whoever
// comes from this machine may, others only if anonymous access was allowed in so many words.
// What a proxy on this machine hands on is not local, where it can be told: see
// link.Accepted and link.Listener.CheckFirst.
func (c *conn) admitNobody() error {
	if c.b.options().AllowAnonymous || c.local {
		return nil
	}
	detail := "anonymous Clients are admitted from loopback only"
	if isLoopback(c.net().RemoteAddr()) {
		detail += ", and not if a proxy hands them on or their Host is another than localhost"
	}
	return refuse(codec.NotAuthorized, detail, "key", "auth.allow-anonymous")
}

// isLoopback reports whether the peer is on this machine. A peer without an
// address (an in-memory connection) is.
func isLoopback(a net.Addr) bool {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.IP.IsLoopback()
	}
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.Network() == "pipe"
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

var sysTopics = []byte("$SYS/")

// mayPublish reports whether a Client may publish to a topic: those that the
// Server itself reports on are not theirs. Section 4.7.2.
func mayPublish(name codec.View) bool { return !bytes.HasPrefix(name, sysTopics) }
