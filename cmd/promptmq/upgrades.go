package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/broker/trouble"
)

const (
	// preparedWithin is how long a new process may take to check its configuration, on a machine
	// that is slow and busy: clients are served meanwhile.
	preparedWithin = time.Minute
	// readyWithinDefault is how long it may take to open the store, load it and listen,
	// unless something else is said.
	readyWithinDefault = 2 * time.Minute
	// answeredWithin is how long those may wait who were accepted by this process and have no
	// answer to CONNECT yet.
	answeredWithin = 250 * time.Millisecond
	// storeAnswersWithin is how long a commit may take without which there is no handover.
	storeAnswersWithin = 5 * time.Second
)

// upgrades hand the work of a broker to a new process.
type upgrades struct {
	log     *slog.Logger
	dir     string          // of the data
	alone   bool            // it cannot be done
	begun   chan *successor // for which the broker is to end
	over    chan struct{}   // closed when it ends
	reloads *reloader

	mu     sync.Mutex // guards the following
	last   inspect.Upgrade
	beside map[string]net.Listener // those that are not of the broker, by name
	broker *broker.Broker          // nil: it is not ready
}

func newUpgrades(log *slog.Logger, dir string, last inspect.Upgrade, reloads *reloader) *upgrades {
	return &upgrades{log: log, dir: dir, begun: make(chan *successor, 1), over: make(chan struct{}), reloads: reloads, last: last, beside: make(map[string]net.Listener)}
}

// end ends a new process that is being prepared, and one for which the broker did not end: this
// process ends, and with it the listeners that they have.
func (u *upgrades) end() {
	close(u.over)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.broker = nil
	select {
	case s := <-u.begun:
		s.abandon()
		link.CloseSockets(s.sockets)
	default:
	}
}

// passes has a listener passed on that is not of the broker.
func (u *upgrades) passes(name string, ln net.Listener) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.beside[name] = ln
}

// ready says that b runs, and how the upgrade ended that it comes from, if any: the sockets that
// were passed for that are its own now.
func (u *upgrades) ready(b *broker.Broker, last inspect.Upgrade) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.broker = b
	b.OwnSockets()
	if last.State != "" {
		u.last = last
	}
}

// An upgradeRequest says what is to take the place of the broker.
type upgradeRequest struct {
	Binary        string  `json:"binary" minLength:"1" maxLength:"4096" doc:"Path on the broker's machine, from the root on, of the new program."`
	WithinSeconds float64 `json:"within_seconds,omitempty" minimum:"0" maximum:"86400" doc:"How long the new process may take until it is ready, before it is ended and this one carries on; 0: 120."`
}

// addOperations adds what upgrades.
func (u *upgrades) addOperations(api *admin.API) {
	type request struct{ Body upgradeRequest }
	admin.Handle(api, admin.Operation{Method: http.MethodPost, Path: "/upgrade", Role: admin.Admin, Group: "configuration",
		Summary:     "Begin to hand the work to a new process, which gets the listening sockets.",
		Description: "Only over the administration socket. It answers when the new process has checked its configuration; GET, of whoever answers then, says what came of it. If the new process does not become ready, this one carries on.",
		Refused:     []int{http.StatusConflict}},
		func(ctx context.Context, in *request) (*inspect.Upgrade, error) {
			if !admin.OnThisMachine(ctx) {
				return nil, admin.Refuse("this starts a program, and only for who asks over the administration socket: run `promptmq upgrade` on the broker's machine")
			}
			return u.begin(ctx, &in.Body)
		})
	admin.Handle(api, admin.Operation{Method: http.MethodGet, Path: "/upgrade", Role: admin.Viewer, Group: "configuration", Summary: "The last upgrade, and what came of it."},
		func(context.Context, *admin.Nothing) (*inspect.Upgrade, error) {
			u.mu.Lock()
			defer u.mu.Unlock()
			state := u.last
			state.PID = os.Getpid()
			return &state, nil
		})
}

// begin starts the new process and waits until it is prepared.
func (u *upgrades) begin(ctx context.Context, in *upgradeRequest) (*inspect.Upgrade, error) {
	binary, err := programToStart(in.Binary)
	if err == nil {
		err = mayHandOver()
	}
	if err == nil && u.alone {
		err = errors.New("`promptmq dev` runs the broker, with addresses and data that another process would not have: end it, and start the new program")
	}
	if err != nil {
		return nil, admin.Refuse("not upgraded: %v", err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.last.State == inspect.UpgradeUnderWay:
		return nil, &admin.Error{Text: "an upgrade is under way, to " + u.last.Binary, Status: http.StatusConflict, Asked: true}
	case u.broker == nil:
		return nil, &admin.Error{Text: "the broker is starting, or ends", Status: http.StatusConflict, Asked: true}
	}
	if err := storeAnswers(ctx, u.broker); err != nil {
		return nil, &admin.Error{Text: "not upgraded, the broker carries on: " + err.Error(), Status: http.StatusConflict, Asked: true}
	}
	within := readyWithinDefault
	if in.WithinSeconds > 0 {
		within = time.Duration(in.WithinSeconds * float64(time.Second))
	}
	state := inspect.Upgrade{Binary: binary, State: inspect.UpgradeUnderWay, From: version(), BeganAt: time.Now().UTC()}
	u.log.Info("an upgrade begins", "binary", binary, "ready_within", within.String())
	u.reloads.hold(binary)
	s, err := u.prepare(state, within)
	if err != nil {
		defer u.reloads.release()
		state.State, state.Error = inspect.UpgradeFailed, err.Error()
		u.last = state
		u.log.Error("not upgraded: this process carries on, and no client has noticed", trouble.NotUpgraded, "binary", binary, "error", err)
		return nil, admin.Refuse("not upgraded, the broker carries on: %v", err)
	}
	u.last = s.upgrade
	u.begun <- s
	state = s.upgrade
	state.PID = os.Getpid()
	return &state, nil
}

// storeAnswers returns an error if the disk takes nothing: the store could not be closed in good
// order, nor opened.
func storeAnswers(ctx context.Context, b *broker.Broker) error {
	ctx, cancel := context.WithTimeout(ctx, storeAnswersWithin)
	defer cancel()
	waits, err := b.Alive(ctx)
	if err == nil && waits != "" {
		err = errors.New("the store takes nothing: " + waits)
	}
	return err
}

// prepare starts the new process and waits until it is prepared.
func (u *upgrades) prepare(state inspect.Upgrade, within time.Duration) (*successor, error) {
	sockets, err := u.socketsLocked()
	if err != nil {
		return nil, err
	}
	s, err := beginSuccessor(state, u.dir, sockets, within)
	if err != nil {
		link.CloseSockets(sockets)
		return nil, err
	}
	word, err := s.await(saidPrepared, preparedWithin, u.over)
	if err != nil {
		s.abandon()
		link.CloseSockets(sockets)
		return nil, err
	}
	s.upgrade.To = word.Version
	return s, nil
}

func (u *upgrades) socketsLocked() ([]link.Socket, error) {
	all, err := u.broker.PassSockets()
	for name, ln := range u.beside {
		if err != nil {
			break
		}
		var s link.Socket
		if s, err = link.SocketOf(name, ln); err == nil {
			all = append(all, s)
		}
	}
	if err != nil {
		link.CloseSockets(all)
		return nil, err
	}
	return all, nil
}

// programToStart returns the path of the program that is asked for.
func programToStart(path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", admin.RefuseField("binary", "the path is from the root on, and %.200q is not", path)
	}
	return exec.LookPath(path)
}

// handOver ends a broker for a new process that is prepared.
func handOver(log *slog.Logger, b *broker.Broker, s *successor) error {
	log.Info("handing over to a new process", "binary", s.upgrade.Binary, "version", s.upgrade.To, "pid", s.cmd.Process.Pid)
	_ = say(s.to, handoverWord{Said: saidStopping, At: time.Now()}) // else it has ended, as is noticed
	ctx, cancel := context.WithTimeout(context.Background(), answeredWithin)
	defer cancel()
	b.StopListening(ctx)
	return shutdown(b)
}

// errTakenBack is returned if a new process failed, and the work is to go on in this one.
var errTakenBack = errors.New("taken back")

// finish has the new process go on, as the store is closed, and waits until it is ready. Its
// error is errTakenBack if it is not, and nil if this process is told to end meanwhile.
func (s *successor) finish(log *slog.Logger, told *supervision, reloads *reloader, stop <-chan struct{}) error {
	defer told.handedOver()
	_ = say(s.to, handoverWord{Said: saidClosed}) // else it has ended, as is noticed
	log.Info("the store is closed, and the new process opens it", "pid", s.cmd.Process.Pid)
	go debug.FreeOSMemory() // both have their Sessions in memory
	_, err := s.await(saidReady, s.within, stop)
	if err == nil {
		told.isNow(s.cmd.Process.Pid)
		if reloads.missedHangup() {
			_ = say(s.to, handoverWord{Said: saidReload}) // else it has ended
		}
		s.release()
		link.CloseSockets(s.sockets)
		log.Info("handed over: the new process is ready", "version", s.upgrade.To, "pid", s.cmd.Process.Pid)
		return nil
	}
	s.abandon()
	select {
	case <-stop:
		link.CloseSockets(s.sockets)
		log.Info("not upgraded: this process was told to end, and the new one ends with it", "binary", s.upgrade.Binary)
		return nil
	default:
	}
	s.upgrade.State, s.upgrade.Error = inspect.UpgradeFailed, err.Error()
	log.Error("not upgraded: this process takes its work back, and opens the store again", trouble.NotUpgraded, "binary", s.upgrade.Binary, "version", s.upgrade.To, "error", err)
	return errTakenBack
}
