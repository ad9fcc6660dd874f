package login

import (
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/metrics"
)

// comparing is how long the comparison of a password takes, in virtual time.
const comparing = 50 * time.Millisecond

// newChain returns a Chain whose comparisons take comparing.
func newChain(t *testing.T, change func(*Options)) *Chain {
	t.Helper()
	o := DefaultOptions()
	o.HashingWorkers = 1
	if change != nil {
		change(&o)
	}
	m := metrics.NewBroker()
	notices := notice.New(slog.New(slog.NewTextHandler(io.Discard, nil)), m)
	t.Cleanup(notices.Close)
	c := New(o, notices, m)
	c.hashing.compare = func(h *access.Hash, password []byte) bool {
		time.Sleep(comparing)
		return h.Matches(password)
	}
	return c
}

// hashOf returns a hash that is cheap.
func hashOf(t *testing.T, password string) *access.Hash {
	t.Helper()
	sum := sha512.Sum512([]byte(password + "salt"))
	h, err := access.ParseHash("$6$" + base64.StdEncoding.EncodeToString([]byte("salt")) + "$" + base64.StdEncoding.EncodeToString(sum[:]))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

var here = netip.MustParseAddr("192.0.2.1")

// credentials are a user name and a password from an address.
func credentials(user, password string, from netip.Addr) *access.Attempt {
	return &access.Attempt{User: user, HasUser: true, Password: []byte(password), HasPassword: true, Address: from}
}

// login returns the cause of the refusal, "" if there is none, and how long it took.
func (c *Chain) login(ctx context.Context, a *access.Attempt) (cause string, took time.Duration) {
	began := time.Now()
	_, err := c.Authenticate(ctx, a)
	return causeOf(err), time.Since(began)
}

// causeOf returns the cause of a refusal.
func causeOf(err error) string {
	if r, ok := errors.AsType[*access.Refusal](err); ok {
		return r.Cause
	}
	return ""
}

// expect logs in and compares why not, and how long it took.
func (c *Chain) expect(t *testing.T, a *access.Attempt, cause string, took time.Duration) {
	t.Helper()
	if got, after := c.login(t.Context(), a); got != cause || after != took {
		t.Errorf("%s: %q after %v, want %q after %v", a.User, got, after, cause, took)
	}
}

// reasonOf returns the Reason Code of a refusal.
func reasonOf(err error) codec.ReasonCode {
	if r, ok := errors.AsType[*access.Refusal](err); ok {
		return r.Reason
	}
	return codec.Success
}
