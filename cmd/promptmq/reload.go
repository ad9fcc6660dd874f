package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"syscall"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/config"
	"github.com/x0a1b/promptmq/metrics"
)

// A reloader has a running broker take over a configuration that was changed: all of it
// that can be taken over, or nothing.
type reloader struct {
	told     *supervision
	log      *slog.Logger
	level    *logLevel
	counters *metrics.Broker
	outcomes *reloaded
	// load reads all sources again.
	load func(before *config.Config) (*config.Config, error)
	// inUse says what the broker made of some values, by key. It is set before begin.
	inUse   func(running *config.Config) map[string]string
	ready   chan struct{} // closed when there is something to reload
	handled chan struct{} // closed when onHangup has come to its end

	mu      sync.Mutex // guards the following
	running *config.Config
	parts   []part
	options part   // of the broker, its listeners and the log
	next    string // the program to which an upgrade is under way: nothing is reloaded; "": none
	missed  bool   // a SIGHUP came meanwhile
}

// An errUpgrading is returned while another process is to take over: it has read the
// configuration, perhaps before that was changed.
type errUpgrading struct{ to string }

func (e errUpgrading) Error() string {
	return "an upgrade is under way, to " + e.to + ", and the new process has read the configuration already: reload when it has ended"
}

// A part is something that a configuration says, in its keys or in the files that they
// name. It reads and checks all that it needs, and returns how to take that over, which
// cannot fail.
type part func(next *config.Config) (take func(), faults config.Errors)

// A reloadReport is what came of a reload.
type reloadReport struct {
	Changed []string `json:"changed"` // keys that have another value now
	Restart []string `json:"restart"` // keys with another value, for which a restart is needed
}

// takeParts takes over parts of the configuration of the start.
func takeParts(parts []part, cfg *config.Config) error {
	takes, faults := prepareParts(parts, cfg)
	if len(faults) > 0 {
		return faults
	}
	for _, take := range takes {
		take()
	}
	return nil
}

// prepareParts prepares all parts, and returns the faults of all.
func prepareParts(parts []part, next *config.Config) (takes []func(), faults config.Errors) {
	for _, p := range parts {
		take, errs := p(next)
		takes, faults = append(takes, take), append(faults, errs...)
	}
	return takes, faults
}

// begin says that the broker runs, and what there is to reload beside its options.
func (r *reloader) begin(b *broker.Broker, parts ...part) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parts = append(r.parts, parts...)
	r.options = func(next *config.Config) (func(), config.Errors) {
		takeListeners, _, err := b.UpdateListeners(next.Broker)
		if err != nil { // the files have changed since they were checked
			return nil, config.Errors{next.Fault("server.listeners", err.Error())}
		}
		return func() {
			takeListeners()
			next.Broker.FilesBeside = filesOfSources(next)
			b.SetOptions(next.Broker)
			if l := r.level.reload(next.Log); l.SetAtRunTime {
				r.log.Warn("log.level is as it was in the configuration, so that what was set at run time holds on", trouble.LogLevelKept, "level", l.Level, "configured", l.Configured)
			}
		}, nil
	}
	close(r.ready)
}

// reload reads the configuration and takes it over. After an error, a config.Errors or
// errUpgrading, all is as it was before.
func (r *reloader) reload(ctx context.Context) (*reloadReport, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next != "" {
		return nil, errUpgrading{r.next}
	}
	return r.reloadLocked(ctx)
}

func (r *reloader) reloadLocked(ctx context.Context) (*reloadReport, error) {
	r.told.reloading()
	next, takes, err := r.prepare()
	defer func() { r.told.reloaded(err) }()
	r.outcomes.note(err)
	if err != nil {
		r.log.ErrorContext(ctx, "not reloaded: all stays as it was", trouble.NotReloaded, "faults", faultLines(err))
		return nil, err
	}
	report := new(reloadReport)
	report.Changed, report.Restart = r.running.Take(next)
	for _, take := range takes {
		take()
	}
	level, attrs := slog.LevelInfo, []any{"changed", report.Changed, "needs_restart", report.Restart}
	if len(report.Restart) > 0 {
		level, attrs = slog.LevelWarn, append(attrs, trouble.NeedsRestart)
	}
	r.log.Log(ctx, level, "reloaded", attrs...)
	return report, nil
}

// prepare reads what there is, with all faults of all parts.
func (r *reloader) prepare() (next *config.Config, takes []func(), err error) {
	next, err = r.load(r.running)
	if err != nil {
		return nil, nil, err
	}
	takes, faults := prepareParts(r.parts, next)
	if len(faults) > 0 {
		return nil, nil, faults
	}
	take, faults := r.options(next)
	if len(faults) > 0 {
		return nil, nil, faults
	}
	return next, append(takes, take), nil
}

func faultLines(err error) []string {
	var faults config.Errors
	if !errors.As(err, &faults) {
		return []string{err.Error()}
	}
	lines := make([]string, len(faults))
	for i, f := range faults {
		lines[i] = f.Error()
	}
	return lines
}

// hold has nothing reloaded from now on, for a new process is to read the configuration.
func (r *reloader) hold(next string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = next
}

// release ends hold, as this process carries on.
func (r *reloader) release() {
	r.mu.Lock()
	r.next = ""
	missed := r.missed
	r.missed = false
	r.mu.Unlock()
	if missed {
		r.reloadForHangup()
	}
}

// end returns the configuration that a broker ran with, when nobody uses it any more. A SIGHUP
// that came since hold, with the function of onHangup called, is given back.
func (r *reloader) end(hangups chan<- os.Signal) *config.Config {
	<-r.handled
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.missed {
		select {
		case hangups <- syscall.SIGHUP:
		default: // there is another
		}
	}
	return r.running
}

// missedHangup reports whether a SIGHUP came since hold.
func (r *reloader) missedHangup() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.missed
}

// onHangup reloads for each SIGHUP, until the returned function is called. One that comes during
// the start waits for its end.
func (r *reloader) onHangup(hangups <-chan os.Signal) (stop func()) {
	stopping := make(chan struct{})
	r.handled = make(chan struct{})
	go func() {
		defer close(r.handled)
		select {
		case <-r.ready:
		case <-stopping:
			return
		}
		for {
			select {
			case <-hangups:
				r.reloadForHangup()
			case <-stopping:
				return
			}
		}
	}()
	return func() { close(stopping) }
}

func (r *reloader) reloadForHangup() {
	defer func() {
		if p := recover(); p != nil {
			r.counters.Panics.Inc()
			r.log.Error("panic", trouble.Panic, "doing", "reloading", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.missed = r.next != ""; r.missed {
		r.log.Info("not reloaded now, as an upgrade is under way: whichever process carries on reads the configuration again when that has ended", "binary", r.next)
		return
	}
	_, _ = r.reloadLocked(context.Background()) // the log has the error
}
