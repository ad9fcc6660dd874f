package link

import (
	"net"
	"sync"
	"sync/atomic"

	"github.com/x0a1b/promptmq/broker/rate"
)

// rates bound how many sockets a Listener accepts in a second. It has a lock, which is a leaf.
type rates struct {
	mu        sync.Mutex // guards the following
	all       rate.Meter
	addresses rate.Addresses
}

// rateLimits are those of all Listeners.
type rateLimits struct{ listener, address atomic.Int64 }

// SetRates says how many Network Connections each Listener accepts in a second, of all and of
// each address; 0: as many as come.
func (n *Network) SetRates(listener, address rate.Limit) {
	n.rateLimits.listener.Store(int64(listener))
	n.rateLimits.address.Store(int64(address))
}

// withinRates reports whether one more socket from an address is within the rates. If not, it
// is counted and logged. An address that is refused costs the others nothing.
func (l *Listener) withinRates(from net.Addr) bool {
	limits := &l.network.rateLimits
	listener, address := rate.Limit(limits.listener.Load()), rate.Limit(limits.address.Load())
	if listener <= 0 && address <= 0 {
		return true
	}
	now := l.network.c.Now().UnixNano()
	if !l.rates.addresses.Allow(address, addressOf(from), now) {
		l.noteRate("connection rate of an address", HostOf(from), from, address, "limits.connection-rate-per-address")
		return false
	}
	l.rates.mu.Lock()
	allowed := l.rates.all.Allow(listener, now)
	l.rates.mu.Unlock()
	if !allowed {
		l.noteRate("connection rate", l.String(), from, listener, "limits.connection-rate")
	}
	return allowed
}

func (l *Listener) noteRate(cause, of string, from net.Addr, limit rate.Limit, key string) {
	c := &l.network.c
	c.Metrics.Refused(cause).Inc()
	c.Notices.Warn(cause, of, "more connections a second than allowed: one was closed", "listener", l.String(), "remote", from.String(), "limit", int64(limit), "key", key)
}
