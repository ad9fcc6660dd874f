package login

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"github.com/x0a1b/promptmq/broker/access"
)

// A keyed makes digests that mean nothing outside of this process: without its key nobody can
// try passwords against them.
type keyed [32]byte

func newKeyed() *keyed {
	k := new(keyed)
	_, _ = rand.Read(k[:]) // never fails
	return k
}

// digest returns that of parts, each for itself. The key comes first, and half of the sum is left
// out, without which it cannot be gone on with: so this is as good as HMAC, and much cheaper.
func (k *keyed) digest(parts ...[]byte) (d access.Digest) {
	var room [512]byte
	b := append(room[:0], k[:]...)
	for _, part := range parts {
		b = binary.BigEndian.AppendUint64(b, uint64(len(part)))
		b = append(b, part...)
	}
	sum := sha256.Sum256(b)
	clear(b) // there are passwords
	clear(room[:])
	copy(d[:], sum[:])
	return d
}

// rememberedMax is how many passwords are remembered in each half.
const rememberedMax = 1 << 15

// remembered are digests of a user name, its hash and the password that matched it: when the
// user goes or its password changes, there is none for it. They are kept for half of the time
// at least, and never longer than it.
type remembered struct {
	mu         sync.Mutex // guards the following
	forAtMost  time.Duration
	young, old map[access.Digest]struct{}
	turned     time.Time // when young was begun
}

func (r *remembered) setTime(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d != r.forAtMost {
		r.forAtMost, r.young, r.old = d, nil, nil
	}
}

func (r *remembered) has(d access.Digest, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(now)
	_, young := r.young[d]
	_, old := r.old[d]
	return young || old
}

func (r *remembered) add(d access.Digest, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.forAtMost <= 0 {
		return
	}
	r.turn(now)
	if len(r.young) >= rememberedMax {
		r.old, r.young, r.turned = r.young, nil, now
	}
	if r.young == nil {
		r.young = make(map[access.Digest]struct{})
	}
	r.young[d] = struct{}{}
}

// turn forgets what is too old.
func (r *remembered) turn(now time.Time) {
	half := r.forAtMost / 2
	switch age := now.Sub(r.turned); {
	case len(r.young)+len(r.old) == 0, age >= 2*half:
		r.young, r.old, r.turned = nil, nil, now
	case age >= half:
		r.young, r.old, r.turned = nil, r.young, r.turned.Add(half)
	}
}
