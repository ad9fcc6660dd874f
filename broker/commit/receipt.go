package commit

import "sync/atomic"

// A Receipt stands for a QoS 1 message of which every durable copy was sent to a Client
// that may acknowledge it before the commit. When all have, nothing of the message has to be
// on disk, and the publisher's PUBACK goes at once.
type Receipt struct {
	unacknowledged atomic.Int32 // copies, and one while the message is routed
	waiter         Waiter       // the publisher's
}

// NewReceipt returns a Receipt for a message that is being routed, until Routed is called.
// Merge returns w when an acknowledgement has completed the Receipt.
func NewReceipt(w Waiter) *Receipt {
	r := &Receipt{waiter: w}
	r.unacknowledged.Store(1)
	return r
}

// Add counts a copy that may be acknowledged before the commit.
func (r *Receipt) Add() { r.unacknowledged.Add(1) }

// Routed says that no copy will be added, and reports whether that completed the Receipt.
func (r *Receipt) Routed() bool { return r.count() }

// count notes that a copy is acknowledged, or the routing over, and reports whether that
// was the last.
func (r *Receipt) count() bool { return r.unacknowledged.Add(-1) == 0 }

// Complete reports whether all copies are acknowledged; it is false for nil.
func (r *Receipt) Complete() bool { return r != nil && r.unacknowledged.Load() == 0 }
