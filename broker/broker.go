// Package broker joins the pure parts (codec, topics, session) to sockets, to
// a Store and to the clock. It owns every goroutine, lock and timer.
//
// # Locks
//
// Who holds one of these takes only those below it. Package lock has the order in
// types, and a build with -tags invariants checks it.
//
//	Committer.gate  the open group. Shared by who changes what is stored, exclusive for
//	                who seals the group, or cuts a connection off
//	router.mu       subscriptions, Shared Subscriptions
//	retained.mu     retained messages
//	registry.mu     which Client has a Client Identifier
//	Client.mu       its Session, its connection and its changeover
//	Outbox.mu       what waits for one connection; below it are the locks of the Transport
//	leaves          share.mu, the members; timers.mu; changeovers.mu; in package commit
//	                Committer.mu and group.mu
//
// Two of a kind are never held at once, so neither are two Clients, and nobody enters the
// gate twice. Broker.mu (the connections) and the lock of notice.Log are taken with no
// other held. Package session has no lock: Client.mu guards its Sessions.
//
// Nothing waits for a commit, a channel or a Client with a lock held, and nothing is
// written that could block. Under the gate alone there is I/O twice: Start reads the
// store, which nobody else uses yet, and a takeover closes the connection that is late.
// Under Outbox.mu a Transport is closed, which does not block.
//
// # Acknowledgements
//
// What a packet changes joins the open commit group under the gate, and its
// acknowledgement is queued in the connection's Outbox with that group's number,
// which lets it go when the group is on disk: see link.Outbox.
package broker

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/x0a1b/promptmq/broker/commit"
	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/broker/lock"
	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/metrics"
	"github.com/x0a1b/promptmq/session"
)

const (
	// windowMessages and windowBytes bound the part of a durable queue that is
	// kept in memory, per Session.
	windowMessages = 256
	windowBytes    = 256 << 10
)

// A Broker is an MQTT Server.
type Broker struct {
	// Static after New.
	o           Options // of the start; see options
	log         *slog.Logger
	m           *metrics.Broker
	store       Store
	commits     *commit.Committer
	registry    *registry
	changeovers changeovers
	router      *router
	retained    retained
	timers      *timers
	clock       *commit.Clock
	notices     *notice.Log
	network     *link.Network
	outboxes    link.OutboxConfig // of all connections
	limits      session.Limits
	overload    overload
	history     history
	censuses    censuses
	sys         sysTree
	userCount   userCount // of Sessions
	drops       dropLog
	traces      traces
	connLines   pace
	fights      fights
	ctx         context.Context // of log lines; never done
	serving     context.Context // done when the broker stops
	stopServing context.CancelFunc

	authenticator    atomic.Pointer[Authenticator] // to nil: there is none
	live             atomic.Pointer[Options]       // see options
	permission       atomic.Pointer[permission]    // nil: all is allowed
	ownRules         atomic.Bool                   // an Identity has come with rules of its own
	revocations      revocations
	shortages        sync.Map // *Client → *shortage
	enhanced         sync.Map // *conn → *enhanced, where CONNECT had an Authentication Method
	nextID           atomic.Uint64
	sessions         atomic.Int64
	connectedClients atomic.Int64
	connectedMost    atomic.Int64 // there were at a time
	connects         atomic.Int64 // CONNECT packets that came
	sessionsExpired  atomic.Int64
	sessionBytes     atomic.Int64 // of the names and Wills of Sessions
	partialBytes     atomic.Int64 // in buffers of connections that wait for the rest of a packet
	partials         partials
	opening          chan *conn   // to goroutines that wait for a connection: see open
	openers          atomic.Int32 // that wait
	cleanupStop      chan struct{}
	stopping         atomic.Bool
	ready            atomic.Bool
	background       sync.WaitGroup // goroutines that Shutdown waits for

	mu    lock.Mutex[lock.Leaf] // guards the following
	conns map[*conn]struct{}
}

func (b *Broker) nextSessionID() session.ID { return session.ID(b.nextID.Add(1) - 1) }

// recoverPanic, deferred, keeps a panic of a background task from ending the process,
// and calls then after one.
func (b *Broker) recoverPanic(doing string, then ...func()) {
	if p := recover(); p != nil {
		b.m.Panics.Inc()
		b.notices.Line(slog.LevelError, "panic", doing, "panic", trouble.Panic, "doing", doing, "panic", p, "stack", string(debug.Stack())).Write()
		for _, f := range then {
			f()
		}
	}
}

// noteUnread logs that the store could not read the queue of a Client, which is
// tried again as often as the Client likes.
func (b *Broker) noteUnread(msg, clientID string, err error) {
	b.notices.Line(slog.LevelError, "queue unread", clientID, msg, trouble.QueueUnreadable, "client", notice.Shown(clientID), "error", err).Write()
}
