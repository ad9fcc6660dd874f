package session

import "github.com/x0a1b/promptmq/codec"

// Effects is what a Session asks of the broker after an event: what to store
// and what to send. The broker first merges the writes into the open commit
// group and then sends; a Send with AfterCommit leaves only when everything
// this Session has written so far is on disk. An Effects is reused: Reset
// keeps its memory.
type Effects struct {
	// Entries are new in the durable queue, in growing Seq.
	Entries []Entry
	// Awaited says that the Client may acknowledge all of Entries before they are
	// committed: they are sent, or will be when it has acknowledged others.
	Awaited bool
	// Removed are the Seqs of durable entries that are done. One that still
	// waits for its commit is never written at all.
	Removed []uint64
	// Acknowledged says that Removed are done for good, by an acknowledgement: no
	// other Session gets them.
	Acknowledged bool
	// Discarded are the Seqs of entries to remove from disk, wherever they
	// stand in the queue.
	Discarded []uint64
	// State says that the State changed in a way that must be written.
	State bool

	Sends []Send
	// Page asks for the next stored entries: see Session.Paged.
	Page bool

	Dropped
}

// Dropped counts messages that an event made a Session drop.
type Dropped struct {
	// Expired, TooLarge and TooOld count messages dropped for this reason.
	Expired, TooLarge, TooOld int
	// DroppedNewest and DroppedOldest count messages that a full queue did
	// not take, and those that left it to make room.
	DroppedNewest, DroppedOldest int
}

// Reset empties fx for the next event.
func (fx *Effects) Reset() {
	clear(fx.Entries)
	clear(fx.Sends)
	entries, removed, discarded, sends := fx.Entries[:0], fx.Removed[:0], fx.Discarded[:0], fx.Sends[:0]
	*fx = Effects{} // in place, not by a copy on the stack
	fx.Entries, fx.Removed, fx.Discarded, fx.Sends = entries, removed, discarded, sends
}

// A Send is one packet for the attached Client: a PUBLISH, or, if Message is
// nil, a PUBREL.
type Send struct {
	Message         *Message
	PacketID        uint16
	QoS             codec.QoS
	Dup, Retain     bool
	SubscriptionIDs []uint32
	AfterCommit     bool
}
