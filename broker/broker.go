// Package broker joins the pure parts (codec, topics, session) to sockets, to
// a Store and to the clock. It owns every goroutine, lock and timer.
//
// # Locks
//
// In this order, outermost first: the gate of commit.Committer, registry.mu, router.mu,
// Client.mu, and the leaves: share.mu, timers.mu, successions.mu, and the locks of packages
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
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"

	"github.com/x0a1b/promptmq/broker/commit"
	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/codec"
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
	successions successions
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

// New returns a Broker that keeps its state in s. Start makes it serve.
func New(o Options, s Store) (*Broker, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = metrics.NewBroker()
	}
	clock := commit.NewClock(o.SystemClock, o.Logger)
	b := &Broker{
		o: o, log: o.Logger, m: o.Metrics, store: s, clock: clock,
		commits:     commit.New(s, clock, o.Logger, o.Metrics),
		registry:    &registry{clients: make(map[string]*Client)},
		successions: successions{of: make(map[*Client]*succession)},
		notices:     notice.New(o.Logger, o.Metrics),
		ctx:         context.Background(),
		conns:       make(map[*conn]struct{}),

		cleanupStop: make(chan struct{}),
		limits: session.Limits{
			WindowMessages: max(windowMessages, 2*int(o.MaxInflight)), WindowBytes: windowBytes,
			QueueMessages: o.MaxQueuedMessages, QueueBytes: o.MaxQueuedBytes,
			Policy: session.QueuePolicy(o.QueuePolicy), Inflight: int(o.MaxInflight),
		},
	}
	b.network = link.NewNetwork(link.Config{
		Serve: b.accepted, Now: clock.Now, Log: o.Logger, Notices: b.notices, Metrics: o.Metrics,
		MaxConnections: int64(o.MaxConnections), ReadBuffer: o.ReadBuffer, ConnectTimeout: o.ConnectTimeout, Origins: o.WSOrigins,
	})
	b.outboxes = link.OutboxConfig{
		Commits: b.commits, Metrics: o.Metrics, WriteBuffer: o.WriteBuffer, WriteTimeout: o.WriteTimeout, Recover: b.recoverPanic,
	}
	b.timers = newTimers(b.clock.Now, b.expire, b.commits.FlushUnless)
	b.router = newRouter(b.timers)
	b.registerGauges()
	return b, nil
}

func (b *Broker) registerGauges() {
	locked := func(f func(*router) int64) func() float64 {
		return func() float64 {
			b.router.mu.RLock()
			defer b.router.mu.RUnlock()
			return float64(f(b.router))
		}
	}
	b.m.Gauge("promptmq_sessions", func() float64 { return float64(b.sessions.Load()) })
	b.m.Gauge("promptmq_connections_lingering", func() float64 { return float64(b.network.Lingering()) })
	b.m.Gauge("promptmq_sessions_connected", func() float64 { return float64(b.connectedClients.Load()) })
	b.m.Gauge("promptmq_subscriptions", locked(func(r *router) int64 { return int64(r.subs) }))
	b.m.Gauge("promptmq_retained_messages", locked(func(r *router) int64 { return int64(r.retained.Len()) }))
	b.m.Gauge("promptmq_retained_bytes", locked(func(r *router) int64 { return r.retainedBytes }))
	b.m.Gauge("promptmq_queued_messages", b.queuedMessages)
	b.m.Gauge("promptmq_sessions_queue_full", b.fullQueues)
	b.m.Gauge("promptmq_store_open_entries", func() float64 { return float64(b.commits.OpenEntries()) })
	b.m.Gauge("promptmq_expiries_pending", func() float64 { return float64(b.timers.len()) })
	b.m.Gauge("promptmq_store_commit_waiting_seconds", func() float64 { return b.commits.Waiting().Seconds() })
	b.m.Gauge("promptmq_store_full", func() float64 {
		if b.commits.Full() {
			return 1
		}
		return 0
	})
}

// queuedMessages is the number of messages in all queues.
func (b *Broker) queuedMessages() float64 {
	n := 0
	for _, cl := range b.registry.all() {
		n += cl.queueLen()
	}
	return float64(n)
}

func (cl *Client) queueLen() int {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.sess == nil {
		return 0
	}
	return cl.sess.QueueLen()
}

func (b *Broker) nextSessionID() session.ID { return session.ID(b.nextID.Add(1) - 1) }

// Start loads the store and opens the listeners. After an error nothing runs.
func (b *Broker) Start() error {
	b.nextID.Store(uint64(b.store.NextID()))
	b.clock.GoOnFrom(b.store.LastTime())
	go b.commits.Run()
	if err := b.load(); err != nil {
		return errors.Join(err, b.commits.Shutdown())
	}
	b.timers.fireDue() // whose time is over must not be resumed
	go b.timers.run()
	if err := b.listen(); err != nil {
		b.network.Stop()
		b.network.Close()
		b.timers.shutdown()
		return errors.Join(err, b.commits.Shutdown())
	}
	b.background.Add(1)
	go b.cleanup()
	b.ready.Store(true)
	return nil
}

// Failed yields an error when a commit stays failed: nothing is acknowledged
// any more and the process should end.
func (b *Broker) Failed() <-chan error { return b.commits.Failed() }

// addConn registers a connection and reports whether there is room for it, which
// a listener has made sure of for its own.
func (b *Broker) addConn(c *conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopping.Load() || (!c.net().Listener().Accepts() && int64(len(b.conns)) >= b.network.SocketsMax()) {
		return false
	}
	b.conns[c] = struct{}{}
	b.background.Add(1)
	b.m.ConnectionsTotal.Inc()
	b.m.ConnectionsCurrent.Inc()
	return true
}

func (b *Broker) removeConn(c *conn) {
	b.mu.Lock()
	delete(b.conns, c)
	b.mu.Unlock()
	b.m.ConnectionsCurrent.Dec()
	b.background.Done()
}

// ServeConn serves one Network Connection until it ends, over any ordered and
// lossless stream.
func (b *Broker) ServeConn(nc net.Conn) {
	b.begin(b.newConn(link.Accepted{Transport: b.network.Transport(nc), At: b.clock.Now()}))
}

// accepted serves a Network Connection of a listener, until it has ended or another
// goroutine goes on.
func (b *Broker) accepted(a link.Accepted) {
	c := b.newConn(a)
	c.handOver = true
	b.begin(c)
}

// begin serves c, if there is room for it.
func (b *Broker) begin(c *conn) {
	if !b.addConn(c) {
		reason := "too many connections"
		if b.stopping.Load() {
			reason = codec.ServerShuttingDown.String()
			c.net().EndWith(codec.ServerShuttingDown)
		}
		b.m.Refused(reason).Inc()
		_ = c.net().Close()
		return
	}
	c.serve()
}
