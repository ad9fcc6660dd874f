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
	proven   bool // the user logged in from there before
	waiting  int  // connections; 0: nobody wants to know any more
	done     chan struct{}
	matches  bool // valid when done is closed
}

// hashing compares passwords, a few at a time: each takes tens of milliseconds of a
// processor. Its goroutines end when nothing waits.
//
// Those that logged in before from the same address are served first and have waiting places
// of their own, so that a flood of invented names does not keep out who belongs here. Of the
// other places one address has a quarter at most, and addresses take turns. Where many wait, the
// address rests after a wrong password: a storm of guesses has a part of the workers' time, even
// from where nobody is banned, and leaves the others to messages.
type hashing struct {
	compare func(*access.Hash, []byte) bool
	m       *metrics.Broker

	mu      sync.Mutex // guards the following
	workers int        // at most
	places  int        // for either
	running int
	proven  []*check
	others  int // that wait in lines
	lines   []*line
	from    map[netip.Prefix]*line
	open    map[access.Digest]*check
}

// A line are the others that wait at one address. It is there while one does, or it rests.
type line struct {
	from   netip.Prefix
	checks []*check
	rests  time.Time // until when none of them is compared
	wrong  bool      // so was the last that was compared
}

const (
	// restFrom is how many have to wait at an address for it to rest, restShare how many times
	// as long as the comparison took, and restMax the longest rest.
	restFrom  = 8
	restShare = 3
	restMax   = 500 * time.Millisecond
)

func newHashing(m *metrics.Broker) *hashing {
	return &hashing{
		compare: (*access.Hash).Matches, m: m,
		open: make(map[access.Digest]*check), from: make(map[netip.Prefix]*line),
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
	proven = proven && len(h.proven) < h.places
	if l := h.from[from]; !proven && (h.others >= h.places || l != nil && len(l.checks) >= h.longest(l)) {
		return nil, errBusy
	}
	c := &check{hash: hash, from: from, digest: digest, proven: proven, waiting: 1, done: make(chan struct{})}
	c.password = slices.Clone(password) // the caller may leave before the comparison is over
	if proven {
		h.proven = append(h.proven, c)
	} else {
		l := h.line(from)
		l.checks = append(l.checks, c)
		h.others++
	}
	h.open[digest] = c
	h.begin()
	return c, nil
}

// longest is how many may wait in a line: fewer where the last was wrong, since that may rest, and
// who waits is to have an answer in time.
func (h *hashing) longest(l *line) int {
	if l.wrong {
		return min(max(1, h.places/4), max(restFrom, h.places/16))
	}
	return max(1, h.places/4)
}

// line returns that of an address.
func (h *hashing) line(from netip.Prefix) *line {
	l := h.from[from]
	if l == nil {
		l = &line{from: from}
		h.from[from] = l
		h.lines = append(h.lines, l)
	}
	return l
}

// begin has one more worker look for something to compare, if there may be one.
func (h *hashing) begin() {
	if h.running < h.workers {
		h.running++
		go h.work()
	}
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
	} else if l := h.from[c.from]; l != nil {
		if i := slices.Index(l.checks, c); i >= 0 {
			l.checks = slices.Delete(l.checks, i, i+1)
			h.others--
			delete(h.open, c.digest)
			h.forget(l)
		}
	}
}

// forget forgets a line in which none waits and that does not rest.
func (h *hashing) forget(l *line) {
	if len(l.checks) == 0 && l.rests.IsZero() {
		delete(h.from, l.from)
		h.lines = slices.DeleteFunc(h.lines, func(o *line) bool { return o == l })
	}
}

// work makes comparisons until none waits.
func (h *hashing) work() {
	for c := h.next(); c != nil; c = h.next() {
		began := time.Now()
		c.matches = h.compare(c.hash, c.password)
		took := time.Since(began)
		h.finish(c, took)
		h.m.LoginHashSeconds.Update(took.Seconds())
		runtime.Gosched()
	}
}

// next takes the comparison whose turn it is; nil: all rest, or none waits, or there are more
// workers than there may be, and this one ends.
func (h *hashing) next() *check {
	h.mu.Lock()
	defer h.mu.Unlock()
	var c *check
	switch {
	case h.running > h.workers:
	case len(h.proven) > 0:
		c = pop(&h.proven)
	case h.others > 0:
		c = h.nextOther()
	}
	if c == nil {
		h.running--
	}
	return c
}

// nextOther takes the first that waits at the next address that does not rest.
func (h *hashing) nextOther() *check {
	i := slices.IndexFunc(h.lines, func(l *line) bool { return len(l.checks) > 0 && l.rests.IsZero() })
	if i < 0 {
		return nil
	}
	l := h.lines[i]
	h.lines = append(slices.Delete(h.lines, i, i+1), l)
	h.others--
	c := pop(&l.checks)
	h.forget(l)
	return c
}

// pop takes the first.
func pop(checks *[]*check) *check {
	first := (*checks)[0]
	*checks = slices.Delete(*checks, 0, 1)
	return first
}

func (h *hashing) finish(c *check, took time.Duration) {
	clear(c.password)
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.open, c.digest)
	close(c.done)
	l := h.from[c.from]
	if l == nil || c.proven {
		return
	}
	l.wrong = !c.matches
	if n := len(l.checks); l.wrong && n >= restFrom && n <= h.longest(l) {
		h.rest(l, min(restShare*took, restMax))
	}
}

// rest has those in a line wait for so long, or for as long as they have to already.
func (h *hashing) rest(l *line, d time.Duration) {
	until := time.Now().Add(d)
	if !until.After(l.rests) {
		return
	}
	l.rests = until
	time.AfterFunc(d, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if l.rests.Equal(until) {
			l.rests = time.Time{}
			h.forget(l)
			h.begin()
		}
	})
}

// waiting returns how many comparisons wait for their turn.
func (h *hashing) waiting() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.proven) + h.others
}
