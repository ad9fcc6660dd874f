package access

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

var backoffOptions = BackoffOptions{WaitMax: time.Minute, BanAfter: 30, BanWindow: 10 * time.Minute, BanTime: 10 * time.Minute}

// digest returns the n-th Digest.
func digest(n int) (d Digest) {
	binary.BigEndian.PutUint64(d[:], uint64(n))
	return d
}

// A guesser tries passwords in a time of its own.
type guesser struct {
	*Backoff
	now   time.Time
	guess int
}

func newGuesser(o BackoffOptions) *guesser {
	return &guesser{Backoff: NewBackoff(o), now: time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)}
}

var here = netip.MustParseAddr("192.0.2.1")

// try tries a new password, which is wrong or right.
func (g *guesser) try(from netip.Addr, user int, outcome Outcome) (Verdict, time.Duration) {
	g.guess++
	v, until, _ := g.Admit(from, digest(user), digest(g.guess), g.now)
	if v == Admitted {
		g.Done(from, digest(user), digest(g.guess), outcome, g.now)
		return v, 0
	}
	return v, until.Sub(g.now)
}

func TestBackoffGrows(t *testing.T) {
	t.Parallel()
	g := newGuesser(backoffOptions)
	for range freeFailures {
		if v, _ := g.try(here, 1, Failed); v != Admitted {
			t.Fatalf("verdict %v within the first failures", v)
		}
	}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		want *= time.Second
		if v, wait := g.try(here, 1, Succeeded); v != Wait || wait != want {
			t.Fatalf("verdict %v, %v, want a wait of %v", v, wait, want)
		}
		g.now = g.now.Add(want)
		if v, _ := g.try(here, 1, Failed); v != Admitted {
			t.Fatalf("verdict %v after the wait", v)
		}
	}
	if v, _ := g.try(here, 2, Failed); v != Admitted {
		t.Error("another user has to wait")
	}
	if v, _ := g.try(here.Next(), 1, Succeeded); v != Admitted {
		t.Error("the user has to wait elsewhere")
	}
	g.now = g.now.Add(time.Minute)
	if v, _ := g.try(here, 1, Succeeded); v != Admitted {
		t.Fatal("not admitted after the wait")
	}
	for range freeFailures {
		if v, _ := g.try(here, 1, Failed); v != Admitted {
			t.Error("a login did not forget the failures")
		}
	}
	g.now = g.now.Add(forgottenAfter + time.Second)
	for range freeFailures {
		if v, _ := g.try(here, 1, Failed); v != Admitted {
			t.Error("time did not forget the failures")
		}
	}
}

// Guesses at the same time are not more than one after the other.
func TestBackoffAtOnce(t *testing.T) {
	t.Parallel()
	g := newGuesser(backoffOptions)
	admitted := 0
	for n := range 100 {
		if v, _, _ := g.Admit(here, digest(1), digest(100+n), g.now); v == Admitted {
			admitted++
		}
	}
	if admitted != freeFailures {
		t.Errorf("%d guesses at once", admitted)
	}
	for range 100 { // a fleet with one password
		if v, _, _ := g.Admit(here, digest(2), digest(7), g.now); v != Admitted {
			t.Fatalf("verdict %v", v)
		}
	}
	for range 100 {
		g.Done(here, digest(2), digest(7), Failed, g.now)
	}
	if v, _ := g.try(here, 2, Failed); v != Admitted {
		t.Error("one wrong password of many connections counted more than once")
	}
}

// A device with an old password is told that it is wrong, and costs its address nothing.
func TestBackoffSamePassword(t *testing.T) {
	t.Parallel()
	g := newGuesser(backoffOptions)
	for range 1000 {
		switch v, _, _ := g.Admit(here, digest(1), digest(7), g.now); v {
		case Admitted:
			if g.Done(here, digest(1), digest(7), Failed, g.now) {
				t.Fatal("banned")
			}
		case Known:
		default:
			t.Fatalf("verdict %v", v)
		}
		g.now = g.now.Add(time.Second)
	}
	if v, _ := g.try(here, 1, Succeeded); v != Admitted {
		t.Errorf("verdict %v for the right password", v)
	}
}

// Whoever guesses at a user from many addresses gets one guess a minute of each, and does
// not keep the user out.
func TestBackoffBesieged(t *testing.T) {
	t.Parallel()
	g := newGuesser(backoffOptions)
	from := netip.MustParseAddr("198.51.100.0")
	for range besiegedAfter {
		from = from.Next()
		g.try(from, 1, Failed)
	}
	for range 100 {
		from = from.Next()
		if v, _ := g.try(from, 1, Failed); v != Admitted {
			t.Fatalf("verdict %v for the first guess of an address", v)
		}
		if v, wait := g.try(from, 1, Failed); v != Wait || wait != time.Minute {
			t.Fatalf("verdict %v, %v for the second", v, wait)
		}
	}
	if v, _ := g.try(here, 1, Failed); v != Admitted {
		t.Fatalf("verdict %v for the user", v)
	}
	g.now = g.now.Add(time.Minute)
	for range 100 {
		from = from.Next()
		g.try(from, 1, Failed)
	}
	if v, _ := g.try(here, 1, Succeeded); v != Admitted {
		t.Error("others keep a user out who mistyped once")
	}
	if _, _, proven := g.Admit(here, digest(1), digest(-1), g.now); !proven {
		t.Error("it is not remembered that the user logged in from there")
	}
}

func TestBackoffBan(t *testing.T) {
	t.Parallel()
	g := newGuesser(backoffOptions)
	ban := func(from netip.Addr) bool {
		for n := range backoffOptions.BanAfter {
			if v, _ := g.try(from, 1000+n, Failed); v != Admitted {
				t.Fatalf("verdict %v for failure %d", v, n)
			}
		}
		v, _ := g.try(from, 1, Succeeded)
		return v == BannedNow
	}
	for _, want := range []time.Duration{10, 20, 40, 80, 160, 320, 640, 1280, 1440, 1440} {
		want *= time.Minute
		if !ban(here) {
			t.Fatal("not banned")
		}
		if bans := g.Bans(g.now); len(bans) != 1 || bans[0].Peer.Addr() != here || bans[0].Until.Sub(g.now) != want {
			t.Fatalf("bans: %v, want one for %v", bans, want)
		}
		if v, _ := g.try(here.Next(), 1, Succeeded); v != Admitted {
			t.Error("another address is banned")
		}
		g.now = g.now.Add(want)
	}
	if bans := g.Bans(g.now); len(bans) != 0 || !g.Banned(here, g.now).IsZero() {
		t.Errorf("bans that have ended: %v", bans)
	}
	if !ban(here) || !g.Lift(here, g.now) || g.Lift(here, g.now) || len(g.Bans(g.now)) > 0 {
		t.Error("the ban cannot be lifted")
	}
	for _, exempt := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1"} {
		if ban(netip.MustParseAddr(exempt)) {
			t.Errorf("%s is banned", exempt)
		}
	}
	if ban(netip.Addr{}) {
		t.Error("what has no address is banned")
	}
	o := backoffOptions
	o.Exempt = []netip.Prefix{netip.MustParsePrefix("172.17.0.0/16")}
	g.SetOptions(o)
	if ban(netip.MustParseAddr("::ffff:172.17.0.1")) {
		t.Error("an exempt address is banned")
	}
	if a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::ffff:2"); !ban(a) || g.Banned(b, g.now).IsZero() {
		t.Error("a site with IPv6 has more than one try")
	}
	if a, b := netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr("fe80::2%eth0"); !ban(a) || !g.Banned(b, g.now).IsZero() {
		t.Error("all of the link are banned for one")
	}
}

// Slow guessing is no ban, and neither is a token that is sent again and again.
func TestBackoffNoBan(t *testing.T) {
	t.Parallel()
	g := newGuesser(backoffOptions)
	for n := range 1000 {
		if v, _ := g.try(here, n, Failed); v != Admitted {
			t.Fatalf("verdict %v after %d", v, n)
		}
		g.now = g.now.Add(25 * time.Second)
	}
	for range 1000 {
		if g.Fail(here, digest(1), g.now) {
			t.Fatal("banned for one token")
		}
	}
	for n := range backoffOptions.BanAfter {
		g.Fail(here, digest(100+n), g.now)
	}
	if g.Banned(here, g.now).IsZero() {
		t.Error("not banned for many tokens")
	}
}

// What is remembered has limits, and an attempt that was not decided leaves nothing.
func TestBackoffBounds(t *testing.T) {
	t.Parallel()
	g := newGuesser(backoffOptions)
	g.try(here, 1, Undecided)
	if len(g.trials.entries) != 0 {
		t.Error("an undecided attempt is remembered")
	}
	from := netip.MustParseAddr("10.0.0.0")
	for n := range trialsMax + 10 {
		from = from.Next()
		g.try(from, n, Failed)
	}
	if len(g.trials.entries) != trialsMax || len(g.users.entries) != usersMax || len(g.peers.entries) != peersMax {
		t.Errorf("%d trials, %d users, %d addresses", len(g.trials.entries), len(g.users.entries), len(g.peers.entries))
	}
	if g.trials.order.Len() != trialsMax {
		t.Errorf("%d in order", g.trials.order.Len())
	}
}

func TestBackoffOff(t *testing.T) {
	t.Parallel()
	g := newGuesser(BackoffOptions{})
	for range 1000 {
		if v, _ := g.try(here, 1, Failed); v != Admitted {
			t.Fatalf("verdict %v", v)
		}
	}
}
