package broker

import (
	"hash/maphash"

	"github.com/x0a1b/promptmq/codec"
)

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
}

// remembers finds the targets of a Topic Name that was published to before. It
// needs no lock, if the message came before: a subscription that is made or ended
// meanwhile may or may not see it anyway.
func (r *router) remembers(s *routing, name codec.View) bool {
	s.hash, s.routed = maphash.Bytes(routeSeed, name), r.changes.Load()
	s.remembered = s.cache != nil && s.cached(name, s.routed)
	return s.remembered
}

func (s *routing) cached(name codec.View, version uint64) bool {
	for _, i := range routePlaces(s.hash) {
		e := &s.cache.slots[i]
		if e.hash == s.hash && e.version == version && e.name != "" && e.name == string(name) {
			s.targets = e.targets
			return true
		}
	}
	return false
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
	e.version = version
	e.targets = append(e.targets[:0:0], s.targets...)
}
