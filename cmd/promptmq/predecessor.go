package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/config"
	"github.com/x0a1b/promptmq/store"
)

// A predecessor is the process whose place this one is to take. A nil one is none.
type predecessor struct {
	says    <-chan handoverWord
	to      *os.File
	upgrade inspect.Upgrade
	dataDir string
	stopped time.Time // when it took no more connections
	closed  bool      // it has closed the store in good order
}

// errPredecessorStays is returned if the other process carries on.
var errPredecessorStays = errors.New("the process whose place this one was to take carries on")

// errToldToEnd is returned if this process got a signal before it was ready.
var errToldToEnd = errors.New("told to end before it had taken the place of the other process")

// findPredecessor returns who has started this process to take its place, with its sockets; nil: nobody.
func findPredecessor() (*predecessor, []link.Socket, error) {
	text, found := os.LookupEnv(handoverVariable)
	if !found {
		return nil, nil, nil
	}
	_ = os.Unsetenv(handoverVariable) // it is for this process alone
	var reads, writes uintptr
	if n, err := fmt.Sscanf(text, "%d,%d", &reads, &writes); n != 2 || err != nil {
		return nil, nil, fmt.Errorf("%s=%q: this is set by `promptmq upgrade`, and not by people", handoverVariable, text)
	}
	closeOnExec(reads)
	closeOnExec(writes)
	from := os.NewFile(reads, "predecessor")
	p := &predecessor{says: listenTo(from), to: os.NewFile(writes, "predecessor")}
	first, more := <-p.says
	if !more || first.Said != saidSockets {
		return nil, nil, errPredecessorStays
	}
	p.upgrade, p.dataDir = first.Upgrade, first.DataDir
	var sockets []link.Socket
	for i, s := range first.Sockets {
		closeOnExec(uintptr(handoverFirst + i))
		f := os.NewFile(uintptr(handoverFirst+i), s.Name)
		if f == nil {
			return nil, nil, fmt.Errorf("the socket %q was not passed", s.Name)
		}
		sockets = append(sockets, link.Socket{Name: s.Name, Path: s.Path, Keep: s.Keep, File: f})
	}
	return p, sockets, nil
}

// checkDataDir returns an error if this process has other data than the one whose place it is to
// take: the sessions of all clients would be gone.
func (p *predecessor) checkDataDir(dir string) error {
	if p == nil || config.Absolute(dir) == p.dataDir {
		return nil
	}
	return fmt.Errorf("storage.data-dir is %s, and the broker that runs has its data in %s: to change that, stop it and start again", config.Absolute(dir), p.dataDir)
}

// prepared says that all is checked that can be without the store, and waits for that.
func (p *predecessor) prepared(ctx context.Context) error {
	if p == nil {
		return nil
	}
	if err := say(p.to, handoverWord{Said: saidPrepared, Version: version(), Schema: store.SchemaVersion()}); err != nil {
		return errPredecessorStays
	}
	for {
		select {
		case w, more := <-p.says:
			switch {
			case !more && p.stopped.IsZero():
				return errPredecessorStays
			case !more: // it has died after it had stopped
				return nil
			case w.Said == saidClosed:
				p.closed = true
				return nil
			case w.Said == saidStopping:
				p.stopped = w.At
			case w.Said == saidAbandoned:
				return errPredecessorStays
			}
		case <-ctx.Done():
			return errToldToEnd
		}
	}
}

// follow does what the other process says from now on: it may take its work back, or have been
// asked to reload.
func (p *predecessor) follow(hangups chan<- os.Signal, abandoned func()) {
	if p == nil {
		return
	}
	go func() {
		for w := range p.says {
			switch w.Said {
			case saidAbandoned:
				abandoned()
			case saidReload:
				select {
				case hangups <- syscall.SIGHUP:
				default: // there is another
				}
			}
		}
	}()
}

// abandoned ends the process at once, for the one whose place it was to take waits for that.
func (p *process) abandoned() {
	p.log.Log(context.Background(), config.LevelFatal, "the process whose place this one was to take takes its work back", trouble.NotUpgraded)
	p.end.lines.flush(logFlushWithin)
	os.Exit(exitFailure)
}

// ready says that this process accepts connections, and returns what came of the upgrade.
func (p *predecessor) ready() inspect.Upgrade {
	if p == nil {
		return inspect.Upgrade{}
	}
	p.upgrade.State, p.upgrade.To, p.upgrade.GapSeconds = inspect.UpgradeDone, version(), time.Since(p.stopped).Seconds()
	_ = say(p.to, handoverWord{Said: saidReady, Version: version()}) // else it has died, and this process stays
	_ = p.to.Close()
	return p.upgrade
}

// failed says why this process gives up.
func (p *predecessor) failed(err error) {
	if p != nil && err != nil {
		_ = say(p.to, handoverWord{Said: saidFailed, Error: err.Error()}) // else there is nobody, or more was said
	}
}
