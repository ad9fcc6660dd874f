package broker

import (
	"time"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// A principal is who a connection is taken for, or, without one, the owner of a Session.
type principal struct {
	*access.Identity
	conn  *conn  // nil: of the owner of a Session
	asked uint64 // revocations that came later may be about it
	timer uint32 // its place in timers
	ended error  // why conn is to end; written before that is marked

	// sends publishes and subscribes: it belongs to the reader of conn; nil: it was not
	// needed yet. Client.mu guards receives, which receives.
	sends, receives *access.Subject
	// under is, of an owner, the permission under which it was found. If there is no such
	// user any more receives is nil.
	under *permission
}

// nobodyOn is the principal of a connection about which nobody was asked.
func nobodyOn(c *conn) *principal {
	return &principal{Identity: &access.Identity{Method: access.ByNobody}, conn: c}
}

// user is the user name; "": nobody is known. A nil principal is nobody's.
func (who *principal) user() string {
	if who == nil {
		return ""
	}
	return who.User
}

// place makes a principal timed: its Identity may end.
func (who *principal) place() *uint32 { return &who.timer }

// enterWhoLocked makes who the principal of the connection that has just come; nil: it was
// not asked for. The caller holds client.mu.
func (cl *Client) enterWhoLocked(who *principal) {
	cl.who.Store(who)
	if who != nil && !who.Until.IsZero() {
		cl.b.timers.set(who, dueAt(who.Until))
	}
}

// leaveWhoLocked forgets the principal of the connection that has just gone.
func (cl *Client) leaveWhoLocked() {
	if who := cl.who.Load(); who != nil {
		cl.b.timers.remove(who)
		cl.who.Store(nil)
	}
}

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
// unknown has made is whose who comes next. If nobody is asked who Clients are, all that
// was stored is for whoever is let in. The caller holds client.mu.
func (cl *Client) foreignLocked(who *principal) bool {
	owner := cl.ownerLocked()
	return owner != "" && who != nil && owner != who.User && !control.Broken(control.OwnerIgnored)
}

func errForeign() error {
	return refuse(codec.NotAuthorized, "the Session with this Client Identifier is another user's")
}

// An author is whose a Will is that is to be published.
type author struct {
	user string           // the owner of the Session
	who  *access.Identity // of the connection that has just ended; nil: it did before, or who it was has ended
}

// leavingAuthorLocked is the author of the Will of the connection that is about to leave.
func (cl *Client) leavingAuthorLocked(now time.Time) author {
	by := author{user: cl.sess.UserName}
	if who := cl.who.Load(); who != nil && !ended(who.Identity, now) {
		by.who = who.Identity
	}
	return by
}

// mayPublishWill decides when a Will is due. The rules of a token hold for the Will of the
// connection that has just ended; nobody knows them later.
func (b *Broker) mayPublishWill(w *session.Will, clientID string, by *author) bool {
	perm := b.permission.Load()
	if perm == nil || control.Broken(control.NotAskedWillAtEnd) {
		return true
	}
	who, known := perm.owner(by.user)
	if !known {
		return false
	}
	if by.who != nil {
		who = by.who
	}
	m := w.Message
	return perm.policy.Decide(access.NewSubject(who, clientID), access.Request{
		Action: access.Publish, Topic: m.Topic, QoS: m.QoS, Retain: m.Retain,
	}).Allowed
}

// mayHaveWill decides when a Will comes with CONNECT.
func (b *Broker) mayHaveWill(who *principal, clientID string, w *codec.Will) bool {
	perm := b.permission.Load()
	if perm == nil || control.Broken(control.NotAskedWillAtConnect) {
		return true
	}
	var id *access.Identity
	if who != nil {
		id = who.Identity
	}
	return perm.policy.DecideView(access.NewSubject(id, clientID), w.Topic, access.Request{
		Action: access.Publish, QoS: w.QoS, Retain: w.Retain,
	}).Allowed
}
