package login

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/codec"
)

// scramUsers has one user.
type scramUsers struct {
	name string
	keys access.SCRAMKeys
	err  error
}

func (u *scramUsers) SCRAMKeys(_ context.Context, user string) (*access.SCRAMKeys, *access.Identity, error) {
	if u.err != nil || user != u.name {
		return nil, nil, u.err
	}
	return &u.keys, &access.Identity{User: user, Groups: []string{"staff"}, Method: access.BySCRAM}, nil
}

func scramFor(t testing.TB) (*SCRAM, *scramUsers) {
	t.Helper()
	keys, err := access.NewSCRAMKeys([]byte("pencil"), []byte("0123456789abcdef"), access.SCRAMIterations)
	if err != nil {
		t.Fatal(err)
	}
	users := &scramUsers{name: "ann", keys: keys}
	return NewSCRAM(users, [32]byte{1}), users
}

// converse runs a whole exchange. It returns the first answer of the server too.
func converse(t testing.TB, s *SCRAM, a *access.Attempt, user, password, authzID string) (first string, who *access.Identity, err error) {
	t.Helper()
	client, err := scram.SHA256.NewClient(user, password, authzID)
	if err != nil {
		t.Fatal(err)
	}
	c := client.WithMinIterations(4096).NewConversation()
	e := s.Exchange(a)
	said := ""
	for step := 0; ; step++ {
		said, err = c.Step(said)
		if err != nil {
			t.Fatal(err)
		}
		if c.Done() {
			if !c.Valid() {
				t.Fatal("the server has not proved that it knows the password")
			}
			return first, who, nil
		}
		var reply []byte
		reply, who, err = e.Next(t.Context(), []byte(said))
		if err != nil {
			return first, who, err
		}
		if said = string(reply); step == 0 {
			first = said
		}
	}
}

func TestSCRAM(t *testing.T) {
	t.Parallel()
	s, users := scramFor(t)
	_, who, err := converse(t, s, &access.Attempt{}, "ann", "pencil", "")
	if err != nil || who == nil || who.User != "ann" || who.Method != access.BySCRAM {
		t.Fatalf("%+v, %v", who, err)
	}
	if _, who, err = converse(t, s, &access.Attempt{User: "ann", HasUser: true}, "ann", "pencil", "ann"); err != nil || who == nil {
		t.Fatalf("the same name three times: %+v, %v", who, err)
	}
	for what, test := range map[string]struct {
		a                       access.Attempt
		user, password, authzID string
	}{
		"wrong password":    {user: "ann", password: "pen-canary"},
		"unknown user":      {user: "bob", password: "pencil"},
		"another User Name": {a: access.Attempt{User: "bob", HasUser: true}, user: "ann", password: "pencil"},
		"for somebody else": {user: "ann", password: "pencil", authzID: "root"},
	} {
		_, who, err := converse(t, s, &test.a, test.user, test.password, test.authzID)
		wantRefusal(t, what, who, err, codec.NotAuthorized, "canary")
	}
	users.err = errors.New("the disk is gone")
	_, who, err = converse(t, s, &access.Attempt{}, "ann", "pencil", "")
	wantRefusal(t, "no users", who, err, codec.ServerUnavailable)
}

// Who asks for a user that is not there is answered as for one that is: a salt of the same
// size that stays the same, and as many iterations.
func TestSCRAMUnknownUser(t *testing.T) {
	t.Parallel()
	s, users := scramFor(t)
	part := func(first string, i int) string {
		parts := strings.Split(first, ",")
		return parts[i]
	}
	known, _, _ := converse(t, s, &access.Attempt{}, "ann", "x", "")
	bob, _, errBob := converse(t, s, &access.Attempt{}, "bob", "x", "")
	again, _, _ := converse(t, NewSCRAM(users, s.secret), &access.Attempt{}, "bob", "x", "")
	eve, _, _ := converse(t, s, &access.Attempt{}, "eve", "x", "")
	_, _, errAnn := converse(t, s, &access.Attempt{}, "ann", "x", "")
	switch {
	case part(known, 2) != part(bob, 2) || len(known) != len(bob):
		t.Errorf("%q and %q differ", known, bob)
	case part(bob, 1) != part(again, 1):
		t.Errorf("the salt changes: %q, %q", bob, again)
	case part(bob, 1) == part(eve, 1):
		t.Errorf("two users have one salt: %q", bob)
	case errAnn.Error() != errBob.Error():
		t.Errorf("%v and %v differ", errAnn, errBob)
	}
}

func TestSCRAMHostile(t *testing.T) {
	t.Parallel()
	s, _ := scramFor(t)
	for what, data := range map[string][]byte{
		"nothing": nil, "text": []byte("hello"), "NUL": {0}, "no UTF-8": []byte("n,,n=\xff,r=x"), "too large": bytes.Repeat([]byte("a"), scramDataMax+1),
		"channel binding": []byte("p=tls-unique,,n=ann,r=abc"), "mandatory extension": []byte("n,,m=x,n=ann,r=abc"), "no name": []byte("n,,n=,r=abc"), "no nonce": []byte("n,,n=ann"),
		"bad escape": []byte("n,,n=a=n,r=abc"), "final first": []byte("c=biws,r=abc,p=AAAA"),
	} {
		e := s.Exchange(&access.Attempt{})
		_, who, err := e.Next(t.Context(), data)
		if r, ok := errors.AsType[*access.Refusal](err); !ok || who != nil {
			t.Errorf("%s: %+v, %v", what, who, err)
		} else if r.Reason < 0x80 {
			t.Errorf("%s: %v", what, r.Reason)
		}
		if _, who, err := e.Next(t.Context(), []byte("c=biws,r=abc,p=AAAA")); who != nil || err == nil {
			t.Errorf("%s: goes on: %+v, %v", what, who, err)
		}
	}
}

func FuzzSCRAM(f *testing.F) {
	f.Add([]byte("n,,n=ann,r=abc"), []byte("c=biws,r=abc,p=AAAA"))
	f.Add([]byte("p=x,a=b,n=ann,r=abc,x=y"), []byte("c=,r=,p="))
	s, _ := scramFor(f)
	f.Fuzz(func(t *testing.T, first, final []byte) {
		e := s.Exchange(&access.Attempt{})
		for _, data := range [][]byte{first, final, final} {
			if _, who, err := e.Next(context.Background(), data); who != nil {
				t.Fatalf("%q, %q let %+v in", first, final, who)
			} else if err != nil {
				continue
			}
		}
	})
}
