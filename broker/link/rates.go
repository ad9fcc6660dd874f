package link

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/x0a1b/promptmq/broker/rate"
	"github.com/x0a1b/promptmq/broker/trouble"
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

// A turningAway is why a new connection is closed: its address is banned, or it is one more
// than a rate allows.
type turningAway struct {
	cause string // of promptmq_connections_refused_total
	of    string // what it is about, for the log
	limit rate.Limit
	key   string // of the limit; "": there is none
}

// The causes.
const (
	bannedAddress    = "banned address"
	rateOfAddress    = "connection rate of an address"
	rateOfConnection = "connection rate"
)

// byProxy reports whether a socket is of a trusted proxy, which says later where the Client is.
func (c *ListenerConfig) byProxy(from netip.Addr) bool {
	return (c.ProxyProtocol || c.ForwardedFor) && c.trusts(from)
}

// turnsAway decides about a new connection when it is known where its Client is; nil: it goes
// on. ofProxy says that this is only where the proxy is, which counts for no rate of an address.
// An address that is turned away costs the others nothing.
func (l *Listener) turnsAway(from net.Addr, ofProxy bool) *turningAway {
	c, limits := &l.network.c, &l.network.rateLimits
	address := addressOf(from)
	if c.Banned != nil && c.Banned(address) {
		return &turningAway{cause: bannedAddress, of: address.String()}
	}
	listener, each := rate.Limit(limits.listener.Load()), rate.Limit(limits.address.Load())
	if listener <= 0 && each <= 0 {
		return nil
	}
	now := c.Now().UnixNano()
	if !ofProxy && !l.rates.addresses.Allow(each, address, now) {
		return &turningAway{rateOfAddress, address.String(), each, "limits.connection-rate-per-address"}
	}
	l.rates.mu.Lock()
	defer l.rates.mu.Unlock()
	if !l.rates.all.Allow(listener, now) {
		return &turningAway{rateOfConnection, l.String(), listener, "limits.connection-rate"}
	}
	return nil
}

// admits is turnsAway, which it counts and logs, and reports whether the connection goes on.
func (l *Listener) admits(from net.Addr, ofProxy bool) bool {
	why := l.turnsAway(from, ofProxy)
	if why == nil {
		return true
	}
	c := &l.network.c
	c.Metrics.Refused(why.cause).Inc()
	what, code := "more connections a second than allowed: one was closed", trouble.ConnectionRate
	if why.cause == bannedAddress {
		code = trouble.AddressBanned
		what = "connection closed: its address is banned, because too many logins failed from there"
	}
	c.Notices.Warn(why.cause, why.of, what, why.attrs(code, "listener", l.String(), "remote", from.String())...)
	return false
}

// attrs appends what the log says of it.
func (w *turningAway) attrs(to ...any) []any {
	if w.key == "" {
		return to
	}
	return append(to, "limit", int64(w.limit), "key", w.key)
}
