package login

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/metrics"
)

// ErrNotMine is returned by a Source that knows nothing about what a Client shows: the next
// one is asked. A Source that knows the user, and finds the password wrong, refuses instead.
var ErrNotMine = errors.New("not known here")

// A Source knows identities. It may be asked by many goroutines at once.
type Source interface {
	// Authenticate returns who a Client is that shows a user name, a password, or both. Its
	// error is ErrNotMine or a *access.Refusal. It may block until ctx ends.
	Authenticate(ctx context.Context, a *access.Attempt) (*access.Identity, error)
}

// A Method is an Authentication Method of section 4.12: it begins an exchange.
type Method func(a *access.Attempt) access.Exchange

// A Chain says who Clients are. It knows users with passwords itself, from the database and
// from a password file, and asks other sources about everybody else, in order, until one
// knows the Client.
//
// Its methods may be called by any goroutine. What they change goes for the logins that begin
// later.
type Chain struct {
	m       *metrics.Broker
	key     *keyed
	hashing *hashing
	right   remembered
	guard   guard

	directory atomic.Pointer[directory]
	sources   atomic.Pointer[[]Source]
	methods   atomic.Pointer[map[string]Method]

	setting sync.Mutex // guards the following: what directory was made of
	users   []User
	entries []access.PasswordEntry
	hasFile bool
}

// New returns a Chain that knows nobody. It does not read o.PasswordFile. Bans are logged in
// notices.
func New(o Options, notices *notice.Log, m *metrics.Broker) *Chain {
	c := &Chain{m: m, key: newKeyed(), hashing: newHashing(m)}
	c.guard = guard{backoff: access.NewBackoff(o.Backoff), notices: notices, m: m}
	c.SetOptions(o)
	c.SetUsers(nil)
	c.SetSources()
	c.SetMethods(nil)
	return c
}

// SetOptions changes the limits. It does not read o.PasswordFile.
func (c *Chain) SetOptions(o Options) {
	c.hashing.setLimits(o.Workers(), o.HashingPlaces)
	c.right.setTime(o.Remember)
	c.guard.setOptions(o.Backoff)
}

// SetSources replaces the sources, in the order in which they are asked. The Chain owns the
// slice.
func (c *Chain) SetSources(sources ...Source) { c.sources.Store(&sources) }

// SetMethods replaces the Authentication Methods, by name. The Chain owns the map.
func (c *Chain) SetMethods(methods map[string]Method) { c.methods.Store(&methods) }

// HashesWaiting returns how many passwords wait to be compared.
func (c *Chain) HashesWaiting() int { return c.hashing.waiting() }

// Authenticate says who a Client is. Its error is a *access.Refusal.
//
// A user name and a password, or a password alone, are for the users and sources: what they
// say counts, also for a Client with a certificate. Without a password the certificate says
// who it is; a user name beside it must be the same. A Client that shows nothing is nobody,
// where that is allowed. If there are no users and no sources, user names and passwords mean
// nothing.
func (c *Chain) Authenticate(ctx context.Context, a *access.Attempt) (*access.Identity, error) {
	who, err := c.enabled(c.authenticate(ctx, a))
	if r, refused := errors.AsType[*access.Refusal](err); refused {
		c.m.LoginsRefused(r.Cause).Inc()
	} else {
		c.m.LoginsAccepted(string(who.Method)).Inc()
	}
	return who, err
}

func (c *Chain) authenticate(ctx context.Context, a *access.Attempt) (*access.Identity, error) {
	if err := c.guard.banned(a.Address, time.Now()); err != nil {
		return nil, err
	}
	d, sources := c.directory.Load(), *c.sources.Load()
	asked := d.asked || len(sources) > 0
	switch {
	case a.HasPassword && asked:
		return c.byPassword(ctx, a, d, sources)
	case a.CertificateUser != "" && (!a.HasUser || a.User == a.CertificateUser || !asked):
		return byCertificate(a.CertificateUser, d)
	case a.HasUser && (asked || a.CertificateUser != ""):
		return nil, &access.Refusal{Reason: codec.BadUserNameOrPassword, Cause: "no-password", Detail: "a user name without a password"}
	case a.MayBeNobody:
		return &access.Identity{Method: access.ByNobody}, nil
	}
	return nil, &access.Refusal{Reason: codec.NotAuthorized, Cause: "anonymous", Detail: "without credentials only Clients of this machine are admitted that come through no proxy, or none, as auth.allow-anonymous and the listener say"}
}

// byCertificate lets in who a certificate names. Somebody of that name in the database lends
// it groups.
func byCertificate(name string, d *directory) (*access.Identity, error) {
	u := d.users[name]
	if u.Disabled {
		return nil, disabled()
	}
	return &access.Identity{User: name, Groups: u.Groups, Method: access.ByCertificate}, nil
}

// enabled refuses who is let in, by whatever it has shown, and is disabled in the database.
func (c *Chain) enabled(who *access.Identity, err error) (*access.Identity, error) {
	if err == nil && who != nil && c.directory.Load().users[who.User].Disabled {
		return nil, disabled()
	}
	return who, err
}

func disabled() error {
	return &access.Refusal{Reason: codec.NotAuthorized, Cause: "disabled", Detail: "the user is disabled"}
}

// byPassword asks who knows the user. The database and the password file come first: what
// they know nobody else is asked about.
func (c *Chain) byPassword(ctx context.Context, a *access.Attempt, d *directory, sources []Source) (*access.Identity, error) {
	u, found := d.find(a)
	hash := u.Hash
	if hash == nil {
		hash = d.standIn(a.User)
	}
	if found {
		return c.compare(ctx, a, &u, hash)
	}
	for _, s := range sources {
		who, err := s.Authenticate(ctx, a)
		if errors.Is(err, ErrNotMine) {
			continue
		}
		who, err = settled(who, err)
		c.guard.told(err, a.Address, c.key.digest([]byte(a.User), a.Password))
		return who, err
	}
	return c.compare(ctx, a, nil, hash)
}

// settled makes sure that what a Source says is an Identity or a Refusal: anything else is
// no answer, and lets nobody in.
func settled(who *access.Identity, err error) (*access.Identity, error) {
	if err == nil && who != nil {
		return who, nil
	}
	if r, ok := errors.AsType[*access.Refusal](err); ok && r != nil {
		return nil, r
	}
	detail := "it said neither yes nor no"
	if err != nil {
		detail = err.Error()
	}
	return nil, &access.Refusal{Reason: codec.ServerUnavailable, Cause: "source-failed", Detail: detail}
}

// compare decides about a user name and a password. u is nil for a user that is not there,
// which takes as long to find out as that a password is wrong. hash is that of u or a stand-in.
func (c *Chain) compare(ctx context.Context, a *access.Attempt, u *User, hash *access.Hash) (*access.Identity, error) {
	user := c.key.digest([]byte(a.User))
	guess := c.key.digest(textOf(hash), []byte(a.User), a.Password)
	proven, err := c.guard.admit(a, user, guess)
	if err != nil {
		return nil, err
	}
	known := u != nil && u.Hash != nil
	matches, err := known && c.rightLately(guess), error(nil)
	if !matches && hash != nil {
		matches, err = c.hash(ctx, a, hash, guess, proven)
	}
	switch {
	case err != nil:
		c.guard.done(a.Address, user, guess, access.Undecided)
		return nil, err
	case (!matches || !known) && !(known && control.Broken(control.PasswordUnchecked)):
		c.guard.done(a.Address, user, guess, access.Failed)
		cause := "bad-password"
		if u == nil {
			cause = "unknown-user"
		}
		return nil, &access.Refusal{Reason: codec.BadUserNameOrPassword, Cause: cause, Detail: "the user " + notice.Shown(a.User)}
	}
	c.right.add(guess, time.Now())
	if u.Disabled {
		c.guard.done(a.Address, user, guess, access.Undecided)
		return nil, disabled()
	}
	c.guard.done(a.Address, user, guess, access.Succeeded)
	return &access.Identity{User: u.Name, Groups: u.Groups, Method: access.ByPassword}, nil
}

// rightLately reports whether the same password of the same user was right.
func (c *Chain) rightLately(guess access.Digest) bool {
	if !c.right.has(guess, time.Now()) {
		return false
	}
	c.m.LoginsRemembered.Inc()
	return true
}

// hash reports whether the password is that of the hash.
func (c *Chain) hash(ctx context.Context, a *access.Attempt, hash *access.Hash, guess access.Digest, proven bool) (bool, error) {
	matches, err := c.hashing.matches(ctx, hash, a.Password, guess, access.PeerOf(a.Address), proven)
	switch {
	case errors.Is(err, errBusy):
		return false, &access.Refusal{Reason: codec.QuotaExceeded, Cause: "busy", Detail: "too many logins wait for their passwords to be compared"}
	case err != nil:
		return false, &access.Refusal{Reason: codec.ServerUnavailable, Cause: "late", Detail: "the time to connect was over before the password was compared"}
	}
	return matches, nil
}

func textOf(hash *access.Hash) []byte {
	if hash == nil {
		return nil
	}
	return []byte(hash.String())
}
