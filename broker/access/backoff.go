package access

import (
	"net/netip"
	"slices"
	"time"
)

// BackoffOptions say how long those are kept waiting that fail to log in.
type BackoffOptions struct {
	// WaitMax is the longest time from a failure to the next attempt of the same user from
	// the same address; 0: there is no waiting.
	WaitMax time.Duration
	// BanAfter failures of an address within BanWindow ban it for BanTime, the next time
	// for twice as long, up to a day; 0: none is banned.
	BanAfter           int
	BanWindow, BanTime time.Duration
	// Exempt are addresses that are not banned, as those of proxies, from which everybody
	// seems to come. Those of this machine never are.
	Exempt []netip.Prefix
}

const (
	freeFailures   = 3  // that cost no waiting: people mistype
	besiegedAfter  = 20 // failures of a user, from all addresses, after which one costs the longest wait
	waitFirst      = time.Second
	forgottenAfter = 15 * time.Minute // without a failure
	provenFor      = 24 * time.Hour   // that a user logged in from an address counts
	banMax         = 24 * time.Hour   // and how long a ban is remembered
	wrongGuesses   = 8

	// What is remembered, at most: about 30 MB.
	peersMax  = 1 << 15
	trialsMax = 1 << 16
	usersMax  = 1 << 14
)

// A Digest stands for a user name, or for a user name and a password, in a Backoff: enough to
// see that two are the same.
type Digest [16]byte

// A Backoff counts failed logins and says who has to wait. It has no lock and no clock.
//
// What counts is the user from an address: an attacker holds up nobody elsewhere. The same
// wrong password again is no guess: a device that has an old one is told so each time, and
// costs its address nothing. A user that many addresses guess at does not wait longer
// itself: but whoever fails for it once waits the longest time at once. An address that
// fails for many users is banned.
type Backoff struct {
	o      BackoffOptions
	peers  recent[netip.Prefix, peer]
	trials recent[trialKey, trial]
	users  recent[Digest, failures]
}

// failures are those in a row without a pause of forgottenAfter.
type failures struct {
	n    int
	last time.Time
}

// count returns how many there are that are not forgotten.
func (f *failures) count(now time.Time) int {
	if f == nil || now.Sub(f.last) > forgottenAfter {
		return 0
	}
	return f.n
}

func (f *failures) add(now time.Time) int {
	f.n, f.last = f.count(now)+1, now
	return f.n
}

// A peer is an address; of IPv6 the /64 that one site has.
type peer struct {
	failed int // since since
	since  time.Time
	wrong  [wrongGuesses]Digest // a ring of the last ones that other sources refused
	next   int
	bans   int // one after the other
	until  time.Time
}

type trialKey struct {
	from netip.Prefix
	user Digest
}

// A trial is a user from one address.
type trial struct {
	failures
	until  time.Time // of the wait
	wrong  Digest    // the last guess that failed
	open   []openGuess
	proven time.Time // when it last logged in
}

// An openGuess is being looked at, for n connections at once.
type openGuess struct {
	guess Digest
	n     int
}

// NewBackoff returns a Backoff that knows of no failure.
func NewBackoff(o BackoffOptions) *Backoff {
	return &Backoff{o: o, peers: newRecent[netip.Prefix, peer](peersMax), trials: newRecent[trialKey, trial](trialsMax), users: newRecent[Digest, failures](usersMax)}
}

// SetOptions changes the limits; those that wait already go on.
func (b *Backoff) SetOptions(o BackoffOptions) { b.o = o }

// Options returns what holds.
func (b *Backoff) Options() BackoffOptions { return b.o }

// PeerOf returns what counts as one address.
func PeerOf(address netip.Addr) netip.Prefix {
	address = address.Unmap().WithZone("")
	bits := address.BitLen()
	if address.Is6() && !address.IsLinkLocalUnicast() {
		bits = 64
	}
	p, err := address.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // the zero Addr: there is no address
	}
	return p
}

// A Verdict says whether an attempt goes on.
type Verdict uint8

// The verdicts.
const (
	Admitted Verdict = iota // end it with Done
	Known                   // it is the wrong password of the last failure
	Wait
	BannedNow
)

// Banned returns until when an address is banned; the zero Time: it is not.
func (b *Backoff) Banned(from netip.Addr, now time.Time) time.Time {
	if p := b.peers.get(PeerOf(from)); p != nil && now.Before(p.until) && !b.exempt(from) {
		return p.until
	}
	return time.Time{}
}

// Admit says whether somebody at an address may try to log in, and if not, when it may. proven
// says that this user logged in from there lately.
func (b *Backoff) Admit(from netip.Addr, user, guess Digest, now time.Time) (v Verdict, until time.Time, proven bool) {
	if until := b.Banned(from, now); !until.IsZero() {
		return BannedNow, until, false
	}
	key := trialKey{PeerOf(from), user}
	if t := b.trials.get(key); t != nil {
		proven = !t.proven.IsZero() && now.Sub(t.proven) < provenFor
		if t.count(now) > 0 && t.wrong == guess {
			return Known, time.Time{}, proven
		}
		if i := t.opened(guess); i >= 0 {
			t.open[i].n++
			return Admitted, time.Time{}, proven
		}
		if b.o.WaitMax > 0 && !t.free(now) {
			return Wait, t.until, proven
		}
	}
	t := b.trials.use(key)
	t.open = append(t.open, openGuess{guess, 1})
	return Admitted, time.Time{}, proven
}

// Waits returns until when a user has to wait at an address; the zero Time: it has not to.
func (b *Backoff) Waits(from netip.Addr, user Digest, now time.Time) time.Time {
	if t := b.trials.get(trialKey{PeerOf(from), user}); t != nil && b.o.WaitMax > 0 && now.Before(t.until) {
		return t.until
	}
	return time.Time{}
}

// free reports whether another guess may be opened. Those that are open count as failures.
func (t *trial) free(now time.Time) bool {
	return !now.Before(t.until) && (len(t.open) == 0 || t.count(now)+len(t.open) < freeFailures)
}

func (t *trial) opened(guess Digest) int {
	return slices.IndexFunc(t.open, func(o openGuess) bool { return o.guess == guess })
}

// An Outcome is how an attempt ended.
type Outcome uint8

// The outcomes.
const (
	Undecided Outcome = iota // as if it had not been
	Failed
	Succeeded
)

// Done ends an attempt that Admit admitted. It reports whether the address is banned for it.
func (b *Backoff) Done(from netip.Addr, user, guess Digest, outcome Outcome, now time.Time) (banned bool) {
	key := trialKey{PeerOf(from), user}
	t := b.trials.use(key)
	if i := t.opened(guess); i >= 0 {
		if t.open[i].n--; t.open[i].n == 0 {
			t.open = slices.Delete(t.open, i, i+1)
		}
	}
	switch outcome {
	case Succeeded:
		t.failures, t.until, t.proven = failures{}, time.Time{}, now
	case Failed:
		if t.count(now) > 0 && t.wrong == guess {
			return false // counted for another connection
		}
		t.wrong = guess
		n, all := t.add(now), b.users.use(user).add(now)
		t.until = now.Add(b.wait(n, all))
		return b.failed(from, now)
	case Undecided:
		if t.n == 0 && len(t.open) == 0 && t.proven.IsZero() {
			b.trials.remove(key)
		}
	}
	return false
}

// wait returns how long to wait after n failures, when there were so many for the user from
// all addresses.
func (b *Backoff) wait(n, all int) time.Duration {
	switch {
	case all >= besiegedAfter:
		return b.o.WaitMax
	case n < freeFailures:
		return 0
	}
	return min(waitFirst<<min(n-freeFailures, 30), b.o.WaitMax)
}

// Fail counts a failure that no waiting is for, as a token that is not valid. It reports
// whether the address is banned for it.
func (b *Backoff) Fail(from netip.Addr, guess Digest, now time.Time) (banned bool) {
	p := b.peers.use(PeerOf(from))
	if slices.Contains(p.wrong[:], guess) {
		return false
	}
	p.wrong[p.next], p.next = guess, (p.next+1)%wrongGuesses
	return b.failed(from, now)
}

// failed counts a failure of an address.
func (b *Backoff) failed(from netip.Addr, now time.Time) (banned bool) {
	p := b.peers.use(PeerOf(from))
	if p.failed == 0 || now.Sub(p.since) > b.o.BanWindow {
		p.failed, p.since = 0, now
	}
	p.failed++
	if b.o.BanAfter == 0 || p.failed < b.o.BanAfter || b.exempt(from) {
		return false
	}
	if now.Sub(p.until) > banMax {
		p.bans = 0
	}
	p.until = now.Add(b.banTime(p.bans))
	p.failed, p.bans = 0, p.bans+1
	return true
}

// banTime returns how long a ban is after so many before it.
func (b *Backoff) banTime(before int) time.Duration {
	d := b.o.BanTime
	for ; before > 0 && d < banMax; before-- {
		d = min(2*d, banMax)
	}
	return d
}

func (b *Backoff) exempt(from netip.Addr) bool {
	from = from.Unmap()
	return !from.IsValid() || from.IsLoopback() || slices.ContainsFunc(b.o.Exempt, func(p netip.Prefix) bool { return p.Contains(from) })
}

// A Ban is an address that is not let in.
type Ban struct {
	Peer  netip.Prefix
	Until time.Time
}

// Bans returns all, the one that ends first in front.
func (b *Backoff) Bans(now time.Time) []Ban {
	var bans []Ban
	for key := range b.peers.entries {
		if p := b.peers.get(key); now.Before(p.until) {
			bans = append(bans, Ban{key, p.until})
		}
	}
	slices.SortFunc(bans, func(a, b Ban) int {
		if c := a.Until.Compare(b.Until); c != 0 {
			return c
		}
		return a.Peer.Compare(b.Peer)
	})
	return bans
}

// Lift ends the ban of an address, and forgets that there was one. It reports whether there
// was.
func (b *Backoff) Lift(address netip.Addr, now time.Time) bool {
	p := b.peers.get(PeerOf(address))
	if p == nil || !now.Before(p.until) {
		return false
	}
	b.peers.remove(PeerOf(address))
	return true
}
