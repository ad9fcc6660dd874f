package broker

import (
	"time"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/codec"
)

// A Directory knows the users of whom there is a list. It is asked with locks held: it must
// answer from memory, and call nothing of the broker.
type Directory interface {
	// Groups returns the groups that a user is in now. known is false if the user is
	// disabled, or if there is no such user and each would be in the list: then it may do
	// nothing, and nothing is published or delivered in its name.
	Groups(user string) (groups []string, known bool)
}

// A permission is what Clients may do. It does not change.
type permission struct {
	policy    *access.Policy // not nil
	directory Directory      // nil: all users are taken for known, and are in no group
}

// SetPolicy replaces the rules of what Clients may do. What is published, sent or asked for
// when it has returned is decided by p. nil: there are no rules, and all is allowed.
func (b *Broker) SetPolicy(p *access.Policy) {
	b.changePermission(func(next *permission) { next.policy = p })
}

// SetDirectory replaces who knows the users that are not connected. It is called again when
// anything in the Directory has changed.
func (b *Broker) SetDirectory(d Directory) {
	b.changePermission(func(next *permission) { next.directory = d })
}

// mindRules has what Clients do decided even if nobody has set a Policy: there are rules
// in a token.
func (b *Broker) mindRules() {
	if b.ownRules.CompareAndSwap(false, true) {
		b.changePermission(func(*permission) {})
	}
}

// changePermission lets change alter a copy of the permission, and makes the remembered
// routes void, which have what was decided.
func (b *Broker) changePermission(change func(*permission)) {
	b.router.mu.Lock()
	defer b.router.mu.Unlock()
	var next permission
	if p := b.permission.Load(); p != nil {
		next = *p
	}
	change(&next)
	switch {
	case next.policy == nil && next.directory == nil && !b.ownRules.Load():
		b.permission.Store(nil)
	case next.policy == nil:
		next.policy = access.NewPolicy(nil)
		fallthrough
	default:
		b.permission.Store(&next)
	}
	b.router.changes.Add(1)
}

// owner is the Identity of a user who is not connected; known is as in Directory.
func (p *permission) owner(user string) (who *access.Identity, known bool) {
	who = &access.Identity{User: user}
	if user == "" || p.directory == nil {
		return who, true
	}
	who.Groups, known = p.directory.Groups(user)
	return who, known
}

// receiverLocked is the Client as one that receives; nil: it may receive nothing. The caller
// holds client.mu, and there is a Session.
func (cl *Client) receiverLocked(perm *permission) *principal {
	who := cl.who.Load()
	switch {
	case who != nil && (who.conn != nil || who.under == perm):
	case cl.conn != nil:
		who = nobodyOn(cl.conn)
		cl.who.Store(who)
	default:
		owner, known := perm.owner(cl.sess.UserName)
		who = &principal{Identity: owner, under: perm}
		if known {
			who.receives = access.NewSubject(owner, cl.id)
		}
		cl.who.Store(who)
		return who
	}
	if who.receives == nil && who.conn != nil {
		who.receives = access.NewSubject(who.Identity, cl.id)
	}
	return who
}

// mayReceiveLocked decides about one copy: when it is routed, and when its Session sends it.
// By a remembered route there is seldom more to do than to compare. The caller holds
// client.mu, and there is a Session.
func (cl *Client) mayReceiveLocked(perm *permission, d *delivery) bool {
	if d.send != nil {
		s := d.send
		return control.Broken(notAsked[d.why]) || s.Shared && control.Broken(control.NotAskedHandedOver) || cl.permittedLocked(perm, viewOf(s.Message.Topic), s.QoS, s.Retain)
	}
	t, p := d.to, d.pub.p
	qos := min(p.QoS, t.qos)
	if who := cl.who.Load(); who != nil && t.askedFor == who && t.allowed>>qos&1 != 0 {
		return true
	}
	rule := notAsked[d.why]
	if t.share != "" && d.why != causeHandedOver {
		rule = control.NotAskedShared
	}
	if control.Broken(rule) {
		return true
	}
	if !cl.permittedLocked(perm, p.Topic, qos, p.Retain && t.rap) {
		return false
	}
	if who := cl.who.Load(); t.askedFor != who {
		t.askedFor, t.allowed = who, 0
	}
	t.allowed |= 1 << qos
	return true
}

// notAsked are the rules that break the question about a copy.
var notAsked = [...]control.Rule{
	causeLive: control.NotAskedLive, causeWill: control.NotAskedWill, causeRetained: control.NotAskedRetained,
	causeHandedOver: control.NotAskedHandedOver, causeQueued: control.NotAskedQueued, causeResumed: control.NotAskedResumed,
}

// permittedLocked asks the Policy whether the Client may receive a message.
func (cl *Client) permittedLocked(perm *permission, topic codec.View, qos codec.QoS, retain bool) bool {
	who := cl.receiverLocked(perm)
	return who.receives != nil && perm.policy.DecideView(who.receives, topic, access.Request{
		Action: access.Receive, QoS: qos, Retain: retain,
	}).Allowed
}

// mayReceive is mayReceiveLocked for who holds no lock of a Client.
func (t *target) mayReceive(perm *permission, pub *publication) bool {
	cl := t.client
	cl.mu.Lock()
	defer cl.mu.Unlock()
	return cl.sess != nil && cl.mayReceiveLocked(perm, &delivery{why: pub.why, pub: pub, to: t})
}

// sender is who sends on the connection.
func (c *conn) sender() (*access.Subject, error) {
	cl := c.client
	who := cl.who.Load()
	if who == nil || who.conn != c {
		if who = c.connected(); who == nil {
			return nil, errTakenOver
		}
	}
	if who.sends == nil {
		who.sends = access.NewSubject(who.Identity, cl.id)
	}
	return who.sends, nil
}

// connected is the principal of the connection, made if it was not needed before; nil:
// another connection has the Session.
func (c *conn) connected() *principal {
	cl := c.client
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.conn != c {
		return nil
	}
	if cl.who.Load() == nil {
		cl.who.Store(nobodyOn(c))
	}
	return cl.who.Load()
}

// mayPublish decides about a PUBLISH. That it is allowed is remembered with its route.
func (c *conn) mayPublish(perm *permission, p *codec.Publish) (bool, error) {
	bit := uint8(1) << p.QoS
	if p.Retain {
		bit <<= 4
	}
	e := c.route.slot
	if e != nil && e.allowed&bit != 0 || control.Broken(control.NotAskedPublish) {
		return true, nil
	}
	s, err := c.sender()
	if err != nil {
		return false, err
	}
	allowed := perm.policy.DecideView(s, p.Topic, access.Request{Action: access.Publish, QoS: p.QoS, Retain: p.Retain}).Allowed
	if allowed && e != nil {
		e.allowed |= bit
	}
	return allowed, nil
}

// maySubscribe decides about one Topic Filter of a SUBSCRIBE, which is given without $share.
func (c *conn) maySubscribe(perm *permission, filter codec.View, qos codec.QoS) (bool, error) {
	if control.Broken(control.NotAskedSubscribe) {
		return true, nil
	}
	s, err := c.sender()
	if err != nil {
		return false, err
	}
	return perm.policy.DecideView(s, filter, access.Request{Action: access.Subscribe, QoS: qos}).Allowed, nil
}

// passDeniedOn is the outcome of a copy that the Client may not have: one by a Shared
// Subscription is for another member. nil: no member may have it.
func (cl *Client) passDeniedOn(d *delivery) outcome {
	switch {
	case cl == nil:
		return denied
	case d.send == nil && d.to.share != "":
		d.pub.refused = append(d.pub.refused, cl)
		return passedOn
	case d.send != nil && d.send.MayGoOn():
		return passedOn
	}
	return denied
}

// denySentLocked ends the deliveries of what the Session has sent and its Client may not
// have. What it then sends in their place may be denied too.
func (cl *Client) denySentLocked(now time.Time, pend *pending) {
	pend.denying = true
	defer func() { pend.denying = false }()
	for len(pend.refused) > 0 {
		refused := pend.refused
		pend.refused = nil
		for i := range refused {
			pend.fx.Reset()
			e := cl.sess.Deny(&refused[i], now, &pend.fx)
			if refused[i].MayGoOn() {
				pend.orphans = append(pend.orphans, orphan{e, cl})
			}
			cl.applyLocked(now, pend)
		}
	}
}
