package broker

import (
	"time"

	"github.com/x0a1b/promptmq/broker/lock"
	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/codec"
)

// Revoke ends the connections of a user, who was disabled or deleted, or whose password is
// another one now, and returns how many there were. A CONNECT that was authenticated before
// is refused. The Sessions stay: what is delivered to them is for the Directory to say, which
// must know of the change before.
func (b *Broker) Revoke(user string) (connections int) {
	b.revocations.add(user)
	for _, cl := range b.registry.all() {
		who := cl.who.Load()
		if who != nil && who.conn != nil && who.User == user && b.endConnection(who, codec.NotAuthorized, "the user may not connect any more") {
			connections++
		}
	}
	return connections
}

// endIdentity ends a connection because the Identity has ended by which it was let in.
func (b *Broker) endIdentity(who *principal, now time.Time) {
	if ended(who.Identity, now) {
		b.endConnection(who, codec.MaximumConnectTime, "what says who the Client is has ended")
	}
}

// endConnection makes the reader of a principal's connection end it, and reports whether it was
// still there. Its Will is due as if the Network Connection were lost. No lock may be held.
func (b *Broker) endConnection(who *principal, reason codec.ReasonCode, detail string) bool {
	told := b.tellEnd(who, reason, detail)
	if told {
		b.m.IdentitiesEnded(reason.String()).Inc()
	}
	return told
}

// tellEnd is endConnection without counting it.
func (b *Broker) tellEnd(who *principal, reason codec.ReasonCode, detail string) bool {
	c := who.conn
	current := func() bool {
		cl := c.client
		cl.mu.Lock()
		defer cl.mu.Unlock()
		if cl.conn != c || cl.who.Load() != who || c.marked(identityEnded) {
			return false
		}
		who.ended = refuse(reason, detail, "user", notice.Shown(who.User))
		c.mark(identityEnded)
		return true
	}()
	if current {
		c.out.Interrupt()
		c.net().Wake()
	}
	return current
}

// whyNoMore is why nothing that comes on the connection has any effect any more.
func (c *conn) whyNoMore() error {
	switch who := c.client.who.Load(); {
	case !c.marked(identityEnded):
		return errTakenOver
	case who != nil && who.conn == c && who.ended != nil:
		return who.ended
	}
	return refuse(codec.NotAuthorized, "who the Client was has ended") // it has become another meanwhile, or its Session is another's
}

// revocations are the users whose connections were ended, so that a CONNECT that was
// authenticated before that, and is under way, does not get its Session.
type revocations struct {
	mu   lock.Mutex[lock.Leaf] // guards the following
	last uint64
	of   map[string]uint64 // the last of each user: as many as an operator has revoked
}

func (r *revocations) add(user string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = make(map[string]uint64)
	}
	r.last++
	r.of[user] = r.last
}

// now is the number of the last revocation.
func (r *revocations) now() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// check refuses a principal that was revoked since it was asked about.
func (r *revocations) check(who *principal) error {
	if who == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of[who.User] > who.asked {
		return refuse(codec.NotAuthorized, "the user may not connect any more")
	}
	return nil
}
