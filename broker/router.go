package broker

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/broker/lock"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
	"github.com/x0a1b/promptmq/topics"
)

// A subscriber is a key in the trie of Topic Filters: a Client, or a Shared
// Subscription that stands for its members.
type subscriber struct {
	client *Client
	share  *share
}

// A binding is the value in the trie: the subscription, and the incarnation of
// the Session that made it, so that a message matched just before a Clean Start
// is not delivered to the new Session.
type binding struct {
	sub  *session.Subscription
	sess session.ID
}

type match = topics.Match[*subscriber, binding]

// A router knows who subscribed to what.
type router struct {
	mu      lock.RWMutex[lock.Router] // guards the following
	filters *topics.Filters[*subscriber, binding]
	shares  map[string]*share // by whole filter, "$share/name/filter"
	subs    int               // subscriptions, each member of a share counted
	shared  int               // of them, those of members of a share
	// filterBytes are those of the Topic Filters of all subs.
	filterBytes int64

	// changes counts changes of filters and shares; written with mu held.
	changes atomic.Uint64
	// sysSubs are the subscriptions to $SYS.
	sysSubs atomic.Int64
}

func newRouter() *router {
	return &router{filters: topics.NewFilters[*subscriber, binding](), shares: make(map[string]*share)}
}

// subscribeLocked adds a subscription or replaces the one with its filter.
func (r *router) subscribeLocked(cl *Client, b binding) {
	r.changes.Add(1)
	name, filter := splitShare(b.sub.Filter)
	if name == "" {
		if !r.filters.Set(filter, &cl.self, b) {
			r.countLocked(1, b.sub.Filter)
		}
		return
	}
	sh := r.shares[b.sub.Filter]
	if sh == nil {
		sh = &share{filter: b.sub.Filter}
		sh.self.share = sh
		r.shares[b.sub.Filter] = sh
		r.filters.Set(filter, &sh.self, binding{})
	}
	if sh.set(cl, b) {
		r.countLocked(1, b.sub.Filter)
	}
}

// countLocked counts n subscriptions more of one filter.
func (r *router) countLocked(n int, whole string) {
	r.subs += n
	if strings.HasPrefix(whole, "$share/") {
		r.shared += n
	}
	if isSys(whole) {
		r.sysSubs.Add(int64(n))
	}
	r.filterBytes += int64(n * len(whole))
}

// unsubscribeLocked removes the subscription of one incarnation of a Session.
func (r *router) unsubscribeLocked(cl *Client, id session.ID, whole string) {
	r.changes.Add(1)
	name, filter := splitShare(whole)
	if name == "" {
		if b, ok := r.filters.Get(filter, &cl.self); ok && b.sess == id {
			r.filters.Delete(filter, &cl.self)
			r.countLocked(-1, whole)
		}
		return
	}
	sh := r.shares[whole]
	if sh == nil || !sh.remove(cl, id) {
		return
	}
	r.countLocked(-1, whole)
	if len(sh.members) == 0 {
		r.filters.Delete(filter, &sh.self)
		delete(r.shares, whole)
	}
}

// splitShare splits a valid Topic Filter; name is empty if it is not shared.
func splitShare(whole string) (name, filter string) {
	n, rest, shared, err := topics.ParseShare([]byte(whole))
	if !shared || err != nil {
		return "", whole
	}
	return string(n), string(rest)
}

// A target is one copy of a message for one Client.
type target struct {
	client *Client // nil: no member of a Shared Subscription can take it
	sess   session.ID
	qos    codec.QoS // granted
	rap    bool      // Retain As Published
	share  string
	id     uint32   // Subscription Identifier; 0: none
	ids    []uint32 // all of them, if there are several
	// denied, of a target without a Client: no member may have the message. askedFor is
	// who was asked about last, while this was remembered, and allowed has a bit for each
	// QoS at which it may receive messages of this Topic Name.
	denied   bool
	allowed  uint8
	askedFor *principal
}

// subscriptionIDs returns the identifiers in a slice that may be kept.
func (t *target) subscriptionIDs() []uint32 {
	if t.ids != nil || t.id == 0 {
		return t.ids
	}
	return []uint32{t.id}
}

// A routing is the scratch memory of one goroutine that routes messages.
type routing struct {
	matches []match
	targets []target // of the message: scratch, or remembered
	scratch []target
	chosen  bool   // a member of a Shared Subscription was chosen
	routed  uint64 // which of the router's changes targets know of

	// Only of a connection that publishes.
	cache    *routeCache
	hash     uint64       // of the Topic Name
	recalled bool         // targets come from the cache
	slot     *cachedRoute // where they do; nil: they do not
}

// forget lets go of what belongs to a connection.
func (s *routing) forget() { s.targets, s.cache, s.slot = nil, nil, nil }

// findLocked fills targets with one entry per Client that is to get the message
// and one per matching Shared Subscription. The caller holds r.mu.
func (r *router) findLocked(s *routing, name []byte, from *origin, qos codec.QoS) {
	if control.Broken(control.DollarMatched) && name[0] == '$' {
		name = name[1:]
	}
	s.matches = r.filters.AppendMatches(s.matches[:0], name)
	s.targets, s.chosen, s.recalled = s.scratch[:0], false, false
	s.routed = r.changes.Load()
	for i := range s.matches {
		m := &s.matches[i]
		s.chosen = s.chosen || m.Key.share != nil
		if m.Key.share != nil && control.Broken(control.SharedToAll) {
			for range m.Key.share.members {
				if t, ok := m.Key.share.pick(qos, nil, nil); ok {
					s.targets = append(s.targets, t)
				}
			}
			continue
		}
		if m.Key.share != nil {
			t, _ := m.Key.share.pick(qos, nil, nil)
			s.targets = append(s.targets, t)
			continue
		}
		if m.Value.sub.NoLocal && from.isClient(m.Key.client) && !control.Broken(control.NoLocalIgnored) { // [MQTT-3.8.3-3]
			continue
		}
		s.targets = append(s.targets, newTarget(m.Key.client, m.Value))
	}
	if len(s.targets) > 1 {
		s.mergeOverlaps()
	}
	s.scratch = s.targets
}

func newTarget(cl *Client, b binding) target {
	return target{client: cl, sess: b.sess, qos: b.sub.QoS, rap: b.sub.RetainAsPublished, id: b.sub.ID}
}

// retargetLocked lets a copy that was routed before the Client removed a subscription
// go by those that are left, and reports whether there is one. A subscription
// that was made since may let a message in too, but none that was retained: what
// is new gets that as retained, and not twice. The caller holds cl.mu.
func (cl *Client) retargetLocked(d *delivery) (ok bool) {
	t, pub := d.to, d.pub
	if t.share != "" {
		return cl.sess.Subscription(t.share) != nil
	}
	var s routing
	take := func(sub *session.Subscription) {
		if !sub.NoLocal || !pub.origin.isClient(cl) { // [MQTT-3.8.3-3]
			s.targets = append(s.targets, newTarget(cl, binding{sub: sub, sess: t.sess}))
		}
	}
	if pub.matches != nil {
		for _, m := range *pub.matches {
			if m.Key.client == cl && m.Value.sess == t.sess {
				if sub := cl.sess.Subscription(m.Value.sub.Filter); sub != nil && (sub == m.Value.sub || sub.RetainHandling > 0) {
					take(sub)
				}
			}
		}
	} else {
		name := pub.p.Topic.String()
		for sub := range cl.sess.Subscriptions() {
			if !sub.Shared() && topics.MatchString(sub.Filter, name) {
				take(sub)
			}
		}
	}
	if len(s.targets) == 0 {
		return false
	}
	s.mergeOverlaps()
	d.to = &s.targets[0]
	return true
}

// mergeOverlaps leaves one copy for each Client whose subscriptions overlap: at
// the highest QoS [MQTT-3.3.4-2] and with all Subscription Identifiers
// [MQTT-3.3.4-4]. A copy by a Shared Subscription stays a copy of its own.
func (s *routing) mergeOverlaps() {
	slices.SortStableFunc(s.targets, func(a, b target) int {
		return cmp.Or(cmp.Compare(a.order(), b.order()), cmp.Compare(a.share, b.share))
	})
	kept := s.targets[:1]
	for i := 1; i < len(s.targets); i++ {
		t, last := &s.targets[i], &kept[len(kept)-1]
		if t.client == nil || t.client != last.client || t.share != "" || last.share != "" || t.sess != last.sess {
			kept = append(kept, *t)
			continue
		}
		last.qos = max(last.qos, t.qos)
		last.rap = last.rap || t.rap
		switch {
		case t.id == 0:
		case last.id == 0:
			last.id = t.id
		default:
			if last.ids == nil {
				last.ids = []uint32{last.id}
			}
			last.ids = append(last.ids, t.id)
		}
	}
	s.targets = kept
}

func (t *target) order() uint64 {
	if t.client == nil {
		return 0
	}
	return t.client.order
}

const (
	// routeSlots is how many Topic Names a connection remembers targets of.
	routeSlots = 32
	// routeTargetsMax is the most targets that are remembered for one of them.
	routeTargetsMax = 1024
)

var routeSeed = maphash.MakeSeed()

// A routeCache remembers where the last Topic Names of one publishing
// connection went, so that a publisher that stays with its topics costs no walk
// of the trie and no lock. An entry holds until any subscription changes.
type routeCache struct {
	slots [routeSlots]cachedRoute
	turn  uint64
}

// A cachedRoute is first only a hash: what is published to once is not worth
// memory of its own.
type cachedRoute struct {
	hash    uint64
	version uint64 // of the router's subscriptions when targets were found
	name    string // empty: nothing is remembered yet
	targets []target
	// allowed has a bit for each QoS at which the connection may publish to the topic, and
	// above them for each with RETAIN.
	allowed uint8
}

// recall finds the targets of a Topic Name that was published to before, and reports
// whether it did. It needs no lock: a subscription that is made or ended meanwhile may
// or may not see the message anyway.
func (r *router) recall(s *routing, name codec.View) bool {
	s.hash, s.routed, s.recalled, s.slot = maphash.Bytes(routeSeed, name), r.changes.Load(), false, nil
	if s.cache == nil {
		return false
	}
	for _, i := range routePlaces(s.hash) {
		e := &s.cache.slots[i]
		if e.hash == s.hash && e.version == s.routed && e.name != "" && e.name == string(name) {
			s.targets, s.recalled, s.slot = e.targets, true, e
			break
		}
	}
	return s.recalled
}

// routePlaces are the slots in which a Topic Name may be: with fewer, some of a
// connection's few topics would often drive each other out.
func routePlaces(hash uint64) [4]uint64 {
	return [4]uint64{hash % routeSlots, hash >> 16 % routeSlots, hash >> 32 % routeSlots, hash >> 48 % routeSlots}
}

// slot returns where the Topic Name is, or is to be: if possible where nothing is,
// else where none is remembered that still holds. Which of these changes from
// one call to the next, so that no two names drive each other out for ever.
func (c *routeCache) slot(hash, version uint64) *cachedRoute {
	places := routePlaces(hash)
	for _, i := range places {
		if c.slots[i].hash == hash {
			return &c.slots[i]
		}
	}
	for _, i := range places {
		if c.slots[i].hash == 0 {
			return &c.slots[i]
		}
	}
	c.turn++
	for i := range uint64(len(places)) {
		e := &c.slots[places[(i+c.turn)%uint64(len(places))]]
		if e.name == "" || e.version != version {
			return e
		}
	}
	return &c.slots[places[c.turn%uint64(len(places))]]
}

// remember keeps the targets that were just found, if the Topic Name comes for
// the second time and none of them must be chosen anew for each message.
func (s *routing) remember(name codec.View, version uint64) {
	if s.cache == nil {
		s.cache = new(routeCache)
	}
	e := s.cache.slot(s.hash, version)
	if e.hash != s.hash {
		*e = cachedRoute{hash: s.hash}
		return
	}
	if s.chosen || len(s.targets) > routeTargetsMax {
		e.name, e.targets = "", nil
		return
	}
	if e.name != string(name) {
		e.name = string(name)
	}
	e.version, e.allowed = version, 0
	e.targets = append(e.targets[:0:0], s.targets...)
}
