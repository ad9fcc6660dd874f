package login

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/codec"
)

// While somebody guesses at a user from many addresses, and at many users from one, those who
// belong here log in: at once from a new address, and after a minute at most after a failure.
func TestGuessingHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, nil)
		c.SetUsers([]User{{Name: "ann", Hash: hashOf(t, "ann's")}, {Name: "ben", Hash: hashOf(t, "ben's")}})
		ctx, stop := context.WithCancel(t.Context())
		attack := func(user func(int) string, from func(int) netip.Addr) {
			for n := 0; ctx.Err() == nil; n++ {
				_, _ = c.Authenticate(ctx, credentials(user(n), fmt.Sprint("guess ", n), from(n)))
				time.Sleep(10 * time.Millisecond)
			}
		}
		spread := netip.MustParseAddr("203.0.113.0")
		one := netip.MustParseAddr("198.51.100.1")
		go attack(func(int) string { return "ann" }, func(int) netip.Addr { spread = spread.Next(); return spread })
		go attack(func(n int) string { return fmt.Sprint("name ", n) }, func(int) netip.Addr { return one })
		time.Sleep(10 * time.Second)
		if bans := c.Bans(); len(bans) != 1 || bans[0].Peer.Addr() != one {
			t.Errorf("bans: %v", bans)
		}
		if cause, took := c.login(ctx, credentials("ann", "ann's", here)); cause != "" || took > time.Second {
			t.Errorf("ann: %q after %v", cause, took)
		}
		there := here.Next()
		if cause, _ := c.login(ctx, credentials("ann", "a typo", there)); cause != "bad-password" {
			t.Errorf("a typo: %q", cause)
		}
		if cause, _ := c.login(ctx, credentials("ann", "ann's", there)); cause != "back-off" {
			t.Errorf("after a typo: %q", cause)
		}
		time.Sleep(time.Minute)
		if cause, _ := c.login(ctx, credentials("ann", "ann's", there)); cause != "" {
			t.Errorf("a minute after a typo: %q", cause)
		}
		if cause, _ := c.login(ctx, credentials("ben", "ben's", one)); cause != "banned" {
			t.Errorf("from the banned address: %q", cause)
		}
		if !c.LiftBan(one) || c.LiftBan(one) || len(c.Bans()) > 0 {
			t.Error("the ban is not lifted")
		}
		stop()
		time.Sleep(time.Minute)
	})
}

// Who is refused is told when to come again, or that others are under way who may fail.
func TestBackoffDetail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, nil)
		c.SetUsers([]User{{Name: "ann", Hash: hashOf(t, "ann's")}})
		expect := func(detail string) {
			t.Helper()
			_, err := c.Authenticate(t.Context(), credentials("ann", "ann's", here))
			if r, ok := errors.AsType[*access.Refusal](err); !ok || r.Cause != "back-off" || r.Reason != codec.ConnectionRateExceeded || r.Detail != detail {
				t.Errorf("%+v, want %q", err, detail)
			}
		}
		for n := range 3 {
			go c.expect(t, credentials("ann", fmt.Sprint("wrong ", n), here), "bad-password", time.Duration(n+1)*comparing)
			synctest.Wait()
		}
		expect("the user ann has as many attempts under way from there as may fail; the next try is when they have ended")
		time.Sleep(3*comparing + 300*time.Millisecond)
		expect("the user ann failed from there; the next try is in 700ms")
		time.Sleep(700 * time.Millisecond)
		c.expect(t, credentials("ann", "ann's", here), "", comparing)
	})
}

// A banned address gets nothing, whatever it shows, and not 4 or 5 as a 3.x Client.
func TestBanned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, nil)
		users := []User{{Name: "ann", Hash: hashOf(t, "ann's")}}
		for n := range DefaultOptions().Backoff.BanAfter {
			users = append(users, User{Name: fmt.Sprint("user ", n), Hash: hashOf(t, "right")})
		}
		c.SetUsers(users)
		c.SetMethods(map[string]Method{"M": func(*access.Attempt) access.Exchange { return new(exchange) }})
		c.SetSources(sourceFunc(func(*access.Attempt) (*access.Identity, error) {
			return nil, &access.Refusal{Reason: codec.BadUserNameOrPassword, Cause: "bad-token"}
		}))
		for n := range DefaultOptions().Backoff.BanAfter {
			switch { // what counts, one after the other
			case n%3 == 0:
				c.expect(t, credentials("other", fmt.Sprint(n), here), "bad-token", 0)
			case n%3 == 1:
				if _, _, err := c.Exchange("M", credentials("ann", "", here)).Next(t.Context(), fmt.Append(nil, n)); reasonOf(err) != codec.BadUserNameOrPassword {
					t.Errorf("exchange: %v", err)
				}
			default:
				c.expect(t, credentials(users[n].Name, "x", here), "bad-password", comparing)
			}
		}
		for _, a := range []*access.Attempt{credentials("ann", "ann's", here), {Address: here, MayBeNobody: true}, {Address: here, CertificateUser: "ann"}} {
			_, err := c.Authenticate(t.Context(), a)
			if code, ok := reasonOf(err).ConnackReturnCode(); reasonOf(err) != codec.ConnectionRateExceeded || code != 3 || !ok {
				t.Errorf("%+v: %v", a, err)
			}
		}
		if _, _, err := c.Exchange("M", credentials("ann", "", here)).Next(t.Context(), nil); reasonOf(err) != codec.ConnectionRateExceeded {
			t.Errorf("exchange: %v", err)
		}
		if n := c.m.Bans.Get(); n != 1 {
			t.Errorf("%d bans are counted", n)
		}
		time.Sleep(10 * time.Minute)
		c.expect(t, credentials("ann", "ann's", here), "", comparing)
	})
}

// exchange fails.
type exchange struct{}

func (exchange) Next(context.Context, []byte) ([]byte, *access.Identity, error) {
	return nil, nil, &access.Refusal{Reason: codec.BadUserNameOrPassword, Cause: "bad-proof"}
}

// A fleet of one user whose password was changed is told so, is not banned, and costs one
// comparison.
func TestOldPassword(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, nil)
		c.SetUsers([]User{{Name: "fleet", Hash: hashOf(t, "new")}, {Name: "ann", Hash: hashOf(t, "ann's")}})
		for range 100 {
			go func() {
				for range 60 {
					if cause, _ := c.login(t.Context(), credentials("fleet", "old", here)); cause != "bad-password" && cause != "same-password" {
						t.Errorf("%q", cause)
					}
					time.Sleep(time.Second)
				}
			}()
		}
		time.Sleep(30 * time.Second)
		c.expect(t, credentials("ann", "ann's", here), "", comparing)
		c.expect(t, credentials("fleet", "new", here), "", comparing)
		time.Sleep(time.Minute)
		if n := c.m.LoginsRefused("bad-password").Get(); n > 200 || len(c.Bans()) > 0 { // again after the login of the fleet
			t.Errorf("%d passwords were compared; bans: %v", n, c.Bans())
		}
	})
}

// TestFailedToken: guesses at something that others know get an address banned, and the same guess
// over and over does not.
func TestFailedToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, nil)
		from, again := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2")
		for n := range 100 {
			c.Failed(from, fmt.Append(nil, "guess ", n))
			c.Failed(again, []byte("an old token"))
		}
		if !c.Banned(from) || c.Banned(again) {
			t.Errorf("%v", c.Bans())
		}
	})
}
