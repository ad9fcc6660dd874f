package broker

import (
	"bytes"

	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/codec"
)

// mayBeNobody reports whether a Client may come without credentials: as its listener says,
// or else whoever comes from this machine may, and others if anonymous access was allowed in
// so many words. What a proxy on this machine hands on is not local, where it can be told:
// see link.Accepted and link.Listener.CheckFirst.
func (c *conn) mayBeNobody() bool {
	switch c.net().Listener().Anonymous() {
	case link.AnonymousAlways:
		return true
	case link.AnonymousNever:
		return false
	}
	return c.b.options().AllowAnonymous || c.local
}

// admitNobody decides whether a Client may connect while there is no Authenticator.
func (c *conn) admitNobody() error {
	l := c.net().Listener()
	switch {
	case c.mayBeNobody():
		return nil
	case l.Anonymous() == link.AnonymousNever:
		return refuse(codec.NotAuthorized, "the listener admits no anonymous Clients", "listener", l.String())
	}
	detail := "anonymous Clients are admitted from loopback only"
	if link.IsLocal(c.net().RemoteAddr()) {
		detail += ", and not if a proxy hands them on or their Host is another than localhost"
	}
	return refuse(codec.NotAuthorized, detail, "key", "auth.allow-anonymous")
}

var sysTopics = []byte("$SYS/")

// mayPublish reports whether a Client may publish to a topic: those that the
// Server itself reports on are not theirs. Section 4.7.2.
func mayPublish(name codec.View) bool { return !bytes.HasPrefix(name, sysTopics) }
