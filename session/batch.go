package session

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// ErrNoSpace is the error of a store that took nothing of a Batch because there
// is no space: the same Batch can be stored when there is some again.
var ErrNoSpace = errors.New("session: no space to store")

// ErrStoreBusy is the error of a store that took nothing of a Batch because it takes
// nothing for now, as one that another program has locked: the same Batch can be stored
// when that is over.
var ErrStoreBusy = errors.New("session: the store takes nothing for now")

// ErrStoreGone is the error of a store that is ours no longer, as one whose files are not
// where the next start would look for them: what it takes is lost, and no further try helps.
var ErrStoreGone = errors.New("session: the store is gone")

// An ID is the incarnation number of a Session. A store never gives one out
// twice, so a late write for an ended Session can never touch its successor.
type ID uint64

// NeverExpires is the Session Expiry Interval of a Session that does not expire.
const NeverExpires = 0xFFFFFFFF

// A Batch is everything one transaction writes: all of it becomes durable, or
// none of it. Each part replaces what was stored before for the same key.
type Batch struct {
	Sessions map[ID]*Writes
	// Retained is keyed by Topic Name.
	Retained map[string]RetainedWrite
	// Time is when it is written, by the clock that deadlines are told in. A
	// store keeps the latest; zero: none. System is what the system clock says then.
	Time, System time.Time
}

// NewBatch returns an empty Batch.
func NewBatch() *Batch {
	return &Batch{Sessions: make(map[ID]*Writes), Retained: make(map[string]RetainedWrite)}
}

// Writes is what a Batch writes for one Session. Zero fields change nothing.
type Writes struct {
	// Ended removes every trace of the Session; all other fields are ignored.
	Ended bool
	// Record replaces the Session's own row.
	Record *Record
	// HasWill says that Will replaces the stored Will; a nil Will removes it.
	HasWill bool
	Will    *Will
	// Subscriptions is keyed by Topic Filter as the Client sent it (with
	// $share/); a nil value removes the subscription.
	Subscriptions map[string]*Subscription
	// Owed is keyed by Topic Filter; a zero value removes what is stored.
	Owed map[string]Owed
	// State replaces the encoded State if it is not nil.
	State []byte
	// Floor removes the queue entries with a lower Seq. FloorBefore is the Floor of
	// an earlier Batch, which bounds how many there are; 0: not known.
	Floor, FloorBefore uint64
	// Discarded are queue entries to remove wherever they stand in the queue.
	Discarded []uint64
	// DiscardedRanges removes each stored run that is wholly in one of them.
	DiscardedRanges []SeqRange
	// Entries are appended to the queue, in growing Seq. An entry whose
	// Message is nil was delivered and acknowledged before the commit: it is
	// not written; Elided counts those that were dropped from here for that.
	Entries []Entry
	Elided  int

	struck    int                 // of Entries
	owedFirst map[string]struct{} // the keys of Owed that are not stored
}

// struckMin is from how many struck entries on their memory is freed, if they are
// half of all.
const struckMin = 1024

// BesideEntries reports whether there is anything to write but Entries.
func (w *Writes) BesideEntries() bool {
	return w.Ended || w.Record != nil || w.HasWill || len(w.Subscriptions) > 0 || len(w.Owed) > 0 || w.State != nil ||
		len(w.Discarded) > 0 || len(w.DiscardedRanges) > 0
}

// EntriesLen is the number of Entries, struck ones too. w may be nil.
func (w *Writes) EntriesLen() int {
	if w == nil {
		return 0
	}
	return len(w.Entries)
}

// Strike takes the entry with this Seq out of what will be written, and returns
// its Receipt and whether it was there. w may be nil.
func (w *Writes) Strike(seq uint64) (receipt any, found bool) {
	if w == nil || len(w.Entries) == 0 || seq < w.Entries[0].Seq {
		return nil, false
	}
	at := seq - w.Entries[0].Seq // if nothing is missing before it, as nearly always
	if at >= uint64(len(w.Entries)) || w.Entries[at].Seq != seq {
		i, found := slices.BinarySearchFunc(w.Entries, seq, func(e Entry, seq uint64) int { return cmp.Compare(e.Seq, seq) })
		if !found {
			return nil, false
		}
		at = uint64(i)
	}
	e := &w.Entries[at]
	if e.Message == nil {
		return nil, false
	}
	receipt = e.Receipt
	*e = Entry{Seq: seq}
	if w.struck++; w.struck >= struckMin && w.struck >= len(w.Entries)/2 {
		had := len(w.Entries)
		w.Entries = slices.DeleteFunc(w.Entries, func(e Entry) bool { return e.Message == nil })
		w.Elided += had - len(w.Entries)
		w.struck = 0
	}
	return receipt, true
}

// Merge adds what an event changes to what earlier ones of the same commit group did.
func (w *Writes) Merge(r *Rows) {
	w.Ended = w.Ended || r.Ended
	if r.Record != nil {
		w.Record = r.Record
	}
	if r.HasWill {
		w.HasWill, w.Will = true, r.Will
	}
	if len(r.Subscriptions) > 0 && w.Subscriptions == nil {
		w.Subscriptions = make(map[string]*Subscription, len(r.Subscriptions))
	}
	for _, sub := range r.Subscriptions {
		w.Subscriptions[sub.Filter] = sub.Subscription
	}
	for _, o := range r.Owed {
		w.owe(o)
	}
	if r.State != nil {
		w.State, w.Floor = r.State, r.Floor
	}
}

// owe is Merge for one row. What comes and goes within the group is never written.
func (w *Writes) owe(r OwedRow) {
	_, unstored := w.owedFirst[r.Filter]
	if r.Owed == (Owed{}) && unstored {
		delete(w.Owed, r.Filter)
		delete(w.owedFirst, r.Filter)
		return
	}
	if w.Owed == nil {
		w.Owed = make(map[string]Owed)
	}
	if _, removed := w.Owed[r.Filter]; r.First && !removed { // else an earlier one is stored
		if w.owedFirst == nil {
			w.owedFirst = make(map[string]struct{})
		}
		w.owedFirst[r.Filter] = struct{}{}
	}
	w.Owed[r.Filter] = r.Owed
}

// A Record is a Session's row: what is known of it apart from its contents.
type Record struct {
	ID       ID
	ClientID string
	// UserName is that of the CONNECT with which the Session began.
	UserName string
	Version  codec.Version
	// ExpirySeconds is the Session Expiry Interval; NeverExpires: no limit.
	ExpirySeconds uint32
	// Connected says that a Network Connection was attached.
	Connected bool
	// ExpiresAt is when a disconnected Session ends; zero: never, or Connected.
	ExpiresAt time.Time
}

// A Subscription is what a Client asked for with one Topic Filter. Section 3.8.3.1.
type Subscription struct {
	// Filter is as the Client sent it, with $share/ if shared.
	Filter            string
	QoS               codec.QoS
	NoLocal           bool
	RetainAsPublished bool
	RetainHandling    byte
	// ID is the Subscription Identifier; 0: none.
	ID uint32
}

// An Owed says which retained messages a subscription has still to be sent: those
// that have a Version above After and up to UpTo, as long as they are retained.
type Owed struct{ After, UpTo uint64 }

// A Will is a Will Message and when to publish it. Section 3.1.2.5.
type Will struct {
	Message *Message
	// DelaySeconds is the Will Delay Interval.
	DelaySeconds uint32
	// MessageExpirySeconds starts to count when the Will is published.
	HasMessageExpiry     bool
	MessageExpirySeconds uint32
	// DueAt is when to publish it; zero while the connection is open.
	DueAt time.Time
}

// A RetainedWrite replaces (or, with a nil Message, removes) the retained
// message of a Topic Name. Version grows with each change of any retained
// message; of two writes for one topic the higher Version wins. UserName is the user
// whose message it is; empty: nobody's.
type RetainedWrite struct {
	Version  uint64
	UserName string
	Message  *Message
}

// Loaded is what a store holds of one Session, apart from its queue entries,
// which stay on disk until they are paged in.
type Loaded struct {
	Record        Record
	Will          *Will
	Subscriptions []Subscription
	// Owed is keyed by Topic Filter.
	Owed map[string]Owed
	// State is the encoded State; empty: the zero State.
	State []byte
	// FirstSeq is the lowest Seq in the stored queue that may not be done,
	// as far as an index tells; 0: none.
	FirstSeq uint64
	// NextSeq is one more than the highest Seq in the stored queue; 0: none.
	NextSeq uint64
	// QueuedBytes is the sum of Entry.Bytes over the stored queue, as far as
	// the store knows; entries already done may be included.
	QueuedBytes uint64
}
