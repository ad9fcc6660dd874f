package broker

import (
	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/codec"
)

// ownerLocked is the user whose the Client's Session is, or the Will that the last process
// left; "": nobody's in particular. The caller holds client.mu.
func (cl *Client) ownerLocked() string {
	switch {
	case cl.sess != nil:
		return cl.sess.UserName
	case cl.stored != nil && cl.stored.kept != nil:
		return cl.stored.kept.UserName
	}
	return ""
}

// foreignLocked reports whether the Session is another user's than who's. What somebody
// unknown has made is whose who comes next. Without an Authenticator nobody is known: then
// all that was stored is for whoever is let in. The caller holds client.mu.
func (cl *Client) foreignLocked(who *access.Identity) bool {
	owner := cl.ownerLocked()
	return owner != "" && owner != who.User && who != nobody && !control.Broken(control.OwnerIgnored)
}

func errForeign() error {
	return refuse(codec.NotAuthorized, "the Session with this Client Identifier is another user's")
}
