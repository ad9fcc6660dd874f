package login

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/metrics"
)

// errBusy says that too many logins wait already.
var errBusy = errors.New("too many logins wait")

// A check is a password that is to be compared with a hash, for all connections that show the
// same one.
type check struct {
	hash     *access.Hash
	password []byte // its own
	from     netip.Prefix
	digest   access.Digest
	waiting  int // connections; 0: nobody wants to know any more
	done     chan struct{}
	matches  bool // valid when done is closed
}

// hashing compares passwords, a few at a time: each takes tens of milliseconds of a
// processor. Its goroutines end when nothing waits.
//
// Those that logged in before from the same address are served first and have waiting places
// of their own, so that a flood of invented names does not keep out who belongs here. Of the
// other places one address has a quarter at most.
type hashing struct {
	compare func(*access.Hash, []byte) bool
	m       *metrics.Broker

	mu      sync.Mutex // guards the following
	workers int        // at most
	places  int        // for either
	running int
	proven  []*check
	others  []*check
	open    map[access.Digest]*check
	from    map[netip.Prefix]int // of others
}

func newHashing(m *metrics.Broker) *hashing {
	return &hashing{
		compare: (*access.Hash).Matches, m: m,
		open: make(map[access.Digest]*check), from: make(map[netip.Prefix]int),
	}
}

// setLimits says how many comparisons may go on at once, and how many may wait.
func (h *hashing) setLimits(workers, places int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.workers, h.places = workers, places
}

// matches compares a password with a hash when it is its turn. digest stands for both. Its
// error is errBusy or that of ctx.
func (h *hashing) matches(ctx context.Context, hash *access.Hash, password []byte, digest access.Digest, from netip.Prefix, proven bool) (bool, error) {
	c, err := h.join(hash, password, digest, from, proven)
	if err != nil {
		return false, err
	}
	select {
	case <-c.done:
		return c.matches, nil
	case <-ctx.Done():
		h.leave(c)
		return false, context.Cause(ctx)
	}
}

// join waits for a comparison that is open already, or opens one.
func (h *hashing) join(hash *access.Hash, password []byte, digest access.Digest, from netip.Prefix, proven bool) (*check, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.open[digest]; c != nil {
		c.waiting++
		return c, nil
	}
	c := &check{hash: hash, from: from, digest: digest, waiting: 1, done: make(chan struct{})}
	switch {
	case proven && len(h.proven) < h.places:
		h.proven = append(h.proven, c)
	case len(h.others) < h.places && h.from[from] < max(1, h.places/4):
		h.others = append(h.others, c)
		h.from[from]++
	default:
		return nil, errBusy
	}
	c.password = slices.Clone(password) // the caller may leave before the comparison is over
	h.open[digest] = c
	if h.running < h.workers {
		h.running++
		go h.work()
	}
	return c, nil
}

// leave counts a connection out that no longer waits. A comparison that nobody waits for is
// not made.
func (h *hashing) leave(c *check) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.waiting--; c.waiting > 0 {
		return
	}
	if i := slices.Index(h.proven, c); i >= 0 {
		h.proven = slices.Delete(h.proven, i, i+1)
		delete(h.open, c.digest)
	} else if i := slices.Index(h.others, c); i >= 0 {
		h.others = slices.Delete(h.others, i, i+1)
		h.left(c)
		delete(h.open, c.digest)
	}
}

// left gives back the place of one of others.
func (h *hashing) left(c *check) {
	if h.from[c.from]--; h.from[c.from] == 0 {
		delete(h.from, c.from)
	}
}

// work makes comparisons until none waits.
func (h *hashing) work() {
	for c := h.next(); c != nil; c = h.next() {
		began := time.Now()
		c.matches = h.compare(c.hash, c.password)
		h.finish(c)
		h.m.LoginHashSeconds.Update(time.Since(began).Seconds())
		runtime.Gosched()
	}
}

// next takes the comparison whose turn it is; nil: none waits, or there are more workers than
// there may be, and this one ends.
func (h *hashing) next() *check {
	h.mu.Lock()
	defer h.mu.Unlock()
	var c *check
	switch {
	case h.running > h.workers:
	case len(h.proven) > 0:
		c = pop(&h.proven)
	case len(h.others) > 0:
		c = pop(&h.others)
		h.left(c)
	}
	if c == nil {
		h.running--
	}
	return c
}

// pop takes the first.
func pop(checks *[]*check) *check {
	first := (*checks)[0]
	*checks = slices.Delete(*checks, 0, 1)
	return first
}

func (h *hashing) finish(c *check) {
	clear(c.password)
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.open, c.digest)
	close(c.done)
}

// waiting returns how many comparisons wait for their turn.
func (h *hashing) waiting() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.proven) + len(h.others)
}
