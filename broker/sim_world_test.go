package broker_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/metrics"
	"github.com/x0a1b/promptmq/store"
)

var (
	simSeeds = flag.Int("sim.seeds", 0, "how many seeds each simulation runs; 0: a few")
	simSeed  = flag.Uint64("sim.seed", 0, "run this seed only")
	simTrace = flag.Bool("sim.trace", false, "print what happens in a simulation")
)

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// A simConfig says what goes wrong in a simulation.
type simConfig struct {
	synchronous string
	lying       bool // the disk ignores syncs
	failSyncs   bool // one to three syncs fail, at a random time
	failWrites  bool // one to three writes find no space
	kills       bool // half of the ends are kill -9, and the power goes later
	flips       bool // bits turn over while the power is off
	startCuts   bool // all are, right after a failed sync, and the power goes during the start
}

// A world is one simulation: a broker that dies and starts again, its disk, the
// network and the clients. Everything random comes from its seed.
type world struct {
	cfg     simConfig
	root    string
	disk    *simDisk
	running sync.WaitGroup
	db      *store.DB // of the process that lives

	mu       sync.Mutex // guards the following; no wait happens with it held
	r        *rand.Rand
	b        *broker.Broker
	m        *metrics.Broker
	began    time.Time
	boots    int
	cuts     int
	dying    bool // the power is off, or the broker was told to stop
	off      chan struct{}
	events   int
	acked    int
	clients  []*simClient
	links    []*simLink
	messages []*simMessage
	retained map[string]string // what the probe got
	pingMax  time.Duration
	faults   []string
}

// template is an empty database, made once.
var template = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "promptmq-sim")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	o := store.DefaultOptions()
	o.DataDir = dir
	db, err := store.Open(o)
	if err != nil {
		return nil, err
	}
	if err := db.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, "promptmq.db"))
})

// simRoot is where disks are: memory, if the system has a place for that.
func simRoot(t *testing.T) string {
	t.Helper()
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		if dir, err := os.MkdirTemp("/dev/shm", "promptmq-sim"); err == nil {
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			return dir
		}
	}
	return t.TempDir()
}

func newWorld(seed uint64, root string, cfg simConfig) (*world, error) {
	r := rand.New(rand.NewPCG(seed, 0))
	w := &world{cfg: cfg, root: root, r: r, began: time.Now(), retained: make(map[string]string)}
	empty, err := template()
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("sim-%d", seed)
	if w.disk, err = newSimDisk(root, name, rand.New(rand.NewPCG(seed, 1)), "promptmq.db", empty); err != nil {
		return nil, err
	}
	delays := rand.New(rand.NewPCG(seed, 2)) // guarded by disk.mu
	slowest := []time.Duration{500 * time.Microsecond, 5 * time.Millisecond, 40 * time.Millisecond}[r.IntN(3)]
	w.disk.delay = func() time.Duration { return time.Duration(delays.Int64N(int64(slowest))) }
	w.disk.lying = cfg.lying
	w.disk.onCut = w.powerCut
	for i := range 4 + r.IntN(5) {
		c := newSimClient(w, fmt.Sprintf("c%d", i), []codec.Version{codec.Version5, codec.Version311}[r.IntN(2)],
			r.IntN(6) > 0, []codec.QoS{2, 2, 1, 1, 0}[r.IntN(5)])
		w.clients = append(w.clients, c)
		if c.durable && c.version == codec.Version5 && r.IntN(4) == 0 {
			c.expiry = 5 // ends in some of the times without power
		}
		if c.member = i < 2 || r.IntN(5) == 0; c.member {
			c.durable, c.expiry, c.qos = true, 1<<20, 1+w.clients[0].qos%2
		}
	}
	return w, nil
}

// powerCut takes the network away in the moment in which the disk lost power.
func (w *world) powerCut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cutLocked()
}

func (w *world) cutLocked() {
	if w.dying {
		return
	}
	w.dying = true
	w.cuts++
	w.trace("the power goes")
	close(w.off)
	for _, l := range w.links {
		l.conn.powerCut(w.r.IntN(2) == 0)
	}
}

// start starts the broker, again if the power goes while it starts, or if the
// disk fails it then.
func (w *world) start() error {
	for {
		w.mu.Lock()
		w.boots++
		w.trace("start %d", w.boots)
		w.dying, w.off = false, make(chan struct{})
		w.mu.Unlock()
		faults := w.disk.faultsSoFar()
		err := w.startOnce()
		if err == nil {
			return nil
		}
		w.trace("it does not start: %v", err)
		if w.db != nil {
			_ = w.db.Close() // what it says is known: see err
			w.db = nil
		}
		select {
		case <-w.off:
			if err := w.disk.powerOn(); err != nil {
				return err
			}
		default:
			if w.disk.faultsSoFar() == faults {
				return fmt.Errorf("start %d: %w", w.boots, err)
			}
			w.disk.kill()
			if err := w.disk.restart(); err != nil {
				return err
			}
		}
	}
}

func (w *world) startOnce() (err error) {
	o := store.DefaultOptions()
	o.DataDir, o.VFS, o.Synchronous, o.MmapSize = w.disk.dir, w.disk.name, w.cfg.synchronous, 0
	if w.db, err = store.Open(o); err != nil {
		return err
	}
	opts := broker.DefaultOptions()
	opts.Bind, opts.WSBind, opts.KeepAliveSeconds, opts.Metrics = "", "", 0, metrics.NewBroker()
	b, err := broker.New(opts, w.db)
	if err != nil {
		return err
	}
	if err := b.Start(); err != nil {
		return err
	}
	w.mu.Lock()
	w.b, w.m = b, opts.Metrics
	w.mu.Unlock()
	return nil
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
	for range 20 {
		w.mu.Lock()
		for _, c := range w.clients {
			if c.link == nil {
				c.connectLocked(false, nil)
			}
		}
		w.mu.Unlock()
		time.Sleep(time.Second)
	}
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

// simulate runs one seed in a bubble of virtual time.
func simulate(t *testing.T, root string, seed uint64, cfg simConfig) (*world, error) {
	t.Helper()
	return inBubble(t, root, seed, cfg, (*world).run)
}

// inBubble makes the world of a seed and lets run do something with it.
func inBubble(t *testing.T, root string, seed uint64, cfg simConfig, run func(*world) error) (w *world, err error) {
	t.Helper()
	if cfg.synchronous == "" {
		cfg.synchronous = "FULL"
	}
	defer func() {
		if p := recover(); p != nil {
			panic(fmt.Sprintf("-sim.seed=%d: %v", seed, p))
		}
	}()
	synctest.Test(t, func(*testing.T) {
		if w, err = newWorld(seed, root, cfg); err == nil {
			defer w.disk.close()
			err = run(w)
		}
	})
	return w, err
}
