package broker

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"

	"github.com/x0a1b/promptmq/broker/commit"
	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/metrics"
	"github.com/x0a1b/promptmq/session"
)

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
		changeovers: changeovers{of: make(map[*Client]*changeover)},
		notices:     notice.New(o.Logger, o.Metrics),
		ctx:         context.Background(),
		conns:       make(map[*conn]struct{}),

		opening:     make(chan *conn),
		cleanupStop: make(chan struct{}),
		limits: session.Limits{
			WindowMessages: max(windowMessages, 2*int(o.MaxInflight)), WindowBytes: windowBytes,
			QueueMessages: o.MaxQueuedMessages, QueueBytes: o.MaxQueuedBytes,
			Policy: session.QueuePolicy(o.QueuePolicy), Inflight: int(o.MaxInflight),
		},
	}
	b.serving, b.stopServing = context.WithCancel(context.Background())
	b.SetAuthenticator(o.Authenticator)
	b.live.Store(&b.o)
	b.limits.Scarce = &b.overload.scarce
	b.network = link.NewNetwork(link.Config{
		Serve: b.accepted, Now: clock.Now, Banned: b.banned, Log: o.Logger, Notices: b.notices, Metrics: o.Metrics,
		MaxConnections: int64(o.MaxConnections), Listeners: len(o.AllListeners()), Sockets: o.Sockets, FilesBeside: o.FilesBeside, ReadBuffer: o.ReadBuffer, ConnectTimeout: o.ConnectTimeout,
	})
	b.network.SetRates(o.Limits.ConnectionRate, o.Limits.ConnectionRatePerAddress)
	b.outboxes = link.OutboxConfig{
		Commits: b.commits, Metrics: o.Metrics, WriteBuffer: o.WriteBuffer, WriteTimeout: o.WriteTimeout, Recover: b.recoverPanic,
	}
	b.timers = newTimers(b.clock.Now, b.expire, b.commits.FlushUnless)
	b.router = newRouter()
	b.retained.set = newRetainedSet()
	if o.Directory != nil || o.Policy != nil {
		b.changePermission(func(p *permission) { p.policy, p.directory = o.Policy, o.Directory })
	}
	b.registerGauges()
	return b, nil
}

// Start loads the store and opens the listeners. After an error nothing runs.
func (b *Broker) Start() error {
	b.nextID.Store(uint64(b.store.NextID()))
	b.clock.GoOnFrom(b.store.LastTime())
	b.history.began = b.clock.Now()
	go b.commits.Run()
	if err := b.load(); err != nil {
		return errors.Join(err, b.commits.Shutdown())
	}
	b.timers.fireDue() // before the listeners open: a Session whose time is over must not be resumed
	go b.timers.run()
	if err := b.listen(); err != nil {
		b.network.Stop()
		b.network.Close()
		b.timers.shutdown()
		return errors.Join(err, b.commits.Shutdown())
	}
	b.background.Add(1)
	go b.cleanup()
	b.background.Add(1)
	go b.publishSys()
	if b.o.Limits.Memory > 0 {
		b.background.Add(1)
		go b.watchMemory()
	}
	b.ready.Store(true)
	return nil
}

// The names of the listeners of Options.Bind and Options.WSBind.
const bindName, wsBindName = "mqtt", "websocket"

// AllListeners are those that the options ask for.
func (o *Options) AllListeners() []link.ListenerConfig {
	all := []link.ListenerConfig{
		{Name: bindName, Kind: link.KindTCP, Address: o.Bind, Key: "server.bind"},
		{Name: wsBindName, Kind: link.KindWS, Address: o.WSBind, Key: "server.ws-bind", Origins: o.WSOrigins, OriginsKey: "server.ws-origins",
			Subprotocols: link.Subprotocols, PingInterval: o.WSPingInterval},
	}
	all = slices.DeleteFunc(all, func(c link.ListenerConfig) bool { return c.Address == "" })
	return append(all, o.Listeners...)
}

// listen opens the listeners that the options ask for.
func (b *Broker) listen() error {
	for _, c := range b.o.AllListeners() {
		if err := b.network.Listen(c); err != nil {
			return err
		}
	}
	return nil
}

// UpdateListeners returns what gives the open listeners the settings of o, for new
// connections, with the files of those with TLS read again, and which settings need a restart.
// An error says what is bad; then there is nothing to take.
func (b *Broker) UpdateListeners(o Options) (take func(), restart []string, err error) {
	return b.network.Update(o.AllListeners())
}

// Listeners returns those that are open.
func (b *Broker) Listeners() []*link.Listener { return b.network.Listeners() }

// ConnectionsMax is the most Network Connections at a time: Options.MaxConnections, or what the
// limit of open files allows if that is less.
func (b *Broker) ConnectionsMax() int64 { return b.network.ConnectionsMax() }

// Addr and WSAddr return the addresses of those of Options.Bind and Options.WSBind; nil: not
// open.
func (b *Broker) Addr() net.Addr { return b.addrOf(bindName) }

func (b *Broker) WSAddr() net.Addr { return b.addrOf(wsBindName) }

func (b *Broker) addrOf(name string) net.Addr {
	if l := b.network.Listener(name); l != nil {
		return l.Addr()
	}
	return nil
}

// Ready returns nil while the store is loaded, the listeners are open, the disk
// answers, and the store is where the next start will look for it.
func (b *Broker) Ready() error {
	switch {
	case b.stopping.Load():
		return commit.ErrShuttingDown
	case !b.ready.Load():
		return errNotReady
	}
	return b.commits.Ready()
}

// Failed yields an error when a commit stays failed: nothing is acknowledged
// any more and the process should end.
func (b *Broker) Failed() <-chan error { return b.commits.Failed() }
