package broker_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
	"github.com/x0a1b/promptmq/store"
)

// A simStore lets one goroutine at a time read queues. The store's own lock
// would do, but SQLite may sleep with it held, and whoever waits for a mutex
// keeps virtual time from going on.
type simStore struct {
	*store.DB
	turn chan struct{}
	// exclusive: a commit locks readers out, as it does without a WAL.
	exclusive bool
}

func (s *simStore) Apply(b *session.Batch) error {
	if s.exclusive {
		s.turn <- struct{}{}
		defer func() { <-s.turn }()
	}
	return s.DB.Apply(b)
}

func (s *simStore) Tidy() (more bool, err error) {
	if s.exclusive {
		s.turn <- struct{}{}
		defer func() { <-s.turn }()
	}
	return s.DB.Tidy()
}

func (s *simStore) Remove() (more bool, err error) {
	if s.exclusive {
		s.turn <- struct{}{}
		defer func() { <-s.turn }()
	}
	return s.DB.Remove()
}

func (s *simStore) Page(id session.ID, from uint64, entriesMax, bytesMax int) ([]session.Entry, error) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	return s.DB.Page(id, from, entriesMax, bytesMax)
}

func (s *simStore) Close() error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	return s.DB.Close()
}

// bury ends what is left of a broker whose machine or process is gone.
func (w *world) bury() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_ = w.b.Shutdown(ctx) // it cannot commit
	_ = w.db.Close()      // nor checkpoint
	w.db = nil
	w.running.Wait()
	if n := w.m.Panics.Get(); n > 0 {
		w.mu.Lock()
		w.faultLocked("%d panics", n)
		w.mu.Unlock()
	}
}

// run is one simulation: times of traffic that each end in a cut, and one at
// the end in which everything may settle. It returns what went wrong.
func (w *world) run() error {
	if err := w.start(); err != nil {
		return err
	}
	for range 1 + w.r.IntN(3) {
		if err := w.crash(); err != nil {
			return err
		}
	}
	w.disk.calm()
	w.traffic(10+w.r.IntN(40), func() bool { return false })
	if w.cfg.stuck {
		w.settleStuck()
	}
	w.settle()
	w.stop()
	if err := checkIntegrity(filepath.Join(w.disk.dir, "promptmq.db")); err != nil {
		w.faults = append(w.faults, err.Error())
	}
	return w.verdict()
}

// verdict returns the first of what went wrong.
func (w *world) verdict() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var errs []error
	for _, f := range w.faults[:min(len(w.faults), 8)] {
		errs = append(errs, errors.New(f))
	}
	return errors.Join(errs...)
}

// crash lets the clients work until the power goes, and starts again.
func (w *world) crash() error {
	kill := w.cfg.startCuts || (w.cfg.kills && w.r.IntN(2) == 0)
	w.plan(1+w.r.IntN(500), kill)
	faults, atOnce := w.disk.faultsSoFar(), w.cfg.startCuts || (kill && w.r.IntN(2) == 0)
	over := func() bool {
		if atOnce && w.disk.faultsSoFar() > faults {
			return true // before the broker can try again
		}
		select {
		case <-w.off:
			return true
		case err := <-w.b.Failed(): // the process ends by itself
			kill = true
			w.mu.Lock()
			w.faultsOnPurpose(err)
			w.mu.Unlock()
			return true
		default:
			return false
		}
	}
	w.traffic(20+w.r.IntN(100), over)
	w.disk.kill()
	w.powerCut()
	w.bury()
	again := w.disk.powerOn
	if kill {
		again = w.disk.restart
	}
	if err := again(); err != nil {
		return err
	}
	if w.cfg.flips {
		if err := w.disk.flip(1 + w.r.IntN(4)); err != nil {
			return err
		}
	}
	if w.cfg.startCuts || w.r.IntN(4) == 0 || (kill && w.r.IntN(2) == 0) { // the power goes while the broker starts
		w.plan(w.r.IntN(40), true)
		w.disk.mu.Lock()
		w.disk.cutAfter = w.r.IntN(40)
		w.disk.mu.Unlock()
	}
	return w.start()
}

// faultsOnPurpose notes an end that nobody asked for.
func (w *world) faultsOnPurpose(err error) {
	if !w.cfg.failSyncs && !w.cfg.failWrites {
		w.faultLocked("the broker gave up: %v", err)
	}
}

// plan decides what goes wrong next, counted in operations of the disk.
func (w *world) plan(ops int, kill bool) {
	d := w.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cutAfter = -1
	if !kill {
		d.cutAfter = ops
	}
	if w.cfg.failSyncs {
		d.failSync = faultPlan{after: w.r.IntN(12), times: 1 + w.r.IntN(3)}
	}
	if w.cfg.failWrites {
		d.failWrite = faultPlan{after: w.r.IntN(100), times: 1 + w.r.IntN(3)}
	}
}

// settle brings every client back and waits until nothing moves.
func (w *world) settle() {
	w.settleClients()
	w.checkDelivered()
	w.mu.Lock()
	probe := newSimClient(w, "probe", codec.Version5, false, 2)
	probe.connectLocked(false, nil)
	probe.subs = []*simSub{{filter: "r/#", id: 1, sentAt: 1}}
	w.mu.Unlock()
	time.Sleep(5 * time.Second)
	w.checkRetained()
}

// stop ends the broker in good order.
func (w *world) stop() {
	w.mu.Lock()
	w.dying = true
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := errors.Join(w.b.Shutdown(ctx), w.db.Close())
	w.running.Wait()
	if err != nil || w.m.Panics.Get() > 0 {
		w.faults = append(w.faults, fmt.Sprintf("shutdown: %v, %d panics", err, w.m.Panics.Get()))
	}
}
