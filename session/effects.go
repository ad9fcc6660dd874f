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
	// Removed are the Seqs of durable entries that are done. One that still
	// waits for its commit is never written at all.
	Removed []uint64
	Sends   []Send

	// Awaited says that the Client may acknowledge all of Entries before they are
	// committed: they are sent, or will be when it has acknowledged others.
	Awaited bool
	// Acknowledged says that PUBACK came: what is Removed is done for good, and no other
	// Session gets it. (An entry with QoS 2 was committed before it was sent.)
	Acknowledged bool
	// State says that the State changed in a way that must be committed.
	State bool
	// Page asks for the next stored entries: see Session.Paged.
	Page bool

	// Discarded are the Seqs of entries to remove from disk, wherever they
	// stand in the queue.
	Discarded []uint64
	// DiscardedRanges are Seqs of entries that are done and may be removed from disk
	// where they stand together: with each stored run that is wholly in one of them.
	DiscardedRanges []SeqRange
	// Rows is what changes beside the queue and the State; nil, as nearly always: nothing.
	Rows *Rows

	Dropped
	LastDropped LastDropped

	spare *Rows // memory for Rows; nil: none
}

// Dropped counts messages that an event made a Session drop.
type Dropped struct {
	// Expired, TooLarge and TooOld count messages dropped for this reason.
	Expired, TooLarge, TooOld int
	// DroppedNewest and DroppedOldest count messages that a full queue did
	// not take, and those that left it to make room.
	DroppedNewest, DroppedOldest int
}

// LastDropped is the last message of a queue that an event made a Session drop, if that was
// because of Why. What a full queue did not take is not among them.
type LastDropped struct {
	Message *Message // nil: none was
	QoS     codec.QoS
	Why     DropCause
}

// A DropCause is why a message left a queue without being delivered.
type DropCause byte

const (
	Expired DropCause = iota
	TooLarge
	TooOld
	MadeRoom // for a newer one
)

// dropped counts e, which is dropped from the queue.
func (fx *Effects) dropped(e *Entry, why DropCause) {
	switch why {
	case Expired:
		fx.Expired++
	case TooLarge:
		fx.TooLarge++
	case TooOld:
		fx.TooOld++
	case MadeRoom:
		fx.DroppedOldest++
	}
	fx.LastDropped = LastDropped{e.Message, e.QoS, why}
}

// Reset empties fx for the next event. It is called for each message, twice: it writes
// little, and one by one, since there are few Entries and Sends.
func (fx *Effects) Reset() {
	for i := range fx.Entries {
		e := &fx.Entries[i]
		*e = Entry{}
	}
	for i := range fx.Sends {
		s := &fx.Sends[i]
		s.Message, s.SubscriptionIDs = nil, nil
	}
	fx.Entries, fx.Removed, fx.Sends = fx.Entries[:0], fx.Removed[:0], fx.Sends[:0]
	fx.Awaited, fx.Acknowledged, fx.State, fx.Page = false, false, false, false
	fx.Discarded = fx.Discarded[:0]
	if fx.DiscardedRanges != nil {
		fx.DiscardedRanges = nil
	}
	if fx.Rows != nil {
		fx.releaseRows()
	}
	fx.Dropped = Dropped{}
	if fx.LastDropped.Message != nil {
		fx.LastDropped = LastDropped{}
	}
}

// releaseRows keeps the memory of Rows for events that come many in a row: those of
// retained messages that are owed. The others are too few for every connection to
// keep memory for them.
func (fx *Effects) releaseRows() {
	r := fx.Rows
	fx.Rows = nil
	if len(r.Owed) == 0 {
		return
	}
	clear(r.Owed)
	*r = Rows{Owed: r.Owed[:0]}
	fx.spare = r
}

// rows returns fx.Rows, made if it is nil, with at least this Urgency.
func (fx *Effects) rows(u Urgency) *Rows {
	if fx.Rows == nil {
		if fx.Rows, fx.spare = fx.spare, nil; fx.Rows == nil {
			fx.Rows = new(Rows)
		}
	}
	fx.Rows.Urgency = max(fx.Rows.Urgency, u)
	return fx.Rows
}

// Urgency says who waits for Rows to be committed.
type Urgency byte

const (
	// Lazily: nobody waits, and what is added and removed within one group is
	// never written. The broker sees to it that the group is committed some time.
	Lazily Urgency = iota
	// Soon: nobody waits, but no acknowledgement makes the commit needless.
	Soon
	// MustCommit: somebody waits, or will.
	MustCommit
)

// Rows are the rows of a Session beside its queue and its State that an event
// changes. See Writes, which has the same of all events of one commit group.
type Rows struct {
	Urgency Urgency
	// Record replaces the Session's own row.
	Record *Record
	// HasWill says that Will replaces the stored Will; a nil Will removes it.
	HasWill bool
	Will    *Will
	// Subscriptions are in the order in which they changed.
	Subscriptions []SubscriptionRow
	// Owed is what subscriptions are owed of the retained messages.
	Owed []OwedRow
	// Ended removes every trace of the Session: see Session.End.
	Ended bool
	// State, if it is not nil, is the encoded State of a Session that has ended, of
	// whose queue there is nothing below Floor any more.
	State []byte
	Floor uint64
}

// A SubscriptionRow replaces (or, with a nil Subscription, removes) what is stored of a
// subscription. Filter is as the Client sent it.
type SubscriptionRow struct {
	Filter       string
	Subscription *Subscription
}

// An OwedRow replaces (or, with a zero Owed, removes) what is stored of what a
// subscription is owed.
type OwedRow struct {
	Filter string
	Owed
	// First: nothing was stored for this Filter, nor is to be.
	First bool
}

// MayGoOn reports whether another member of the Shared Subscription may get a message that
// Deny is told of: not if its delivery with QoS 2 has begun before. [MQTT-4.8.2-5]
func (s *Send) MayGoOn() bool { return s.Shared && !(s.QoS == 2 && s.Dup) }

// A Send is one packet for the attached Client: a PUBLISH, or, if Message is
// nil, a PUBREL.
type Send struct {
	Message         *Message
	SubscriptionIDs []uint32
	PacketID        uint16
	QoS             codec.QoS
	Dup, Retain     bool
	AfterCommit     bool
	Shared          bool // by a Shared Subscription
}
