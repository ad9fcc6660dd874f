package broker

import (
	"slices"

	"github.com/x0a1b/promptmq/broker/lock"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// A share is a Shared Subscription and the Sessions that are subscribed to it.
// Section 4.8.2.
type share struct {
	// Static after creation.
	filter string
	self   subscriber

	mu      lock.Mutex[lock.Leaf] // guards the following; members changes with router.mu held too
	members []member
	next    int
}

type member struct {
	client *Client
	b      binding
}

// set adds a member or replaces its subscription; it reports whether it is new.
func (sh *share) set(cl *Client, b binding) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for i := range sh.members {
		if sh.members[i].client == cl {
			sh.members[i].b = b
			return false
		}
	}
	sh.members = append(sh.members, member{cl, b})
	return true
}

// remove reports whether cl was a member by this incarnation of its Session.
func (sh *share) remove(cl *Client, id session.ID) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for i := range sh.members {
		if sh.members[i].client == cl && sh.members[i].b.sess == id {
			sh.members = append(sh.members[:i], sh.members[i+1:]...)
			return true
		}
	}
	return false
}

// clients returns those of the members.
func (sh *share) clients() []*Client {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	clients := make([]*Client, 0, len(sh.members))
	for i := range sh.members {
		clients = append(clients, sh.members[i].client)
	}
	return clients
}

// pick chooses the member that gets the next message: in turn, one that is
// connected and has room; if there is none and the message can wait, one whose
// Session keeps it. not is never chosen, nor is who is in refused, since it may not have the
// message: if all are the target says so.
func (sh *share) pick(qos codec.QoS, not *Client, refused []*Client) (target, bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	best, bestRank := -1, 0
	left := 0 // members that were not refused
	for i := range sh.members {
		at := (sh.next + i) % len(sh.members)
		m := &sh.members[at]
		if len(refused) > 0 && slices.Contains(refused, m.client) {
			continue
		}
		left++
		if m.client == not {
			continue
		}
		if rank := m.rank(qos); rank > bestRank {
			best, bestRank = at, rank
			if rank == rankReady {
				break
			}
		}
	}
	if best < 0 {
		return target{denied: left == 0 && len(refused) > 0}, false
	}
	sh.next = best + 1
	m := &sh.members[best]
	t := newTarget(m.client, m.b)
	t.share = sh.filter
	return t, true
}

// deliverToAnother delivers a message to another member than the one that it came
// too late for.
func (b *Broker) deliverToAnother(t target, pub *publication, pend *pending) {
	routed := pub.routed
	defer func() { pub.routed, pub.refused = routed, nil }() // for other targets
	for {
		t = b.pickAgain(&t, pub)
		if pub.deliver(&t, pend) != passedOn {
			return
		}
	}
}

// pickAgain chooses a member in place of one whose Session or subscription has
// ended, or that may not have the message; none if there is no other. The first is no
// member any more then, and the other is in pub.refused, so each is tried once.
func (b *Broker) pickAgain(t *target, pub *publication) target {
	r := b.router
	r.mu.Lock()
	defer r.mu.Unlock()
	if !t.client.has(t.sess) { // who ended it is about to do the same
		r.unsubscribeLocked(t.client, t.sess, t.share)
	}
	pub.routed = r.changes.Load()
	next, _ := r.pickLocked(t.share, pub.p.QoS, pub.origin.member(), pub.refused)
	return next
}

// pickLocked chooses a member of a Shared Subscription, not if there is another, and none
// that is refused.
func (r *router) pickLocked(filter string, qos codec.QoS, not *Client, refused []*Client) (target, bool) {
	sh := r.shares[filter]
	if sh == nil {
		return target{}, false
	}
	t, ok := sh.pick(qos, not, refused)
	if !ok && not != nil {
		return sh.pick(qos, nil, refused)
	}
	return t, ok
}

// has reports whether this incarnation of the Client's Session goes on.
func (cl *Client) has(id session.ID) bool {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	return cl.sess != nil && cl.sess.ID == id
}

// Ranks of members, from those that cannot take a message to the best.
const (
	rankNone = iota
	rankFull
	rankAbsent
	rankReady
)

func (m *member) rank(qos codec.QoS) int {
	keeps := qos > 0 && m.b.sub.QoS > 0
	full := keeps && m.client.hints.full() != session.NoLimit
	switch {
	case m.client.hints.connected() && !full:
		return rankReady
	case keeps && m.client.hints.durable() && !full:
		return rankAbsent
	case full:
		return rankFull
	}
	return rankNone
}
