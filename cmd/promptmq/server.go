package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/config"
	"github.com/x0a1b/promptmq/metrics"
	"github.com/x0a1b/promptmq/store"
)

// A process that is told to end is gone in less than ten seconds, whatever its
// disk and its clients do: shutdownWithin is for the broker, endWithin for that
// and to close the store, and then logFlushWithin for the log.
const (
	shutdownWithin = 7 * time.Second
	endWithin      = 8 * time.Second
)

// errLogged is returned for a failure that the log has.
var errLogged = errors.New("logged")

type serverCommand struct {
	settings
	alone   bool // no other process can take its place
	Salvage bool `help:"If the database is damaged, set it aside, and start with what can be read of it."`
}

// Run implements the command.
func (c *serverCommand) Run() error {
	before, passed, err := findPredecessor()
	if err != nil {
		return err
	}
	systemd := false
	if before == nil {
		if passed, err = passedBySystemd(); err != nil {
			return err
		}
		systemd = len(passed) > 0
	}
	cfg, err := c.load()
	if err == nil {
		err = before.checkDataDir(cfg.Store.DataDir)
	}
	if err != nil {
		before.failed(err)
		return err
	}
	// Both are handled between two brokers too, if the first takes its work back.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	// After the first signal the next one ends the process at once.
	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer restore()
	context.AfterFunc(ctx, restore)
	p := &process{command: c, cfg: cfg, before: before, hangups: hangups}
	for err = p.run(ctx, passed, systemd); errors.Is(err, errTakenBack); err = p.run(ctx, passed, false) {
		passed, c.Salvage = p.next.sockets, false
		if ctx.Err() != nil {
			link.CloseSockets(passed)
			return nil
		}
		p = &process{command: c, cfg: p.reloads.end(hangups), failed: p.next.upgrade, hangups: hangups}
	}
	return err
}

// A process is what runs a broker from its start to its end. There may be another in the same
// process of the system, if a new one was to take its place and failed.
type process struct {
	command *serverCommand
	cfg     *config.Config
	before  *predecessor    // nil: there is none
	failed  inspect.Upgrade // after which this one runs
	next    *successor      // nil: there is none
	hangups chan os.Signal  // SIGHUP

	log      *slog.Logger
	counters *metrics.Broker
	told     *supervision
	end      *ending
	reloads  *reloader
	upgrades *upgrades
	stopAPI  func() // ends the commands over the API
}

// run runs a broker with sockets that were passed, which have to fit if systemd did that. Its
// error is errTakenBack if next was to take its place and failed.
func (p *process) run(ctx context.Context, passed []link.Socket, systemd bool) (err error) {
	defer func() {
		if !errors.Is(err, errLogged) {
			p.before.failed(err)
		}
	}()
	cfg := p.cfg
	p.counters = metrics.NewBroker()
	signal.Ignore(syscall.SIGPIPE) // a log that nobody reads is no reason to end
	level, format := newLogLevel(cfg.Log), cfg.Log.On(term.IsTerminal(int(os.Stderr.Fd())))
	lines := newLogQueue(os.Stderr, format, level, p.counters.LogLinesDropped)
	defer lines.flush(logFlushWithin)
	p.log = format.Logger(lines, level)
	p.told = supervise(p.log, p.counters)
	p.reloads = &reloader{told: p.told, log: p.log, level: level, counters: p.counters, outcomes: showReloads(p.counters), load: p.command.loadAfter, ready: make(chan struct{}), running: cfg}
	defer p.reloads.onHangup(p.hangups)()
	if faults := checkFiles(cfg); len(faults) > 0 {
		return faults
	}
	if err := p.takeSockets(passed, systemd); err != nil {
		return err
	}
	defer cfg.Broker.Sockets.Close()
	p.end = &ending{told: p.told, log: p.log, lines: lines}
	defer context.AfterFunc(ctx, p.end.begin)()
	if err = p.before.prepared(ctx); err == nil {
		p.before.follow(p.hangups, p.abandoned)
		err = p.serve(ctx, *cfg)
	}
	if err == nil && p.next != nil {
		p.end.stop()
		err = p.next.finish(p.log, p.told, p.reloads, ctx.Done())
	}
	return p.note(err)
}

// note logs how the process ended.
func (p *process) note(err error) error {
	faults, faulty := errors.AsType[config.Errors](err)
	switch {
	case errors.Is(err, errTakenBack):
		return err
	case err == nil:
		p.log.Info("stopped")
		return nil
	}
	if faulty {
		return faults
	}
	p.before.failed(err)
	p.log.Log(context.Background(), config.LevelFatal, "stopped by a failure", codeOf(err), "error", err)
	return errLogged
}

// takeSockets gives sockets that were passed to the listeners of the configuration. Those of
// systemd have to fit; of those of a process before, the configuration may have changed.
func (p *process) takeSockets(passed []link.Socket, systemd bool) error {
	sockets, errs := link.Assign(passed, wantedListeners(p.cfg))
	if systemd && len(errs) > 0 {
		sockets.Close()
		return errPassed(errs)
	}
	for _, err := range errs {
		p.log.Warn("a socket was not taken over", trouble.SocketNotTaken, "error", err)
	}
	p.cfg.Broker.Sockets = sockets
	return nil
}

// serve runs a broker until ctx ends or the broker fails. The metrics listener
// opens first and closes last: a prober sees a start and a stop as not ready.
func (p *process) serve(ctx context.Context, cfg config.Config) (err error) {
	log, counters, end, reloads := p.log, p.counters, p.end, p.reloads
	cfg.Store.DataDir, cfg.Store.Handed = config.Absolute(cfg.Store.DataDir), p.before != nil && p.before.closed
	p.upgrades = newUpgrades(log, cfg.Store.DataDir, p.failed, reloads)
	p.upgrades.alone = p.command.alone
	logStarting(log, &cfg)
	counters.BuildInfo(version())
	var ready readiness
	showReady(counters, ready.check)
	closeMetrics, err := p.serveMetrics(&cfg, ready.check)
	if err != nil {
		return err
	}
	defer closeMetrics()

	db, stored, err := p.openData(ctx, cfg.Store)
	if err != nil {
		return err
	}
	defer func() {
		var unfinished *broker.UnfinishedError
		if errors.As(err, &unfinished) {
			return // the broker may still write to it
		}
		end.doing("the store is being closed; all that was acknowledged is in it")
		err = errors.Join(err, db.Close())
	}()
	showStore(counters, db, cfg.Store.MaxSize)
	cfg.Broker.Logger, cfg.Broker.Metrics, cfg.Broker.FilesBeside = log, counters, filesOfSources(&cfg)
	cfg.Broker.Version, cfg.Broker.StoreSizes = version(), storeSizes(db)
	logins, err := newLogins(&cfg, log, counters)
	if err != nil {
		return err
	}
	defer logins.close()
	options := limitMemory(log, cfg.Broker)
	b, err := broker.New(options, db)
	if err != nil {
		return err
	}
	api, entry, over, err := p.govern(&cfg, b, db, stored, logins)
	if err != nil {
		return err
	}
	if err := p.startBroker(ctx, b); err != nil {
		return err
	}
	stopSocket := serveSocket(log, cfg.Store.DataDir, api)
	stopNetwork, err := over.serve(&cfg, log, p.upgrades)
	if err != nil {
		stopSocket()
		return errors.Join(err, shutdown(b))
	}
	p.stopAPI = sync.OnceFunc(func() { together(stopSocket, stopNetwork) })
	defer p.stopAPI()
	defer p.upgrades.end()
	ready.broker.Store(b)
	go b.Record(ctx)
	end.doing("the broker is being stopped")
	logListeners(log, b, entry.summary(&cfg))
	log.Info("ready")
	p.upgrades.ready(b, p.before.ready())
	reloads.inUse = func(running *config.Config) map[string]string {
		return inUse(running, b, options.Limits.Memory, end.lines.format, reloads.level)
	}
	reloads.begin(b, append(append(logins.parts(), entry.parts()...), over.part)...)
	p.told.ready(b)

	return p.runUntilDone(ctx, b)
}

// govern puts users and rules in front of b, and makes what operators see and change it with.
func (p *process) govern(cfg *config.Config, b *broker.Broker, db *store.DB, stored *accounts, logins *logins) (*admin.API, *accessControl, *network, error) {
	api := admin.New(version(), p.log, p.counters.Panics.Inc)
	entry := &accessControl{log: p.log, logins: logins}
	if err := stored.govern(entry, b, api); err != nil {
		return nil, nil, nil, err
	}
	if err := takeParts(entry.parts(), cfg); err != nil {
		return nil, nil, nil, err
	}
	p.addOperations(api, b, db)
	over := &network{admin.NewWeb(api, &operators{stored, logins.chain})}
	return api, entry, over, takeParts([]part{over.part}, cfg)
}

// startBroker starts b, unless this process is to take the place of another and is told to end
// before that has noticed: it goes on then.
func (p *process) startBroker(ctx context.Context, b *broker.Broker) error {
	if err := b.Start(); err != nil {
		return hintSalvage(err)
	}
	if p.before != nil && ctx.Err() != nil {
		return errors.Join(errToldToEnd, shutdown(b))
	}
	return nil
}

// addOperations adds what the API can do with a running broker.
func (p *process) addOperations(api *admin.API, b *broker.Broker, db *store.DB) {
	p.reloads.addOperation(api)
	addLogOperations(api, p.log, p.reloads.level, &p.end.lines.tail)
	addOperations(api, b, db)
	addBackups(api, db, p.log)
	p.upgrades.addOperations(api)
}

// logStarting writes the first line of the log.
func logStarting(log *slog.Logger, cfg *config.Config) {
	attrs := []any{"version", version(), "pid", os.Getpid()}
	if cfg.File != "" {
		attrs = append(attrs, "config", cfg.File)
	}
	log.Info("starting", attrs...)
}

// runUntilDone waits until ctx ends, another process is to take over, or the broker fails, and
// stops it.
func (p *process) runUntilDone(ctx context.Context, b *broker.Broker) error {
	select {
	case <-ctx.Done():
		p.log.Info("stopping", "cause", context.Cause(ctx))
		return shutdown(b)
	case p.next = <-p.upgrades.begun:
		p.stopAPI() // a command under way is waited for, or cut off, while clients are served
		p.end.beginHandover()
		return handOver(p.log, b, p.next)
	case err := <-b.Failed():
		p.end.begin()
		return errors.Join(err, shutdown(b))
	}
}

// serveMetrics opens the listener for metrics, /health and /ready, unless it is off.
func (p *process) serveMetrics(cfg *config.Config, ready func() error) (stop func(), err error) {
	if !cfg.Metrics.Enabled {
		return func() {}, nil
	}
	ln, err := cfg.Broker.Sockets.Listen(metricsListener, "metrics.bind", cfg.Metrics.Bind)
	if err != nil {
		return nil, err
	}
	p.upgrades.passes(metricsListener, ln)
	server := metrics.Serve(ln, cfg.Metrics.Path, link.ScrapesMax(), p.counters, ready, newHTTPErrorLog(p.log, metricsListener))
	logListening(p.log, metricsListener, server.Addr())
	return func() { _ = server.Close(closed()) }, nil // a scrape under way is cut off
}

// commandsEndWithin is how long a start waits for a command that works on the store.
const commandsEndWithin = 2 * time.Second

// together calls functions at once and waits for all of them.
func together(all ...func()) {
	var called sync.WaitGroup
	for _, f := range all {
		called.Go(f)
	}
	called.Wait()
}

func shutdown(b *broker.Broker) error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownWithin)
	defer cancel()
	return b.Shutdown(ctx)
}

// closed returns a context that has ended.
func closed() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// readiness answers /ready. There is no broker until its store is loaded and
// its listeners are open.
type readiness struct{ broker atomic.Pointer[broker.Broker] }

func (r *readiness) check() error {
	if b := r.broker.Load(); b != nil {
		return b.Ready()
	}
	return errors.New("the store is being loaded")
}
