package session

import (
	"slices"
	"sync/atomic"

	"github.com/x0a1b/promptmq/codec"
)

// Limits bound what one Session may hold.
type Limits struct {
	// WindowMessages and WindowBytes bound the entries of a durable queue
	// that are kept in memory; the rest stays on disk until it is its turn.
	WindowMessages int
	WindowBytes    int
	// QueueMessages and QueueBytes bound the whole queue; Full reports it.
	QueueMessages int
	QueueBytes    int64
	// Policy says what becomes of a message for a full queue.
	Policy QueuePolicy
	// Inflight is the most QoS 1 and 2 messages on their way to the Client.
	Inflight int

	// Scarce says that little memory is left: then a window has one part in scarceShare of
	// what it may have. nil: it never is.
	Scarce *atomic.Bool

	packetIDs int // how many Packet Identifiers there are; 0: 65,535. Fewer in tests.
}

// A Session is the Session State of one Client (section 4.1) as a state
// machine. It is not safe for concurrent use; it does no I/O and has no clock:
// events bring the time, and what is to be written and sent comes back in an
// Effects.
type Session struct {
	// Static after New or Restore; a UserName that is empty is given when the Client is known.
	ID       ID
	ClientID string
	UserName string
	limits   *Limits // shared by all Sessions
	durable  bool

	// The connection attached now.
	attached       bool
	receiveMaximum uint16 // of its QoS 1 and 2 messages
	packetBytesMax uint32 // 0: none

	version       codec.Version // of the connection attached now or last
	willKept      bool          // will is stored although the Session is not Durable
	expirySeconds uint32
	will          *Will
	subscriptions map[string]*Subscription // by Topic Filter, with $share/ if shared

	// deliverState is nil until the first message is queued, unless the Session
	// is Durable: most Clients only publish, or say nothing at all.
	*deliverState
	receiveState
}

// New returns a fresh Session. A durable one outlives its Network Connection,
// so its changes are written; it stays so even if a later connection sets its
// Session Expiry Interval to 0.
func New(id ID, clientID, userName string, durable bool, limits *Limits) *Session {
	s := &Session{ID: id, ClientID: clientID, UserName: userName, durable: durable, limits: limits}
	if durable {
		s.startQueue()
	}
	return s
}

// Restore returns a Session as a store holds it. Its queue stays on disk until
// a connection asks for it. Resume or End follows.
func Restore(l *Loaded, limits *Limits) (*Session, error) {
	var st State
	if err := st.Decode(l.State); err != nil {
		return nil, err
	}
	s := New(l.Record.ID, l.Record.ClientID, l.Record.UserName, true, limits)
	s.version, s.expirySeconds, s.will = l.Record.Version, l.Record.ExpirySeconds, l.Will
	for i := range l.Subscriptions {
		s.restoreSubscription(&l.Subscriptions[i])
	}
	s.restoreOwed(l.Owed)
	s.received = st.Received
	s.restoreQueue(&st, l)
	s.check()
	return s, nil
}

// Durable reports whether the Session's changes are written. [MQTT-3.1.2-23]
func (s *Session) Durable() bool { return s.durable }

// AppendState appends the encoded State of a Durable Session to dst, which is
// to be written.
func (s *Session) AppendState(dst []byte) []byte {
	s.sentNoted = max(s.sent, s.floor)
	if s.attached { // what is sent next needs no State of its own
		s.sentNoted = max(s.sentNoted, min(s.sent+uint64(s.receiveMaximum), s.next))
	}
	st := State{
		Floor: s.floor, Sent: s.sentNoted, Next: s.next, MaybeSent: s.stillMaybeSent(), Lost: s.lost,
		Done: s.done, Released: s.released, Received: s.received,
	}
	if x := s.ids.x; x != nil {
		st.identified = x.list
	}
	s.check()
	return st.Append(dst)
}

// appendLeft appends the State of a Session that has ended, of which nothing is
// left but what is stored from the Seq from on, for Orphans.
func (s *Session) appendLeft(dst []byte, from uint64) []byte {
	st := State{Floor: from, Sent: max(s.sent, from), Next: max(s.next, from), Done: slices.Clone(s.done)}
	st.Done.trim(from)
	for _, seq := range s.released {
		if seq >= from {
			st.Released = append(st.Released, seq)
		}
	}
	return st.Append(dst)
}
