package broker

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/codec"
)

// An Authenticator says who a Client is. The broker calls it on the goroutine that reads the
// connection, with no lock held; what the Client has sent after its CONNECT waits. It may be
// called by many goroutines at once.
type Authenticator interface {
	// Authenticate says who a Client is. It may block until ctx ends: at the connect
	// timeout, or when the broker stops. Its error is a *access.Refusal. Nothing of the
	// Attempt may be kept.
	Authenticate(ctx context.Context, a *access.Attempt) (*access.Identity, error)
	// Exchange begins an enhanced authentication by an Authentication Method; nil: there
	// is no such method. Section 4.12.
	Exchange(method string, a *access.Attempt) access.Exchange
	// Banned reports whether nobody is let in from an address for now. Its connections are
	// closed when it is known. It must not block.
	Banned(from netip.Addr) bool
}

// SetAuthenticator replaces what says who Clients are, for the CONNECT packets that come from
// now on. nil: whoever comes from this machine is let in, and others if
// Options.AllowAnonymous says so, all of them as nobody.
func (b *Broker) SetAuthenticator(a Authenticator) { b.authenticator.Store(&a) }

// banned reports whether connections from an address are closed at once.
func (b *Broker) banned(from netip.Addr) bool {
	a := *b.authenticator.Load()
	return a != nil && a.Banned(from)
}

// authenticate asks who the Client is; nil: there is nobody to ask. It changes nothing but the time of c, which has
// waited. [MQTT-3.1.4-2]
func (c *conn) authenticate(p *codec.Connect, id string) (*principal, error) {
	b := c.b
	a := *b.authenticator.Load()
	if a == nil {
		return nil, c.admitNobody()
	}
	asked := b.revocations.now()
	defer clear(p.Password) // the read buffer goes to other connections
	ctx, cancel := context.WithDeadline(b.serving, b.clock.Deadline(c.connectDeadline()))
	defer cancel()
	who, err := a.Authenticate(ctx, c.attempt(p, id))
	c.waited()
	switch {
	case b.stopping.Load():
		return nil, refuse(codec.ServerUnavailable, "the Server is shutting down")
	case err != nil:
		return nil, refuseIdentity(err)
	case who == nil:
		return nil, refuse(codec.UnspecifiedError, "the Server could not find out who the Client is")
	case ended(who, c.now):
		return nil, refuse(codec.NotAuthorized, "what says who the Client is has ended")
	}
	if who.Rules != nil {
		b.mindRules()
	}
	return &principal{Identity: who, conn: c, asked: asked}, nil
}

// connectDeadline is until when the Client may take to be accepted.
func (c *conn) connectDeadline() time.Time {
	began := moment(c.in.Before) // accepted: it has sent nothing but CONNECT
	if began == 0 {
		began = momentOf(c.now)
	}
	return began.time().Add(c.b.o.ConnectTimeout)
}

// attempt is what CONNECT, and the connection, say of who the Client is.
func (c *conn) attempt(p *codec.Connect, id string) *access.Attempt {
	peer := link.PeerOf(c.net())
	return &access.Attempt{
		ClientID: id, User: string(p.UserName), Password: p.Password, HasUser: p.HasUserName, HasPassword: p.HasPassword,
		Address: peer.Address, Listener: c.net().Listener().String(), MayBeNobody: c.mayBeNobody(),
		Certificate: peer.Certificate, CertificateUser: peer.User,
	}
}

// ended reports whether an Identity is over.
func ended(who *access.Identity, now time.Time) bool {
	return !who.Until.IsZero() && !now.Before(who.Until)
}

// refuseIdentity turns what an Authenticator says into a refusal. The Client is told no more
// than the Reason Code; the log has the rest.
func refuseIdentity(err error) error {
	r, ok := errors.AsType[*access.Refusal](err)
	if !ok || r.Reason < 0x80 || !r.Reason.ValidIn(codec.TypeConnack) { // it lets nobody in
		return refuse(codec.UnspecifiedError, "the Server could not find out who the Client is", "why", err.Error())
	}
	return &refusal{reason: r.Reason, detail: told(r.Reason), attrs: []any{"cause", r.Cause, "why", r.Detail}, code: codeOfCause(r.Cause)}
}

// codeOfCause is the code of what refuses a login for a while, whatever its reason code is.
func codeOfCause(cause string) string {
	switch cause {
	case "back-off":
		return trouble.BackOff.Value.String()
	case "banned":
		return trouble.AddressBanned.Value.String()
	}
	return ""
}

// told is what a Client is told of why it is not let in.
func told(reason codec.ReasonCode) string {
	switch reason {
	case codec.BadUserNameOrPassword:
		return "the user name or the password is not right"
	case codec.NotAuthorized, codec.Banned:
		return "the Client may not connect"
	}
	return "the Server cannot let the Client in now"
}
