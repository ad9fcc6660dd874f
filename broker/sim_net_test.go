package broker_test

import (
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"
)

// A simConn is one end of an in-memory Network Connection: buffered, with
// latency and deadlines, in virtual time.
type simConn struct {
	in, out *simPipe
}

// newSimConn returns both ends. Each write takes up to latency to arrive; seed
// decides how long.
func newSimConn(seed uint64, latency time.Duration) (client, server *simConn) {
	up := &simPipe{r: rand.New(rand.NewPCG(seed, 1)), latency: latency, changed: make(chan struct{})}
	down := &simPipe{r: rand.New(rand.NewPCG(seed, 2)), latency: latency, changed: make(chan struct{})}
	return &simConn{in: down, out: up}, &simConn{in: up, out: down}
}

// A simPipe is one direction. What is written arrives later, in order.
type simPipe struct {
	latency time.Duration

	mu       sync.Mutex // guards the following
	r        *rand.Rand
	chunks   []simChunk
	ended    bool // the writer closed: EOF after what is on its way
	gone     bool // the reader closed, or the network broke
	deadline time.Time
	changed  chan struct{} // closed, and replaced, at each change that a reader waits for
}

type simChunk struct {
	at time.Time
	b  []byte
}

func (p *simPipe) changeLocked() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *simPipe) write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || p.gone {
		return 0, io.ErrClosedPipe
	}
	at := time.Now().Add(time.Duration(p.r.Int64N(int64(p.latency))))
	if n := len(p.chunks); n > 0 && at.Before(p.chunks[n-1].at) {
		at = p.chunks[n-1].at
	}
	p.chunks = append(p.chunks, simChunk{at: at, b: append([]byte(nil), b...)})
	p.changeLocked()
	return len(b), nil
}

func (p *simPipe) read(b []byte) (int, error) {
	for {
		p.mu.Lock()
		n, wake, err := p.takeLocked(b, time.Now())
		changed := p.changed
		p.mu.Unlock()
		if n > 0 || err != nil {
			return n, err
		}
		var timer <-chan time.Time
		if !wake.IsZero() {
			timer = time.After(time.Until(wake))
		}
		select {
		case <-changed:
		case <-timer:
		}
	}
}

// takeLocked returns what has arrived, or when to look again.
func (p *simPipe) takeLocked(b []byte, now time.Time) (n int, wake time.Time, err error) {
	switch {
	case p.gone:
		return 0, wake, net.ErrClosed
	case len(p.chunks) > 0 && !p.chunks[0].at.After(now):
		c := &p.chunks[0]
		n = copy(b, c.b)
		if c.b = c.b[n:]; len(c.b) == 0 {
			p.chunks = p.chunks[1:]
		}
		return n, wake, nil
	case len(p.chunks) == 0 && p.ended:
		return 0, wake, io.EOF
	case !p.deadline.IsZero() && !p.deadline.After(now):
		return 0, wake, os.ErrDeadlineExceeded
	}
	wake = p.deadline
	if len(p.chunks) > 0 && (wake.IsZero() || p.chunks[0].at.Before(wake)) {
		wake = p.chunks[0].at
	}
	return 0, wake, nil
}

func (p *simPipe) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.changeLocked()
}

// cut breaks the pipe; what is on its way still arrives if arrives is set.
func (p *simPipe) cut(arrives bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if !arrives {
		for len(p.chunks) > 0 && p.chunks[len(p.chunks)-1].at.After(time.Now()) {
			p.chunks = p.chunks[:len(p.chunks)-1]
		}
	}
	p.changeLocked()
}

func (p *simPipe) abandon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
	p.changeLocked()
}

func (c *simConn) Read(b []byte) (int, error)  { return c.in.read(b) }
func (c *simConn) Write(b []byte) (int, error) { return c.out.write(b) }

func (c *simConn) Close() error {
	c.out.end()
	c.in.abandon()
	return nil
}

// powerCut takes the far end away from a client: what it has written may or may
// not still arrive here, and nothing written here arrives there.
func (c *simConn) powerCut(arrives bool) {
	c.in.cut(arrives)
	c.out.abandon()
}

func (c *simConn) SetReadDeadline(t time.Time) error {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.in.deadline = t
	c.in.changeLocked()
	return nil
}

// SetWriteDeadline does nothing: a write never blocks.
func (c *simConn) SetWriteDeadline(time.Time) error { return nil }
func (c *simConn) SetDeadline(t time.Time) error    { return c.SetReadDeadline(t) }
func (c *simConn) LocalAddr() net.Addr              { return simAddr{} }
func (c *simConn) RemoteAddr() net.Addr             { return simAddr{} }

type simAddr struct{}

func (simAddr) Network() string { return "pipe" }
func (simAddr) String() string  { return "pipe" }
