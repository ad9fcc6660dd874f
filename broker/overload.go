package broker

import (
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/x0a1b/promptmq/broker/lock"
	"github.com/x0a1b/promptmq/broker/memory"
	"github.com/x0a1b/promptmq/broker/trouble"
)

// An overload is how short of memory the process is, beside Limits.Memory, and who waits for
// that to pass. What it means:
//
//   - from half of the limit on, what is queued for Sessions is kept on disk only, but for
//     the next few messages of each;
//   - no kind of what the network can pile up for good may grow beyond a share of it: see
//     hoard.go;
//   - memory.Refusing: CONNECT is refused, and Clients that take nothing of what waits for
//     them, or do not send the rest of what they began, are closed sooner: see closeStuck
//     and closePartials;
//   - memory.Pausing: who publishes is not read, and nobody gets new subscriptions. Who only
//     subscribes is read, so that queues drain;
//   - memory.Closing: the connections for which most waits are closed, and their Sessions kept.
type overload struct {
	level  atomic.Uint32 // a memory.Level
	scarce atomic.Bool   // half of the limit is used

	// Owned by watchMemory.
	meter       memory.Meter
	collectedAt time.Time // the end of the last garbage collection that it made
	collectTook time.Duration
	stuck       stuck

	mu     lock.Mutex[lock.Leaf] // guards the following
	usage  memory.Usage          // as of last
	relief chan struct{}         // closed when publishers are read again; nil: nobody waits
}

const (
	// memoryEvery is how often the memory is looked at.
	memoryEvery = 100 * time.Millisecond
	// collectEvery is how often a garbage collection is made at most to see what is needed,
	// and collectShare which part of the time it may take.
	collectEvery, collectShare = time.Second, 10
)

func (o *overload) is(l memory.Level) bool { return memory.Level(o.level.Load()) >= l }

// calm returns what is closed when publishers may be read again; nil: they may.
func (o *overload) calm() <-chan struct{} {
	if !o.is(memory.Pausing) {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.is(memory.Pausing) {
		return nil
	}
	if o.relief == nil {
		o.relief = make(chan struct{})
	}
	return o.relief
}

// current returns the usage as of the last look at it, or as it is if nobody looks.
func (o *overload) current() memory.Usage {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.usage == (memory.Usage{}) {
		var m memory.Meter
		return m.Read(time.Now())
	}
	return o.usage
}

// set changes the level and lets go on who waited for it.
func (o *overload) set(l memory.Level) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.level.Store(uint32(l))
	if o.relief != nil && l < memory.Pausing {
		close(o.relief)
		o.relief = nil
	}
}

// watchMemory looks at the memory until the broker stops.
func (b *Broker) watchMemory() {
	defer b.background.Done()
	defer b.overload.set(memory.Normal)
	ticks := time.NewTicker(memoryEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
			b.checkMemory()
		case <-b.cleanupStop:
			return
		}
	}
}

// checkMemory looks at the memory once, and does what follows from it.
func (b *Broker) checkMemory() {
	defer b.recoverPanic("watching the memory")
	o, limit := &b.overload, b.o.Limits.Memory
	was := memory.Level(o.level.Load())
	usage := o.read()
	if was > memory.Normal || was.Next(usage.InUse, limit) > was.Next(usage.Needed, limit) {
		usage = o.collect(usage)
	}
	o.scarce.Store(usage.Needed >= limit/2)
	level := was.Next(usage.Needed, limit)
	if level != was {
		o.set(level)
		b.noteOverload(level, was, usage)
	}
	switch level {
	case memory.Normal:
		o.stuck = stuck{}
		return
	case memory.Closing:
		b.closeDebtors(usage.Needed - memory.From(memory.Pausing, limit))
	default:
		b.closeStuck(time.Now())
	}
	b.closePartials(limit / hoardShare)
}

// read looks at the memory.
func (o *overload) read() memory.Usage {
	u := o.meter.Read(time.Now())
	o.mu.Lock()
	o.usage = u
	o.mu.Unlock()
	return u
}

// collect makes a garbage collection, if the last was long enough ago, and returns the usage
// after it.
func (o *overload) collect(u memory.Usage) memory.Usage {
	began := time.Now()
	if began.Sub(o.collectedAt) < max(collectEvery, collectShare*o.collectTook) {
		return u
	}
	runtime.GC()
	o.collectedAt = time.Now()
	o.collectTook = o.collectedAt.Sub(began)
	return o.read()
}

func (b *Broker) noteOverload(now, was memory.Level, u memory.Usage) {
	level, msg := slog.LevelWarn, "memory is short"
	if now < was {
		msg = "memory is less short"
	}
	if now == memory.Normal {
		level, msg = slog.LevelInfo, "memory is no longer short"
	}
	b.notices.Line(level, "memory "+now.String(), "", msg, trouble.MemoryShort, "state", now.String(), "before", was.String(), "needed", u.Needed, "in_use", u.InUse, "total", u.Total,
		"limit", b.o.Limits.Memory, "key", "limits.memory").Write()
}
