package login

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xdg-go/scram"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/codec"
)

// A challenge is an exchange by SCRAM that awaits the proof.
type challenge struct {
	e     access.Exchange
	proof []byte
}

// challenged makes the first step; cause says why it was refused.
func challenged(t *testing.T, c *Chain, user, password string, from netip.Addr) (ch challenge, cause string) {
	t.Helper()
	client, err := scram.SHA256.NewClient(user, password, "")
	if err != nil {
		t.Fatal(err)
	}
	conversation := client.NewConversation()
	first, err := conversation.Step("")
	if err != nil {
		t.Fatal(err)
	}
	ch.e = c.Exchange(SCRAMSHA256, &access.Attempt{Address: from})
	reply, who, err := ch.e.Next(t.Context(), []byte(first))
	if err != nil {
		if reply != nil || who != nil {
			t.Errorf("refused, with %q for %+v", reply, who)
		}
		return ch, causeOf(err)
	}
	proof, err := conversation.Step(string(reply))
	if err != nil {
		t.Fatal(err)
	}
	ch.proof = []byte(proof)
	return ch, ""
}

// prove makes the last step; "": it is the user.
func (ch challenge) prove(t *testing.T) (cause string) {
	t.Helper()
	_, who, err := ch.e.Next(t.Context(), ch.proof)
	if (err == nil) != (who != nil) {
		t.Errorf("%+v, %v", who, err)
	}
	return causeOf(err)
}

// proves makes both.
func proves(t *testing.T, c *Chain, user, password string, from netip.Addr) (cause string) {
	t.Helper()
	ch, cause := challenged(t, c, user, password, from)
	if cause != "" {
		return cause
	}
	return ch.prove(t)
}

func withSCRAM(t *testing.T, change func(*Options)) *Chain {
	t.Helper()
	c := newChain(t, change)
	keys, err := access.NewSCRAMKeys([]byte("ann's"), []byte("0123456789abcdef"), 4096)
	if err != nil {
		t.Fatal(err)
	}
	c.SetUsers([]User{{Name: "ann", Hash: hashOf(t, "ann's"), SCRAM: &keys}, {Name: "ben", Hash: hashOf(t, "ben's"), SCRAM: &keys}})
	s := NewSCRAM(c, [32]byte{1})
	c.SetMethods(map[string]Method{SCRAMSHA256: s.Exchange})
	return c
}

// TestSCRAMBackoff: a wrong proof counts like a wrong password, and together with them: the
// user waits at this address, whether it exists or not, and before it is told anything; others, and the
// user elsewhere, do not.
func TestSCRAMBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := withSCRAM(t, nil)
		there := netip.MustParseAddr("192.0.2.77")
		for _, user := range []string{"ann", "nobody"} {
			for range 2 {
				if cause := proves(t, c, user, "wrong", here); cause != "bad-password" {
					t.Errorf("a wrong proof of %s: %q", user, cause)
				}
			}
			cause, _ := c.login(t.Context(), credentials(user, "wrong", here)) // the third
			if cause != "bad-password" && cause != "unknown-user" {
				t.Errorf("a wrong password of %s: %q", user, cause)
			}
			if _, cause := challenged(t, c, user, "ann's", here); cause != "back-off" {
				t.Errorf("%s was told the salt: %q", user, cause)
			}
			if cause, _ := c.login(t.Context(), credentials(user, "ann's", here)); cause != "back-off" {
				t.Errorf("the password of %s: %q", user, cause)
			}
		}
		if cause := proves(t, c, "ann", "ann's", there); cause != "" {
			t.Errorf("elsewhere: %q", cause)
		}
		if cause := proves(t, c, "ben", "ann's", here); cause != "" {
			t.Errorf("another user: %q", cause)
		}
		time.Sleep(time.Second)
		if cause := proves(t, c, "ann", "wrong", here); cause != "bad-password" {
			t.Errorf("after the wait: %q", cause)
		}
		time.Sleep(1900 * time.Millisecond)
		if cause := proves(t, c, "ann", "ann's", here); cause != "back-off" {
			t.Errorf("the second wait is twice as long: %q", cause)
		}
		time.Sleep(100 * time.Millisecond)
		if cause := proves(t, c, "ann", "ann's", here); cause != "" {
			t.Errorf("after the second wait: %q", cause)
		}
		for range 2 { // the login has ended it
			if cause := proves(t, c, "ann", "wrong", here); cause != "bad-password" {
				t.Errorf("after a login: %q", cause)
			}
		}
		if n := c.m.LoginsRefused("back-off").Get(); n != 5 {
			t.Errorf("%d are counted as back-off", n)
		}
	})
}

// TestSCRAMManyAtOnce: exchanges that have all begun before the first failed have no more
// guesses than others, whether the proofs come together or one after the other.
func TestSCRAMManyAtOnce(t *testing.T) {
	t.Parallel()
	for _, together := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := withSCRAM(t, nil)
			causes := make(chan string, 100)
			for _, ch := range challengedOften(t, c, cap(causes), "wrong") {
				if together {
					go func() { causes <- ch.prove(t) }()
				} else {
					causes <- ch.prove(t)
				}
			}
			count := map[string]int{}
			for range cap(causes) {
				count[<-causes]++
			}
			if count["bad-password"] != 3 || count["back-off"] != 97 {
				t.Errorf("together %v: %v", together, count)
			}
		})
	}
}

// challengedOften makes the first step of n exchanges of ann.
func challengedOften(t *testing.T, c *Chain, n int, password string) (all []challenge) {
	t.Helper()
	for range n {
		ch, cause := challenged(t, c, "ann", password, here)
		if cause != "" {
			t.Fatal(cause)
		}
		all = append(all, ch)
	}
	return all
}

// A crowded exchange calls during while its proof is looked at.
type crowded struct {
	*scramExchange
	during func()
}

func (e crowded) Next(ctx context.Context, data []byte) ([]byte, *access.Identity, error) {
	if e.User() != "" {
		e.during()
	}
	return e.scramExchange.Next(ctx, data)
}

// TestSCRAMRightAtOnce: right proofs of a user that come at once are all right, also after as
// many failures as cost no waiting. One that is being looked at stays so until each of the
// others is, or has been refused; that cannot be while they wait for it, so not for long.
func TestSCRAMRightAtOnce(t *testing.T) {
	t.Parallel()
	const proofs = 4
	for _, failures := range []int{0, 2} {
		c := withSCRAM(t, nil)
		during := func() {}
		s := NewSCRAM(c, [32]byte{1})
		c.SetMethods(map[string]Method{SCRAMSHA256: func(a *access.Attempt) access.Exchange {
			return crowded{s.Exchange(a).(*scramExchange), func() { during() }}
		}})
		for range failures {
			if cause := proves(t, c, "ann", "wrong", here); cause != "bad-password" {
				t.Fatalf("a wrong proof: %q", cause)
			}
		}
		var missing atomic.Int32
		missing.Store(proofs)
		all := make(chan struct{}) // are there
		arrive := func() {
			if missing.Add(-1) == 0 {
				close(all)
			}
		}
		during = func() {
			arrive()
			select {
			case <-all:
			case <-time.After(100 * time.Millisecond):
			}
		}
		var ended sync.WaitGroup
		for _, ch := range challengedOften(t, c, proofs, "ann's") {
			ended.Go(func() {
				cause := ch.prove(t)
				if cause != "" {
					t.Errorf("a right proof after %d failures: %q", failures, cause)
				}
				if cause == "back-off" { // it was not looked at
					arrive()
				}
			})
		}
		ended.Wait()
	}
}

// TestSCRAMBan: wrong proofs for many users ban their address, which then is told nothing.
func TestSCRAMBan(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := withSCRAM(t, func(o *Options) { o.Backoff.BanAfter = 5 })
		for range 5 {
			if cause := proves(t, c, "user "+time.Now().String(), "wrong", here); cause != "bad-password" {
				t.Errorf("%q", cause)
			}
			time.Sleep(time.Second)
		}
		if _, cause := challenged(t, c, "ann", "ann's", here); cause != "banned" {
			t.Errorf("after five: %q", cause)
		}
		if _, _, err := c.Exchange(SCRAMSHA256, &access.Attempt{Address: here}).Next(t.Context(), []byte("no SCRAM")); reasonOf(err) != codec.ConnectionRateExceeded {
			t.Errorf("%v", err)
		}
	})
}
