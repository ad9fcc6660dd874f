package login

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/codec"
)

// The users of the database, then those of the file; a user that is in both is that of the
// database.
func TestUsers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, func(o *Options) { o.Backoff = access.BackoffOptions{} })
		c.SetUsers([]User{
			{Name: "ann", Hash: hashOf(t, "ann's"), Groups: []string{"staff"}},
			{Name: "ben", Hash: hashOf(t, "ben's"), Disabled: true},
			{Name: "keyless"},
		})
		c.SetPasswordFile([]access.PasswordEntry{{User: "cid", Hash: hashOf(t, "cid's")}, {User: "ben", Hash: hashOf(t, "old")}, {User: "ann", Hash: hashOf(t, "old")}})
		for _, test := range []struct{ user, password, cause string }{
			{"ann", "ann's", ""}, {"cid", "cid's", ""},
			{"ann", "ben's", "bad-password"}, {"ann", "", "bad-password"}, {"ann", "old", "bad-password"}, {"cid", "ann's", "bad-password"},
			{"ben", "ben's", "disabled"}, {"ben", "old", "bad-password"},
			{"keyless", "", "bad-password"}, {"keyless", "ann's", "bad-password"}, {"keyless", "ben's", "bad-password"}, {"keyless", "cid's", "bad-password"},
			{"nobody", "ann's", "unknown-user"}, {"nobody", "ben's", "unknown-user"}, {"nobody", "cid's", "unknown-user"}, {"", "ann's", "unknown-user"},
			{"Ann", "ann's", "unknown-user"}, {"ann\x00", "ann's", "unknown-user"},
		} {
			c.expect(t, credentials(test.user, test.password, here), test.cause, comparing)
		}
		who, err := c.Authenticate(t.Context(), credentials("ann", "ann's", here))
		if err != nil || who.User != "ann" || who.Method != access.ByPassword || fmt.Sprint(who.Groups) != "[staff]" {
			t.Errorf("%+v, %v", who, err)
		}
		if _, err := c.Authenticate(t.Context(), credentials("ben", "ben's", here)); reasonOf(err) != codec.NotAuthorized {
			t.Errorf("disabled: %v", err)
		}
		if _, err := c.Authenticate(t.Context(), credentials("ann", "wrong", here)); reasonOf(err) != codec.BadUserNameOrPassword || strings.Contains(err.Error(), "wrong") {
			t.Errorf("wrong password: %v", err)
		}
		if _, err := c.Authenticate(t.Context(), &access.Attempt{CertificateUser: "ben"}); reasonOf(err) != codec.NotAuthorized {
			t.Errorf("disabled, with a certificate: %v", err)
		}
		if who, err := c.Authenticate(t.Context(), &access.Attempt{CertificateUser: "ann"}); err != nil || fmt.Sprint(who.Groups) != "[staff]" {
			t.Errorf("with a certificate: %+v, %v", who, err)
		}
	})
}

// What is not in the database or the file is for the other sources; what is there is not.
func TestUsersBeforeSources(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, nil)
		c.SetUsers([]User{{Name: "ann", Hash: hashOf(t, "ann's")}})
		c.SetSources(knows("ann"), knows("dan"))
		c.expect(t, credentials("ann", "right", here), "bad-password", comparing)
		c.expect(t, credentials("dan", "right", here), "", 0)
		c.expect(t, credentials("eve", "right", here), "unknown-user", comparing)
	})
}

// Who is disabled in the database is not let in by another source either, whatever user name
// CONNECT has: a token has its own.
func TestDisabledForSources(t *testing.T) {
	t.Parallel()
	c := newChain(t, nil)
	for _, off := range []bool{false, true} {
		c.SetUsers([]User{{Name: "ann", Disabled: off}})
		c.SetSources(sourceFunc(func(*access.Attempt) (*access.Identity, error) {
			return &access.Identity{User: "ann", Method: access.ByToken}, nil
		}))
		c.SetMethods(map[string]Method{"M": func(*access.Attempt) access.Exchange { return atOnce("ann") }})
		cause, _ := c.login(t.Context(), &access.Attempt{HasPassword: true, Password: []byte("token"), Address: here})
		if (cause == "disabled") != off {
			t.Errorf("disabled %v: by a token: %q", off, cause)
		}
		_, who, err := c.Exchange("M", &access.Attempt{Address: here}).Next(t.Context(), nil)
		if (who == nil) != off || (reasonOf(err) == codec.NotAuthorized) != off {
			t.Errorf("disabled %v: by an exchange: %v, %v", off, who, err)
		}
	}
}

// atOnce is an exchange that lets in a user.
type atOnce string

func (e atOnce) Next(context.Context, []byte) ([]byte, *access.Identity, error) {
	return nil, &access.Identity{User: string(e), Method: access.BySCRAM}, nil
}

// A file without users is asked all the same: a user name means something then.
func TestEmptyPasswordFile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, nil)
		a := credentials("ann", "x", here)
		a.MayBeNobody = true
		c.expect(t, a, "", 0)
		c.SetPasswordFile(nil)
		c.expect(t, a, "unknown-user", 0)
		c.RemovePasswordFile()
		c.expect(t, a, "", 0)
	})
}

// A password that was right is not compared again for a time, unless anything has changed.
func TestRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, func(o *Options) { o.Remember = time.Hour })
		ann := User{Name: "ann", Hash: hashOf(t, "one")}
		c.SetUsers([]User{ann})
		one, two := credentials("ann", "one", here), credentials("ann", "two", here)
		c.expect(t, one, "", comparing)
		c.expect(t, one, "", 0)
		c.expect(t, credentials("ann", "one", here.Next()), "", 0)
		if n := c.m.LoginsRemembered.Get(); n != 2 {
			t.Errorf("%d are counted", n)
		}
		c.expect(t, two, "bad-password", comparing)
		time.Sleep(29 * time.Minute)
		c.expect(t, one, "", 0)
		time.Sleep(31 * time.Minute)
		c.expect(t, one, "", comparing)

		ann.Hash = hashOf(t, "two")
		c.SetUsers([]User{ann})
		c.expect(t, one, "bad-password", comparing)
		c.expect(t, two, "", comparing)
		ann.Disabled = true
		c.SetUsers([]User{ann})
		c.expect(t, two, "disabled", 0)
		c.SetUsers([]User{{Name: "ben", Hash: ann.Hash}})
		c.expect(t, two, "unknown-user", comparing)
		c.expect(t, credentials("ben", "two", here), "", comparing)

		o := DefaultOptions()
		o.HashingWorkers, o.Remember = 1, 0
		c.SetOptions(o)
		for range 3 {
			c.expect(t, credentials("ben", "two", here), "", comparing)
		}
	})
}

func TestRememberedTime(t *testing.T) {
	t.Parallel()
	r := remembered{}
	r.setTime(time.Hour)
	now := time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	key := newKeyed()
	added := make(map[access.Digest]time.Time)
	for n := range 3 * rememberedMax {
		d := key.digest([]byte(fmt.Sprint(n)))
		r.add(d, now)
		added[d] = now
		if len(r.young)+len(r.old) > 2*rememberedMax {
			t.Fatalf("%d are remembered", len(r.young)+len(r.old))
		}
		now = now.Add(100 * time.Millisecond)
		if n%8000 == 0 {
			for d, then := range added {
				if age := now.Sub(then); r.has(d, now) && age > time.Hour || !r.has(d, now) && age < 30*time.Minute {
					t.Fatalf("after %v: remembered %v", age, r.has(d, now))
				}
			}
		}
	}
}

// Users that do not exist are not told apart by the time it takes, whatever the costs of the
// hashes are.
func TestSameTimeForUnknownUsers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, func(o *Options) { o.Backoff = access.BackoffOptions{} })
		cheap, dear := hashOf(t, "a"), hashOf(t, "b")
		c.hashing.compare = func(h *access.Hash, _ []byte) bool {
			if h == dear {
				time.Sleep(comparing)
			}
			return false
		}
		var users []User
		for n := range 1000 {
			users = append(users, User{Name: fmt.Sprint("user", n), Hash: []*access.Hash{cheap, dear}[n%2]})
		}
		c.SetUsers(users)
		var slow [2]int
		for n := range 1000 {
			for i, name := range []string{"user", "nobody"} {
				a := credentials(fmt.Sprint(name, n), "x", here)
				_, first := c.login(t.Context(), a)
				a.Password = []byte("y")
				if _, second := c.login(t.Context(), a); first != second {
					t.Fatalf("%s: %v, then %v", a.User, first, second)
				}
				if first > 0 {
					slow[i]++
				}
			}
		}
		if slow[0] != 500 || slow[1] < 400 || slow[1] > 600 { // 6 standard deviations
			t.Errorf("slow: %d of 1000 users, %d of 1000 that are not there", slow[0], slow[1])
		}
	})
}
