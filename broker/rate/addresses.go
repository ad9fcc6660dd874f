package rate

import (
	"net/netip"
	"sync"
)

// addressesMax is how many addresses are told apart at a time. Those beyond share a Meter.
const addressesMax = 1 << 16

// Addresses count against one Limit for each address; for IPv6, where one machine has many,
// for each network of 64 bits. Their zero value is ready. They have a lock, which is a leaf.
type Addresses struct {
	mu     sync.Mutex // guards the following
	meters map[netip.Addr]Meter
	others Meter
	swept  int64 // when idle ones were last removed, in nanoseconds
}

// Allow counts one unit of an address if that is within the limit, and reports whether it is.
func (a *Addresses) Allow(l Limit, of netip.Addr, now int64) bool {
	if l <= 0 || !of.IsValid() {
		return true
	}
	of = machine(of)
	a.mu.Lock()
	defer a.mu.Unlock()
	m, known := a.meters[of]
	if !known && len(a.meters) >= addressesMax {
		a.sweepLocked(now)
		if len(a.meters) >= addressesMax {
			return a.others.Allow(l, now)
		}
	}
	if a.meters == nil {
		a.meters = make(map[netip.Addr]Meter)
	}
	allowed := m.Allow(l, now)
	a.meters[of] = m
	return allowed
}

// sweepLocked removes those that have counted nothing lately, once in a burst at most.
func (a *Addresses) sweepLocked(now int64) {
	if now-a.swept < burst {
		return
	}
	a.swept = now
	for of, m := range a.meters {
		if m.idle(now) {
			delete(a.meters, of)
		}
	}
}

// machine is what of an address is counted together.
func machine(of netip.Addr) netip.Addr {
	of = of.Unmap().WithZone("")
	if of.Is4() {
		return of
	}
	network, _ := of.Prefix(64) // of an IPv6 address: it has as many bits
	return network.Addr()
}
