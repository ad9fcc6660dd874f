package broker

import (
	"github.com/x0a1b/promptmq/broker/memory"
	"github.com/x0a1b/promptmq/codec"
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
	smallWillBytes    = 512
)

// mayHoard reports whether so many bytes of one kind are within its share.
func (b *Broker) mayHoard(bytes int64) bool {
	limit := b.o.Limits.Memory
	return limit <= 0 || bytes <= limit/hoardShare
}

// retainedSet.memory, sessionsMemory and filtersMemoryLocked are about how many bytes each
// kind takes. The caller of the last holds router.mu.
func (s *retainedSet) memory() int64 { return s.bytes + int64(s.len())*retainedBytesEach }

// sessionsMemory counts those without a connection, and of all the names and the Wills, which
// may outlast the connection.
func (b *Broker) sessionsMemory() int64 {
	return max(0, b.sessions.Load()-b.connectedClients.Load())*sessionBytesEach + b.sessionBytes.Load()
}

// countNames counts n times what the names of a Session take.
func (b *Broker) countNames(s *session.Session, n int) {
	b.userCount.add(s.UserName, n)
	b.sessionBytes.Add(int64(n * (len(s.ClientID) + len(s.UserName))))
}

// changesWill calls change, which may set or take the Will of a Session, and counts the
// difference. change reports whether the Session ended.
func (b *Broker) changesWill(s *session.Session, change func() (ended bool)) {
	before, after := willBytes(s), int64(0)
	if !change() {
		after = willBytes(s)
	}
	b.sessionBytes.Add(after - before)
}

// willBytes is what the Will of a Session takes; nil: there is no Session.
func willBytes(s *session.Session) int64 {
	if s == nil || s.Will() == nil {
		return 0
	}
	return int64(s.Will().Message.Bytes())
}

// mayHaveWillOf reports whether memory has room for a Session with the Will of a CONNECT, in
// place of old, which may be nil. A small Will is not refused if it piles up no Session: who
// has filled the share keeps out nobody that says "offline".
func (b *Broker) mayHaveWillOf(p *codec.Connect, old *session.Session, pilesUp bool) bool {
	var more int64
	if p.HasWill {
		more = int64(len(p.Will.Topic) + len(p.Will.Payload) + p.Will.Forward.Len())
	}
	if !pilesUp && more <= smallWillBytes {
		return true
	}
	return b.mayHoard(b.sessionsMemory() + max(0, more-willBytes(old)))
}

func (r *router) filtersMemory() int64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.filtersMemoryLocked()
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
