// Package broker joins the pure parts (codec, topics, session) to sockets, to
// a Store and to the clock. It owns every goroutine, lock and timer.
//
// # Locks
//
// In this order, outermost first: the gate of commit.Committer, registry.mu, router.mu,
// Client.mu, and the leaves: share.mu, timers.mu, changeovers.mu, and the locks of packages
// link and, below those, commit. Two Clients are never locked at once. No I/O and no wait
// for a channel happens with a lock held, but for two of link, which keep the frames on one
// WebSocket apart.
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
	"github.com/x0a1b/promptmq/broker/notice"
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
	o           Options
	log         *slog.Logger
	m           *metrics.Broker
	store       Store
	commits     *commit.Committer
	registry    *registry
	changeovers changeovers
	router      *router
	timers      *timers
	clock       *commit.Clock
	notices     *notice.Log
	network     *link.Network
	outboxes    link.OutboxConfig // of all connections
	limits      session.Limits
	ctx         context.Context // of log lines; never done

	shortages        sync.Map // *Client → *shortage
	nextID           atomic.Uint64
	sessions         atomic.Int64
	connectedClients atomic.Int64
	cleanupStop      chan struct{}
	stopping         atomic.Bool
	ready            atomic.Bool
	background       sync.WaitGroup // goroutines that Shutdown waits for

	mu    sync.Mutex // guards the following
	conns map[*conn]struct{}
}

func (b *Broker) nextSessionID() session.ID { return session.ID(b.nextID.Add(1) - 1) }

// recoverPanic keeps a panic of a background task from ending the process. Then
// it calls what the task has left to others to do.
func (b *Broker) recoverPanic(doing string, then ...func()) {
	if p := recover(); p != nil {
		b.m.Panics.Inc()
		b.notices.Line(slog.LevelError, "panic", doing, "panic", "doing", doing, "panic", p, "stack", string(debug.Stack())).Write()
		for _, f := range then {
			f()
		}
	}
}

// noteUnread logs that the store could not read the queue of a Client, which is
// tried again as often as the Client likes.
func (b *Broker) noteUnread(msg, clientID string, err error) {
	b.notices.Line(slog.LevelError, "queue unread", clientID, msg, "client", notice.Shown(clientID), "error", err).Write()
}
