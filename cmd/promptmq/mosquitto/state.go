package mosquitto

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"time"
)

// NeverExpires is the Session Expiry Interval of a Session that does not expire.
const NeverExpires = 0xFFFFFFFF

// A State is what a Mosquitto has stored of Sessions and messages. Its sequences can be read
// more than once; an error is the last of one. Messages are read one at a time.
type State interface {
	// Format says what was read.
	Format() string
	// Sessions are those that were stored; what is in one counts until the next.
	Sessions() iter.Seq2[*Session, error]
	// Retained are the retained messages.
	Retained() iter.Seq2[*Message, error]
	// Close ends reading.
	Close() error
}

// A Session is the Session State of one Client.
type Session struct {
	ClientID string
	// UserName is whose it is; empty: nobody said who it was, or OwnerUnknown.
	UserName string
	// OwnerUnknown says that Mosquitto has stored a user name that may be another's.
	OwnerUnknown bool
	// ExpirySeconds is the Session Expiry Interval.
	ExpirySeconds uint32
	// ExpiresAt is when it ends; zero: never, or it was connected.
	ExpiresAt     time.Time
	Subscriptions []Subscription
	// Queue has the messages to and from the Client, in order.
	Queue func() iter.Seq2[*Queued, error]
}

// A Subscription is what a Client asked for with one Topic Filter. Section 3.8.3.1.
type Subscription struct {
	Filter            string // with $share/ if shared
	QoS               byte
	NoLocal           bool
	RetainAsPublished bool
	RetainHandling    byte
	ID                uint32 // the Subscription Identifier; 0: none
}

// withOptions sets what the byte of SUBSCRIBE says beside the QoS.
func (s *Subscription) withOptions(options byte) {
	s.NoLocal, s.RetainAsPublished, s.RetainHandling = options&0x04 != 0, options&0x08 != 0, options>>4&3
}

// A Step is how far a message to or from a Client has come.
type Step byte

// The Steps.
const (
	Waiting  Step = iota // to the Client, and not sent
	Sent                 // to the Client, which has not acknowledged it
	Released             // to the Client, which has sent PUBREC and not PUBCOMP
	Received             // from the Client, which has not sent PUBREL: it was not passed on
	Passed               // from the Client, and passed on: PUBCOMP is to come
)

// A Queued is a message to or from the Client of a Session.
type Queued struct {
	Step     Step
	PacketID uint16
	// QoS and Retain are those of this delivery.
	QoS             byte
	Retain          bool
	SubscriptionIDs []uint32
	// Message reads it.
	Message func() (*Message, error)
}

// A Message is as it was published.
type Message struct {
	Topic   string
	Payload []byte
	// Properties are those that a Server passes on, encoded as in a PUBLISH, without the
	// Message Expiry Interval.
	Properties []byte
	QoS        byte
	Retain     bool
	ExpiresAt  time.Time // zero: never
	// ClientID and UserName are the publisher's; empty: not known.
	ClientID, UserName string
	// Fault says why it cannot be taken; nil: it can.
	Fault error
}

// Where a message stands, by the numbers that Mosquitto stores.
const (
	statePublishQoS0   = 1
	statePublishQoS1   = 2
	stateWaitPuback    = 3
	statePublishQoS2   = 4
	stateWaitPubrec    = 5
	stateResendPubrel  = 6
	stateWaitPubrel    = 7
	stateResendPubcomp = 8
	stateWaitPubcomp   = 9
	stateSendPubrec    = 10
	stateQueued        = 11

	directionIn  = 0
	directionOut = 1
)

// stepOf says what direction and state mean. What is about to be sent may have been.
func stepOf(direction, state int64) (Step, error) {
	switch direction {
	case directionIn:
		switch state {
		case stateWaitPubrel, stateSendPubrec, stateQueued, statePublishQoS2:
			return Received, nil
		case stateResendPubcomp, stateWaitPubcomp:
			return Passed, nil
		}
	case directionOut:
		switch state {
		case stateQueued, statePublishQoS0:
			return Waiting, nil
		case statePublishQoS1, stateWaitPuback, statePublishQoS2, stateWaitPubrec:
			return Sent, nil
		case stateResendPubrel, stateWaitPubcomp:
			return Released, nil
		}
	}
	return 0, fmt.Errorf("a message has direction %d and state %d, which are not known", direction, state)
}

// unixTime is a time that Mosquitto stores in seconds; 0: none.
func unixTime(seconds int64) time.Time {
	if seconds <= 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

// OpenState opens a mosquitto.db, or the SQLite database of Mosquitto 2.1, whatever its
// name, and looks through it. What it cannot give is added to the report.
func OpenState(file string, r *Report) (State, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	head := make([]byte, len(sqliteMagic))
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, f.Close())
	}
	if string(head[:n]) == sqliteMagic {
		if err := f.Close(); err != nil {
			return nil, err
		}
		return openSQLite(file, r)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	db, err := openDatabase(file, f, info.Size(), r)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", file, err), f.Close())
	}
	return db, nil
}
