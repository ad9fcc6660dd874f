package rate

import (
	"net/netip"
	"testing"
	"time"
)

const second = int64(time.Second)

func TestMeter(t *testing.T) {
	var m Meter
	now := 1000 * second
	for i := range 10 { // a second's worth at once
		if !m.Allow(10, now) {
			t.Fatalf("the %d. of 10 is refused", i+1)
		}
	}
	if m.Allow(10, now) {
		t.Error("the eleventh is allowed")
	}
	if m.Allow(10, now+second/10-1) || !m.Allow(10, now+second/10) {
		t.Error("the next is not allowed after a tenth of a second")
	}
	var one Meter
	if !one.Allow(1, now) || one.Allow(1, now+second-1) || !one.Allow(1, now+second) {
		t.Error("one a second is not one a second")
	}
}

func TestCount(t *testing.T) {
	var m Meter
	now := 1000 * second
	if wait := m.Count(100, 100, now); wait != 0 {
		t.Errorf("a burst waits for %v", wait)
	}
	if wait := m.Count(100, 50, now); wait != time.Second/2 {
		t.Errorf("50 more wait for %v", wait)
	}
	if wait := m.Count(100, 0, now+second/2); wait != 0 {
		t.Errorf("after half a second it waits for %v", wait)
	}
	if wait := m.Count(0, 1<<40, now); wait != 0 {
		t.Errorf("without a limit it waits for %v", wait)
	}
	var large Meter
	if wait := large.Count(1<<30, 1<<40, now); wait < 1000*time.Second || wait > 1030*time.Second {
		t.Errorf("1 TiB at 1 GiB/s takes %v", wait)
	}
	// Over a long time as many are allowed as the limit says, and one burst.
	var steady Meter
	allowed := 0
	for at := now; at < now+100*second; at += second / 50 {
		if steady.Allow(20, at) {
			allowed++
		}
	}
	if allowed < 2000 || allowed > 2021 {
		t.Errorf("%d in 100 s at 20 a second", allowed)
	}
}

func TestAddresses(t *testing.T) {
	var a Addresses
	now := 1000 * second
	one, two := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	if !a.Allow(1, one, now) || a.Allow(1, one, now) || !a.Allow(1, two, now) {
		t.Error("addresses are not counted each by itself")
	}
	if a.Allow(1, netip.MustParseAddr("::ffff:192.0.2.1"), now) {
		t.Error("an IPv4 address within IPv6 is another")
	}
	if !a.Allow(1, netip.MustParseAddr("2001:db8::1"), now) || a.Allow(1, netip.MustParseAddr("2001:db8::2"), now) {
		t.Error("a network of IPv6 is not counted as one")
	}
	for range 2 {
		if !a.Allow(1, netip.Addr{}, now) {
			t.Error("who has no address is counted")
		}
	}
}

func TestAddressesAreBounded(t *testing.T) {
	var a Addresses
	now := 1000 * second
	b := [4]byte{10}
	allowed := 0
	for i := range 3 * addressesMax {
		b[1], b[2], b[3] = byte(i>>16), byte(i>>8), byte(i)
		if a.Allow(1, netip.AddrFrom4(b), now) {
			allowed++
		}
	}
	if len(a.meters) > addressesMax || allowed > addressesMax+1 {
		t.Errorf("%d addresses are kept, %d were allowed", len(a.meters), allowed)
	}
	if !a.Allow(1, netip.MustParseAddr("192.0.2.1"), now+2*second) || len(a.meters) != 1 {
		t.Errorf("%d addresses are kept after they are idle", len(a.meters))
	}
}
