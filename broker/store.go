package broker

import (
	"time"

	"github.com/x0a1b/promptmq/session"
)

// Store keeps what acknowledgements promise. Page, Room and Gone may be called by any
// goroutine, and Load before all others. Apply, Tidy, Removing and Remove are called by
// one goroutine.
type Store interface {
	// Load reads back what is stored.
	Load(eachSession func(*session.Loaded) error, eachRetained func(topic string, r *session.RetainedWrite) error) error
	// NextID is above the identifier of every Session that was ever stored.
	NextID() session.ID
	// LastTime is the latest Batch.Time of all processes, or up to a second earlier,
	// and the Batch.System of then; zero: there is none.
	LastTime() (last, system time.Time)
	// Apply makes a batch durable before it returns, all of it or nothing, and keeps
	// nothing of it in memory. After an error nothing of it is durable, and the same batch
	// may be applied again. That is sure to succeed some time if the error is
	// session.ErrNoSpace or session.ErrStoreBusy: the broker waits and acknowledges
	// nothing. It never does if it is session.ErrStoreGone: the broker stops at once. After
	// any other it is tried a few times, and then the broker stops.
	Apply(*session.Batch) error
	// Page reads the queue of a Session from a Seq on.
	Page(id session.ID, from uint64, entriesMax, bytesMax int) ([]session.Entry, error)
	// Room is about how many bytes more may be stored; math.MaxInt64: there is no limit.
	Room() int64
	// Tidy does a little of what can wait until there is nothing else to do, and
	// reports whether there is more.
	Tidy() (more bool, err error)
	// Removing reports whether anything is left of what Apply was told to remove and has
	// put off. Remove does some of that, in a transaction of its own.
	Removing() bool
	Remove() (more bool, err error)
	// Gone returns session.ErrStoreGone as soon as Apply would.
	Gone() error
}
