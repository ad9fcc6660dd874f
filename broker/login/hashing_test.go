package login

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0a1b/promptmq/broker/access"
)

// No more passwords are compared at once than workers say, and no more wait than there are
// places; what is over that is refused at once.
func TestHashingBounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, func(o *Options) { o.HashingWorkers, o.HashingPlaces = 2, 8 })
		var users []User
		for n := range 100 {
			users = append(users, User{Name: fmt.Sprint(n), Hash: hashOf(t, "right")})
		}
		c.SetUsers(users)
		var at, most atomic.Int64
		compare := c.hashing.compare
		c.hashing.compare = func(h *access.Hash, password []byte) bool {
			defer at.Add(-1)
			if n := at.Add(1); n > most.Load() {
				most.Store(n)
			}
			return compare(h, password)
		}
		var all sync.WaitGroup
		causes := make(map[string]int)
		var mu sync.Mutex
		from := here
		for n := range 100 {
			from = from.Next()
			from := from
			all.Go(func() {
				cause, took := c.login(t.Context(), credentials(fmt.Sprint(n), "right", from))
				mu.Lock()
				defer mu.Unlock()
				causes[cause]++
				if cause == "busy" && took > 0 {
					t.Errorf("busy after %v", took)
				}
			})
		}
		synctest.Wait()
		if n := c.HashesWaiting(); n > 8 {
			t.Errorf("%d wait", n)
		}
		all.Wait()
		if most.Load() != 2 || causes[""] < 8 || causes[""] > 10 || causes[""]+causes["busy"] != 100 {
			t.Errorf("%d at once, %v", most.Load(), causes)
		}
		synctest.Wait()
		if c.hashing.running != 0 || len(c.hashing.open) != 0 || len(c.hashing.from) != 0 {
			t.Errorf("left: %+v", c.hashing)
		}
		for n := range 100 { // the back-off counts none of them
			if cause, _ := c.login(t.Context(), credentials(fmt.Sprint(n), "right", here)); cause != "" {
				t.Fatalf("%q afterwards", cause)
			}
		}
	})
}

// A flood from one address leaves places for others, and one of names that do not exist those
// of the users that were here before.
func TestHashingFairness(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, func(o *Options) { o.HashingPlaces, o.Remember = 16, 0 })
		c.SetUsers([]User{{Name: "ann", Hash: hashOf(t, "ann's")}, {Name: "ben", Hash: hashOf(t, "ben's")}})
		local := netip.MustParseAddr("127.0.0.1")
		c.expect(t, credentials("ann", "ann's", local), "", comparing)
		ctx, stop := context.WithCancel(t.Context())
		for i := range 20 {
			go func() {
				for n := 0; ctx.Err() == nil; n++ {
					_, _ = c.Authenticate(ctx, credentials(fmt.Sprint(i, " ", n), "x", local))
					time.Sleep(time.Millisecond)
				}
			}()
		}
		time.Sleep(time.Second)
		if cause, took := c.login(ctx, credentials("ann", "ann's", local)); cause != "" || took > 2*comparing {
			t.Errorf("one that was here before: %q after %v", cause, took)
		}
		if cause, took := c.login(ctx, credentials("ben", "ben's", here)); cause != "" || took > 10*comparing {
			t.Errorf("from another address: %q after %v", cause, took)
		}
		stop()
		time.Sleep(time.Minute)
	})
}

// countCompared counts the passwords that are compared from now on.
func countCompared(c *Chain) *atomic.Int64 {
	compared, compare := new(atomic.Int64), c.hashing.compare
	c.hashing.compare = func(h *access.Hash, password []byte) bool {
		compared.Add(1)
		return compare(h, password)
	}
	return compared
}

// A storm of wrong passwords from one address has a part of the workers' time: a stranger at
// another is next, and nothing of it stays.
func TestHashingRests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, func(o *Options) { o.Remember = 0 })
		c.SetUsers([]User{{Name: "ann", Hash: hashOf(t, "ann's")}, {Name: "ben", Hash: hashOf(t, "ben's")}})
		compared := countCompared(c)
		local := netip.MustParseAddr("127.0.0.1")
		ctx, stop := context.WithCancel(t.Context())
		for i := range 100 {
			go func() {
				for n := 0; ctx.Err() == nil; n++ {
					within, cancel := context.WithTimeout(ctx, 10*time.Second)
					if cause, _ := c.login(within, credentials(fmt.Sprint(i, " ", n), "x", local)); cause == "late" && ctx.Err() == nil {
						t.Error("one has waited in vain")
					}
					cancel()
					time.Sleep(comparing)
				}
			}()
		}
		time.Sleep(64*comparing + comparing/2) // until fewer wait
		began := compared.Load()
		time.Sleep(40 * comparing)
		if n := compared.Load() - began; n != 40/(1+restShare) {
			t.Errorf("%d compared in the time of 40", n)
		}
		time.Sleep(15 * time.Second)
		for n := range 3 { // of which none waits for more than the one that is being compared
			from := netip.AddrFrom4([4]byte{192, 0, 2, byte(n)})
			if cause, took := c.login(ctx, credentials("ben", "ben's", from)); cause != "" || took > 2*comparing {
				t.Errorf("from another address: %q after %v", cause, took)
			}
		}
		stop()
		synctest.Wait()
		time.Sleep(restMax)
		synctest.Wait()
		c.hashing.mu.Lock()
		defer c.hashing.mu.Unlock()
		if h := c.hashing; h.running != 0 || h.others != 0 || len(h.open) != 0 || len(h.from) != 0 || len(h.lines) != 0 {
			t.Errorf("left: %+v", h)
		}
	})
}

// Addresses take turns: one with many that wait does not have its own before all others.
func TestHashingTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, func(o *Options) { o.Remember = 0 })
		c.SetUsers([]User{{Name: "ann", Hash: hashOf(t, "ann's")}})
		first := netip.MustParseAddr("198.51.100.1")
		for n := range 60 {
			go c.login(t.Context(), credentials("ann", fmt.Sprint(n), first.Next()))
			go c.login(t.Context(), credentials(fmt.Sprint("nobody", n), "x", first))
		}
		synctest.Wait()
		if cause, took := c.login(t.Context(), credentials("ann", "ann's", here)); cause != "" || took > 4*comparing {
			t.Errorf("%q after %v", cause, took)
		}
		time.Sleep(time.Minute)
	})
}

// A connection that goes while it waits gives its place back, and its password is not
// compared; connections with the same one wait for one comparison.
func TestHashingLeave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, func(o *Options) { o.Remember = 0 })
		c.SetUsers([]User{{Name: "ann", Hash: hashOf(t, "ann's")}, {Name: "ben", Hash: hashOf(t, "ben's")}})
		compared := countCompared(c)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { c.expect(t, credentials("ann", "ann's", here), "", comparing) })
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), comparing/2)
		defer cancel()
		if cause, took := c.login(ctx, credentials("ben", "ben's", here)); cause != "late" || took != comparing/2 {
			t.Errorf("%q after %v", cause, took)
		}
		all.Wait()
		synctest.Wait()
		if compared.Load() != 1 || c.HashesWaiting() != 0 || len(c.hashing.open) != 0 || len(c.hashing.from) != 0 {
			t.Errorf("%d compared; left: %+v", compared.Load(), c.hashing)
		}
		c.expect(t, credentials("ben", "ben's", here), "", comparing)
	})
}

// Fewer workers take effect while there is work.
func TestHashingFewerWorkers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, func(o *Options) { o.HashingWorkers = 4 })
		c.SetUsers([]User{{Name: "ann", Hash: hashOf(t, "ann's")}})
		for n := range 20 {
			from := netip.AddrFrom4([4]byte{192, 0, 2, byte(n)})
			go c.login(t.Context(), credentials(fmt.Sprint(n), "x", from))
		}
		synctest.Wait()
		o := DefaultOptions()
		o.HashingWorkers = 1
		c.SetOptions(o)
		time.Sleep(comparing + 1)
		c.hashing.mu.Lock()
		running := c.hashing.running
		c.hashing.mu.Unlock()
		if running != 1 {
			t.Errorf("%d run", running)
		}
		time.Sleep(time.Minute)
	})
}

// A digest tells apart what its parts are, and those of two processes.
func TestDigest(t *testing.T) {
	t.Parallel()
	k, other := newKeyed(), newKeyed()
	long := make([]byte, 5000)
	seen := make(map[access.Digest]bool)
	for _, d := range []access.Digest{
		k.digest(), k.digest(nil), k.digest([]byte("ab"), []byte("c")), k.digest([]byte("a"), []byte("bc")), k.digest([]byte("abc")),
		other.digest([]byte("abc")), k.digest(long), k.digest(long[1:]),
	} {
		if seen[d] {
			t.Errorf("%x twice", d)
		}
		seen[d] = true
	}
	if again := k.digest([]byte("abc")); !seen[again] {
		t.Error("the same parts have two digests")
	}
}
