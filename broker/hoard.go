package broker

import (
	"github.com/x0a1b/promptmq/broker/memory"
	"github.com/x0a1b/promptmq/session"
)

// What the network can pile up for good, and memory has all of, may take one part in
// hoardShare of Limits.Memory for each kind: retained messages, Sessions, subscriptions. So
// all of them together are below memory.Refusing, and who fills one up keeps nobody out. The
// figures are about what one takes in memory beyond its contents, in bytes.
const (
	hoardShare        = 5
	retainedBytesEach = 512
	sessionBytesEach  = 1024
	filterBytesEach   = 512
	filterCopies      = 3 // of the Session, the router and the cache of the store
)

// mayHoard reports whether so many bytes of one kind are within its share.
func (b *Broker) mayHoard(bytes int64) bool {
	limit := b.o.Limits.Memory
	return limit <= 0 || bytes <= limit/hoardShare
}

// retainedMemoryLocked, sessionsMemory and filtersMemoryLocked are about how many bytes each
// kind takes. The callers of the first and the last hold router.mu.
func (r *router) retainedMemoryLocked() int64 {
	return r.retained.bytes + int64(r.retained.len())*retainedBytesEach
}

// sessionsMemory counts those without a connection.
func (b *Broker) sessionsMemory() int64 {
	return max(0, b.sessions.Load()-b.connectedClients.Load()) * sessionBytesEach
}

func (r *router) filtersMemoryLocked() int64 {
	return filterCopies*r.filterBytes + int64(r.subs)*filterBytesEach
}

// maySubscribeLocked reports whether memory has room for one more subscription. The caller
// holds router.mu.
func (b *Broker) maySubscribeLocked(sub *session.Subscription) bool {
	return !b.overload.is(memory.Pausing) && b.mayHoard(b.router.filtersMemoryLocked()+int64(filterCopies*len(sub.Filter)))
}

// fullOfFilters reports whether memory has no room for more subscriptions.
func (b *Broker) fullOfFilters() bool {
	b.router.mu.RLock()
	defer b.router.mu.RUnlock()
	return !b.maySubscribeLocked(&session.Subscription{})
}
