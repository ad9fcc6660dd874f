package login

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/codec"
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

// A Chain asks its sources in order until one knows the Client. Its methods may be called by
// any goroutine; what they change goes for the logins that begin later.
type Chain struct {
	sources atomic.Pointer[[]Source]
	methods atomic.Pointer[map[string]Method]
}

// New returns a Chain without sources.
func New() *Chain {
	c := new(Chain)
	c.SetSources()
	c.SetMethods(nil)
	return c
}

// SetSources replaces the sources, in the order in which they are asked. The Chain owns the
// slice.
func (c *Chain) SetSources(sources ...Source) { c.sources.Store(&sources) }

// SetMethods replaces the Authentication Methods, by name. The Chain owns the map.
func (c *Chain) SetMethods(methods map[string]Method) { c.methods.Store(&methods) }

// Exchange begins enhanced authentication; nil: there is no such method.
func (c *Chain) Exchange(method string, a *access.Attempt) access.Exchange {
	begin := (*c.methods.Load())[method]
	if begin == nil {
		return nil
	}
	return begin(a)
}

// Authenticate says who a Client is. Its error is a *access.Refusal.
//
// A user name and a password, or a password alone, are for the sources: what they say counts,
// also for a Client with a certificate. Without a password the certificate says who it is; a
// user name beside it must be the same. A Client that shows nothing is nobody, where that is
// allowed. If there is no source at all, user names and passwords mean nothing.
func (c *Chain) Authenticate(ctx context.Context, a *access.Attempt) (*access.Identity, error) {
	sources := *c.sources.Load()
	switch {
	case a.HasPassword && len(sources) > 0:
		return ask(ctx, sources, a)
	case a.CertificateUser != "" && (!a.HasUser || a.User == a.CertificateUser || len(sources) == 0):
		return &access.Identity{User: a.CertificateUser, Method: access.ByCertificate}, nil
	case a.HasUser && (len(sources) > 0 || a.CertificateUser != ""):
		return nil, &access.Refusal{Reason: codec.BadUserNameOrPassword, Cause: "no-password", Detail: "a user name without a password"}
	case a.MayBeNobody:
		return &access.Identity{Method: access.ByNobody}, nil
	}
	return nil, &access.Refusal{Reason: codec.NotAuthorized, Cause: "anonymous", Detail: "Clients without credentials are not admitted here"}
}

// ask asks the sources in order.
func ask(ctx context.Context, sources []Source, a *access.Attempt) (*access.Identity, error) {
	for _, s := range sources {
		who, err := s.Authenticate(ctx, a)
		if !errors.Is(err, ErrNotMine) {
			return settled(who, err)
		}
	}
	return nil, &access.Refusal{Reason: codec.BadUserNameOrPassword, Cause: "unknown-user", Detail: "no source of identities knows the user"}
}

// settled makes sure that what a Source says is an Identity or a Refusal: anything else is
// no answer, and lets nobody in.
func settled(who *access.Identity, err error) (*access.Identity, error) {
	if err == nil && who != nil {
		return who, nil
	}
	if r, ok := errors.AsType[*access.Refusal](err); ok {
		return nil, r
	}
	detail := "it said neither yes nor no"
	if err != nil {
		detail = err.Error()
	}
	return nil, &access.Refusal{Reason: codec.ServerUnavailable, Cause: "source-failed", Detail: detail}
}
