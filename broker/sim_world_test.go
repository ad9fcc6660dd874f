package broker_test

import (
	"cmp"
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
	"github.com/x0a1b/promptmq/session"
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
	journal     string // empty: WAL
	lying       bool   // the disk ignores syncs
	failSyncs   bool   // one to three syncs fail, at a random time
	failWrites  bool   // one to three writes find no space
	kills       bool   // half of the ends are kill -9, and the power goes later
	flips       bool   // bits turn over while the power is off
	wills       bool   // half of the clients have Sessions that end with their connections, and Wills
	startCuts   bool   // all are, right after a failed sync, and the power goes during the start
	room        int    // messages that a queue has room for, with the policy drop-oldest; 0: for all
	promised    int    // what the checker takes room for
	stuck       bool   // there are few Packet Identifiers, and some messages are not acknowledged
}

// A world is one simulation: a broker that dies and starts again, its disk, the
// network and the clients. Everything random comes from its seed.
type world struct {
	cfg     simConfig
	root    string
	disk    *simDisk
	system  func() time.Time // the clock of the system, if it is another one
	running sync.WaitGroup
	db      *simStore // of the process that lives

	mu     sync.Mutex // guards the following; no wait happens with it held
	r      *rand.Rand
	b      *broker.Broker
	m      *metrics.Broker
	began  time.Time
	boots  int
	cuts   int
	dying  bool // the power is off, or the broker was told to stop
	off    chan struct{}
	events int
	acked  int
	// storedSince: what the broker had answered before this event is on disk.
	storedSince int
	refusals    int           // PUBLISH packets refused for want of room
	fullFor     time.Duration // how long the disk had no space
	clients     []*simClient
	links       []*simLink
	messages    []*simMessage
	retained    map[string]string // what the probe got
	// memberLeft: the Session of a member of the Shared Subscription ended.
	memberLeft bool
	pingMax    time.Duration
	faults     []string

	packetIDs int // towards each client; 0: all
	ignored   int // messages that clients did not acknowledge for long
	resent    int // those of them that came again
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

// simRoot is where disks are: memory, if the system has a place for that with
// room for several times of what they take.
func simRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "promptmq-sim")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	probe := filepath.Join(dir, "probe")
	err = os.WriteFile(probe, make([]byte, 32<<20), 0o600)
	if err := errors.Join(err, os.Remove(probe)); err != nil {
		return t.TempDir()
	}
	return dir
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
	w.disk.lying, w.disk.flipPayloads = cfg.lying, seed%2 == 0
	w.disk.onCut = w.powerCut
	for i := range 4 + r.IntN(5) {
		c := newSimClient(w, fmt.Sprintf("c%d", i), []codec.Version{codec.Version5, codec.Version311}[r.IntN(2)],
			r.IntN(6) > 0 && !(cfg.wills && r.IntN(2) == 0), []codec.QoS{2, 2, 1, 1, 0}[r.IntN(5)])
		w.clients = append(w.clients, c)
		if c.durable && c.version == codec.Version5 && r.IntN(4) == 0 {
			c.expiry = 5 // ends in some of the times without power
		}
		if c.member = i < 2 || r.IntN(5) == 0; c.member {
			c.durable, c.expiry, c.qos = true, 1<<20, 1+w.clients[0].qos%2
		}
	}
	if cfg.stuck {
		w.makeStuck()
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
	o.RemoveRows = 2 // little is ever queued, and removals must take several transactions
	if w.cfg.journal != "" {
		o.JournalMode = w.cfg.journal
	}
	db, err := store.Open(o)
	if err != nil {
		return err
	}
	w.db = &simStore{DB: db, turn: make(chan struct{}, 1), exclusive: o.JournalMode != "WAL"}
	opts := broker.DefaultOptions()
	opts.Bind, opts.WSBind, opts.KeepAliveSeconds, opts.Metrics = "", "", 0, metrics.NewBroker()
	opts.QueuePolicy = string(session.Reject) // nothing acknowledged is dropped
	if w.cfg.room > 0 {
		opts.QueuePolicy, opts.MaxQueuedMessages = string(session.DropOldest), w.cfg.room
	}
	opts.CleanupInterval, opts.CleanupBatch = 100*time.Millisecond, 20 // messages expire in seconds
	if w.cfg.wills {
		opts.WillGrace = 0 // nobody comes back before
	}
	if w.system != nil {
		opts.SystemClock = w.system
		opts.CleanupInterval = 20 * time.Minute // hours are simulated
	}
	b, err := broker.New(opts, w.db)
	if err != nil {
		return err
	}
	b.SetPacketIDs(w.packetIDs)
	if err := b.Start(); err != nil {
		return err
	}
	w.mu.Lock()
	w.b, w.m = b, opts.Metrics
	w.mu.Unlock()
	return nil
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
