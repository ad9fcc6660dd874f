package commit

import "sync/atomic"

// A Receipt stands for a QoS 1 message of which every durable copy went to a
// Client that may acknowledge it before the commit. When all have, the message
// has nothing to leave on disk, and the publisher's PUBACK goes at once.
type Receipt struct {
	unacknowledged atomic.Int32 // copies, and one while the message is routed
	waiter         Waiter       // the publisher's
}

// NewReceipt returns a Receipt for a message that is being routed: see Routed. Who
// finds that it has become complete lets w know.
func NewReceipt(w Waiter) *Receipt {
	r := &Receipt{waiter: w}
	r.unacknowledged.Store(1)
	return r
}

// Add counts a copy that may be acknowledged before the commit.
func (r *Receipt) Add() { r.unacknowledged.Add(1) }

// Routed says that no copy is added any more, and reports whether the Receipt became
// complete by that.
func (r *Receipt) Routed() bool { return r.count() }

// count takes a copy, or the routing, from what is left, and reports whether that was
// the last.
func (r *Receipt) count() bool { return r.unacknowledged.Add(-1) == 0 }

// Complete reports whether all copies are acknowledged. r may be nil, and is then not.
func (r *Receipt) Complete() bool { return r != nil && r.unacknowledged.Load() == 0 }
