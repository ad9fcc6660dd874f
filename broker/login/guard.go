package login

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/metrics"
)

// A guard keeps those away that failed too often.
type guard struct {
	notices *notice.Log
	m       *metrics.Broker

	proofs sync.Mutex // held while a proof is checked, which takes microseconds; before mu

	mu      sync.Mutex // guards backoff
	backoff *access.Backoff
}

func (g *guard) setOptions(o access.BackoffOptions) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.backoff.SetOptions(o)
}

// banned refuses addresses that are banned.
func (g *guard) banned(from netip.Addr, now time.Time) error {
	g.mu.Lock()
	until := g.backoff.Banned(from, now)
	g.mu.Unlock()
	if until.IsZero() {
		return nil
	}
	return refuseBanned(until)
}

func refuseBanned(until time.Time) error {
	return &access.Refusal{Reason: codec.ConnectionRateExceeded, Cause: "banned", Detail: "the address is banned until " + until.UTC().Format(time.RFC3339)}
}

// admit refuses an attempt that has to wait, or is known to fail. Else it ends with done.
func (g *guard) admit(a *access.Attempt, user, guess access.Digest) (proven bool, err error) {
	now := time.Now()
	g.mu.Lock()
	verdict, until, proven := g.backoff.Admit(a.Address, user, guess, now)
	g.mu.Unlock()
	if control.Broken(control.GuessesUnlimited) && verdict == access.Wait {
		verdict = access.Admitted
	}
	switch verdict {
	case access.Known:
		return proven, &access.Refusal{Reason: codec.BadUserNameOrPassword, Cause: "same-password", Detail: "the user " + notice.Shown(a.User) + " again, with the same wrong password"}
	case access.Wait:
		return proven, refuseWaiting(a.User, until, now)
	case access.BannedNow:
		return proven, refuseBanned(until)
	}
	return proven, nil
}

// waits refuses a user that has to wait.
func (g *guard) waits(from netip.Addr, name string, user access.Digest) error {
	now := time.Now()
	g.mu.Lock()
	until := g.backoff.Waits(from, user, now)
	g.mu.Unlock()
	if until.IsZero() || control.Broken(control.GuessesUnlimited) {
		return nil
	}
	return refuseWaiting(name, until, now)
}

// refuseWaiting refuses a user until then; if that is over, others that might fail are under way.
func refuseWaiting(name string, until, now time.Time) error {
	detail := fmt.Sprintf("the user %s has as many attempts under way from there as may fail; the next try is when they have ended", notice.Shown(name))
	if until.After(now) {
		detail = fmt.Sprintf("the user %s failed from there; the next try is in %v", notice.Shown(name), until.Sub(now).Round(time.Second/10))
	}
	return &access.Refusal{Reason: codec.ConnectionRateExceeded, Cause: "back-off", Detail: detail}
}

func (g *guard) done(from netip.Addr, user, guess access.Digest, outcome access.Outcome) {
	if g.count(from, user, guess, outcome) {
		g.say(from)
	}
}

// count is done without the log. It reports whether the address is banned for it.
func (g *guard) count(from netip.Addr, user, guess access.Digest, outcome access.Outcome) (banned bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.backoff.Done(from, user, guess, outcome, time.Now())
}

// told counts what another source, or an exchange, says to a guess.
func (g *guard) told(err error, from netip.Addr, guess access.Digest) {
	if !isWrong(err) {
		return
	}
	g.mu.Lock()
	banned := g.backoff.Fail(from, guess, time.Now())
	g.mu.Unlock()
	if banned {
		g.say(from)
	}
}

// say logs a ban, and counts it.
func (g *guard) say(from netip.Addr) {
	g.m.Bans.Inc()
	peer := access.PeerOf(from).String()
	g.mu.Lock()
	until, o := g.backoff.Banned(from, time.Now()), g.backoff.Options()
	g.mu.Unlock()
	g.notices.Warn("banned", peer, "an address is banned for a while: too many logins failed from there", trouble.AddressBanned, "address", peer,
		"until", until.UTC().Format(time.RFC3339), "key", "auth.ban.failures", "limit", o.BanAfter, "within", o.BanWindow)
}

// Banned reports whether an address is banned. Who was connected before is told at its login.
func (c *Chain) Banned(from netip.Addr) bool { return c.guard.banned(from, time.Now()) != nil }

// Bans returns the addresses that are banned.
func (c *Chain) Bans() []access.Ban {
	c.guard.mu.Lock()
	defer c.guard.mu.Unlock()
	return c.guard.backoff.Bans(time.Now())
}

// LiftBan ends the ban of an address, and reports whether there was one.
func (c *Chain) LiftBan(address netip.Addr) bool {
	c.guard.mu.Lock()
	defer c.guard.mu.Unlock()
	return c.guard.backoff.Lift(address, time.Now())
}

// Failed counts a guess at something that others know, such as a token of the API, as a wrong
// password is counted. The same guess again counts once.
func (c *Chain) Failed(from netip.Addr, guess []byte) {
	wrong := &access.Refusal{Reason: codec.BadUserNameOrPassword, Cause: "bad-token"}
	c.m.LoginsRefused(wrong.Cause).Inc()
	c.guard.told(wrong, from, c.key.digest([]byte("token"), guess))
}
