package login

import (
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"time"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/codec"
)

// Exchange begins enhanced authentication; nil: there is no such method.
func (c *Chain) Exchange(method string, a *access.Attempt) access.Exchange {
	begin := (*c.methods.Load())[method]
	if begin == nil {
		return nil
	}
	e := begin(a)
	if e == nil {
		return nil
	}
	return &guarded{Exchange: e, c: c, from: a.Address}
}

// A guarded exchange is refused to addresses that are banned, and counts when it fails.
type guarded struct {
	access.Exchange
	c    *Chain
	from netip.Addr
	user string // whose password is to be proved; "": that is not known
}

// A prover is an exchange in which a Client proves that it knows the password of a user.
// Such a proof is a guess like a password.
type prover interface {
	access.Exchange
	// User is whose password it is, when the first step has told; else "". From then on Next
	// computes, and waits for nothing: one proof is checked after the other.
	User() string
}

// Next implements access.Exchange.
func (e *guarded) Next(ctx context.Context, data []byte) (reply []byte, who *access.Identity, err error) {
	if err = e.c.guard.banned(e.from, time.Now()); err == nil {
		if e.user == "" {
			reply, who, err = e.begin(ctx, data)
		} else {
			reply, who, err = e.proof(ctx, data)
		}
		who, err = e.c.enabled(who, err)
	}
	if r, refused := errors.AsType[*access.Refusal](err); refused {
		e.c.m.LoginsRefused(r.Cause).Inc()
	} else if who != nil {
		e.c.m.LoginsAccepted(string(who.Method)).Inc()
	}
	return reply, who, err
}

// begin is a step before it is known whose password is to be proved. A user that has to wait
// is told nothing for which it could make a proof.
func (e *guarded) begin(ctx context.Context, data []byte) ([]byte, *access.Identity, error) {
	reply, who, err := e.step(ctx, data)
	if p, ok := e.Exchange.(prover); ok && err == nil && who == nil {
		if e.user = p.User(); e.user != "" {
			err = e.c.guard.waits(e.from, e.user, e.c.key.digest([]byte(e.user)))
		}
	}
	if err != nil {
		e.c.guard.told(err, e.from, e.c.key.digest(data))
		return nil, nil, err
	}
	return reply, who, nil
}

// proof is a step that may have the proof. It is admitted like a password: many exchanges
// that have begun at once have no more guesses than one after the other. Two wrong proofs
// cannot be told to be of the same password.
func (e *guarded) proof(ctx context.Context, data []byte) ([]byte, *access.Identity, error) {
	reply, who, banned, err := e.alone(ctx, data)
	if banned {
		e.c.guard.say(e.from) // the log may take long
	}
	return reply, who, err
}

// alone is proof while no other proof is looked at: those that are under way at once would
// count as failures of each other, and the right ones of a fleet would be refused.
func (e *guarded) alone(ctx context.Context, data []byte) (reply []byte, who *access.Identity, banned bool, err error) {
	g, user := &e.c.guard, e.c.key.digest([]byte(e.user))
	var guess access.Digest
	_, _ = rand.Read(guess[:]) // never fails
	g.proofs.Lock()
	defer g.proofs.Unlock()
	if _, err = g.admit(&access.Attempt{User: e.user, Address: e.from}, user, guess); err != nil {
		return nil, nil, false, err
	}
	reply, who, err = e.step(ctx, data)
	outcome := access.Undecided
	switch {
	case isWrong(err):
		outcome = access.Failed
	case who != nil:
		outcome = access.Succeeded
	}
	return reply, who, g.count(e.from, user, guess, outcome), err
}

// step hands data to the exchange.
func (e *guarded) step(ctx context.Context, data []byte) (reply []byte, who *access.Identity, err error) {
	if reply, who, err = e.Exchange.Next(ctx, data); err != nil {
		_, err = settled(nil, err)
		return nil, nil, err
	}
	return reply, who, nil
}

// isWrong reports whether somebody was refused for what was shown.
func isWrong(err error) bool {
	r, ok := errors.AsType[*access.Refusal](err)
	return ok && (r.Reason == codec.BadUserNameOrPassword || r.Reason == codec.NotAuthorized)
}
