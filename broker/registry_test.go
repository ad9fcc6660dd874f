package broker

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

// use and unuse let a Client be one that has something to keep, or not.
func (cl *Client) useLocked()   { cl.stored = &stored{client: cl} }
func (cl *Client) unuseLocked() { cl.stored = nil }

// TestRegistry acquires, uses and removes Clients at random, beside a map that says
// which there are: a Client stays the same as long as it is used, an unused one may
// be removed, and then its identifier has a new one with a higher number.
func TestRegistry(t *testing.T) {
	r := &registry{clients: make(map[string]*Client)}
	rnd := randomly(t)
	type known struct {
		cl   *Client
		used bool
	}
	model := make(map[string]known)
	last := uint64(0)
	for range 20000 {
		id := fmt.Sprint(rnd.IntN(20))
		k, there := model[id]
		switch rnd.IntN(5) {
		case 0, 1:
			cl := r.acquire(nil, id)
			switch {
			case cl.gone || cl.id != id || cl.self.client != cl:
				t.Fatalf("%s: a Client that is gone (%v), or of %q", id, cl.gone, cl.id)
			case there && cl != k.cl:
				t.Fatalf("%s: another Client, and the first was not removed", id)
			case !there && cl.order <= last:
				t.Fatalf("%s: a new Client with the number %d after %d", id, cl.order, last)
			}
			last = max(last, cl.order)
			if k.used = rnd.IntN(2) == 0; k.used {
				cl.useLocked()
			} else {
				cl.unuseLocked()
			}
			k.cl = cl
			model[id] = k
			cl.mu.Unlock()
		case 2:
			if !there {
				continue
			}
			r.remove(k.cl)
			if k.cl.gone == k.used {
				t.Fatalf("%s: used %v and removed %v", id, k.used, k.cl.gone)
			}
			if !k.used {
				delete(model, id)
				if rnd.IntN(2) == 0 {
					r.remove(k.cl) // a second time changes nothing, whoever has the identifier now
				}
			}
		case 3:
			if r.has(id) != there {
				t.Fatalf("%s is there: %v", id, !there)
			}
		default:
			all := r.all()
			if len(all) != len(model) {
				t.Fatalf("%d Clients, expected %d", len(all), len(model))
			}
			for _, cl := range all {
				if model[cl.id].cl != cl {
					t.Fatalf("%s: a Client that is not the one", cl.id)
				}
			}
		}
	}
}

// TestRegistryTogether: who acquires a Client has it for itself and not one that is
// gone, whoever else acquires and removes it; none is lost while it is used.
func TestRegistryTogether(t *testing.T) {
	r := &registry{clients: make(map[string]*Client)}
	const workers, rounds, ids = 8, 3000, 3
	var inUse [ids]int // guarded by the lock of the Client that is used
	var running sync.WaitGroup
	rnd := randomly(t)
	for range workers {
		mine := rand.New(rand.NewPCG(rnd.Uint64(), 0))
		running.Go(func() {
			for range rounds {
				i := mine.IntN(ids)
				cl := r.acquire(nil, fmt.Sprint(i))
				if cl.gone || (cl.stored != nil) != (inUse[i] > 0) {
					t.Errorf("gone %v, used %v by %d", cl.gone, cl.stored != nil, inUse[i])
				}
				if inUse[i] > 0 && mine.IntN(2) == 0 {
					inUse[i] = 0
					cl.unuseLocked()
				} else {
					inUse[i]++
					cl.useLocked()
				}
				cl.mu.Unlock()
				r.remove(cl)
			}
		})
	}
	running.Wait()
	for i := range ids {
		if r.has(fmt.Sprint(i)) != (inUse[i] > 0) {
			t.Errorf("identifier %d is used by %d, and is there: %v", i, inUse[i], r.has(fmt.Sprint(i)))
		}
	}
}
