package link

import (
	"sync"
	"time"
)

// pingSteps is in how many steps silence is measured: to send a Ping after PingInterval at the
// latest, and after three quarters of it at the earliest.
const pingSteps = 4

// pings send a Ping on each WebSocket of a listener on which nothing was sent for a while, so
// that proxies do not take it for dead. One goroutine does so for all.
type pings struct {
	mu  sync.Mutex // guards the following
	all map[*webSocket]struct{}
}

func (p *pings) add(t *webSocket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil {
		p.all = make(map[*webSocket]struct{})
	}
	p.all[t] = struct{}{}
}

func (p *pings) remove(t *webSocket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.all, t)
}

// run sends pings until stopped is closed.
func (p *pings) run(l *Listener) {
	const look = time.Second // how often it is looked whether the interval has changed
	var now []*webSocket
	var waited time.Duration
	for {
		next, wait := look, l.config.Load().PingInterval/pingSteps
		if wait > 0 {
			next = min(look, max(wait-waited, time.Millisecond))
		}
		timer := time.NewTimer(next)
		select {
		case <-l.network.stopped:
			timer.Stop()
			return
		case <-timer.C:
		}
		if waited += next; wait == 0 || waited < wait {
			continue
		}
		waited = 0
		p.mu.Lock()
		now = now[:0]
		for t := range p.all {
			now = append(now, t)
		}
		p.mu.Unlock()
		for _, t := range now {
			t.step()
		}
		clear(now)
	}
}

// step sends a Ping if nothing was sent in the last steps. It does not block.
func (t *webSocket) step() {
	if !t.writing.TryLock() {
		return
	}
	defer t.writing.Unlock()
	if t.quiet++; t.quiet < pingSteps || t.closed || len(t.rest) > 0 || t.owed > 0 {
		return
	}
	t.quiet = 0
	ping := []byte{opPing, 0}
	if n, err := t.out.TryWrite(ping); err == nil && n < len(ping) {
		t.rest = ping[n:]
	}
}
