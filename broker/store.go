package broker

import (
	"time"

	"github.com/x0a1b/promptmq/session"
)

// Store keeps what acknowledgements promise. Apply makes a batch durable before
// it returns, all of it or nothing, and keeps nothing of it in memory; after an error the same batch may be
// applied again, and that is sure to succeed some time if the error is
// session.ErrNoSpace, and never if it is session.ErrStoreGone. Gone returns that
// error as soon as it is so. LastTime is about the latest Batch.Time of all processes, at most
// a second earlier, and the Batch.System of then; zero: none. Room is about how many bytes more may be stored; math.MaxInt64:
// there is no limit. Tidy does a little of what can wait until there is nothing
// else to do, and reports whether there is more. Remove does, in a transaction of its own, some of
// what Apply was told to remove and has put off; Removing reports whether there is any. Apply, Tidy,
// Removing and Remove are called by one goroutine, Page, Room and Gone by any.
type Store interface {
	Load(eachSession func(*session.Loaded) error, eachRetained func(topic string, version uint64, m *session.Message) error) error
	NextID() session.ID
	LastTime() (last, system time.Time)
	Apply(*session.Batch) error
	Page(id session.ID, from uint64, entriesMax, bytesMax int) ([]session.Entry, error)
	Room() int64
	Tidy() (more bool, err error)
	Removing() bool
	Remove() (more bool, err error)
	Gone() error
}
