package session

import (
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// A Message is an Application Message that the Server has taken ownership of.
// It is immutable from the moment it is shared and owns all its memory, so any
// number of Sessions, the retained messages and an open commit group may hold it.
type Message struct {
	Topic   string
	Payload []byte
	// Forward holds the encoded properties that a Server passes on unaltered
	// and in order (codec.Forward): payload format, response topic,
	// correlation data, content type and user properties.
	Forward []byte
	// QoS and Retain are those of the PUBLISH (or Will) that brought the message.
	QoS    codec.QoS
	Retain bool
	// ExpiresAt is when the Message Expiry Interval has passed; zero: never.
	ExpiresAt time.Time
}

// Bytes is the memory the message accounts for, in bytes: its variable parts
// and a fixed share for its headers.
func (m *Message) Bytes() int {
	return messageOverhead + len(m.Topic) + len(m.Payload) + len(m.Forward)
}

const messageOverhead = 64

// Expired reports whether the Message Expiry Interval has passed at now.
func (m *Message) Expired(now time.Time) bool {
	return !m.ExpiresAt.IsZero() && !now.Before(m.ExpiresAt)
}

// RemainingExpirySeconds returns the Message Expiry Interval to forward: the
// received value less the time spent in the Server. [MQTT-3.3.2-6]
// A started second counts as one, so a message that is not Expired never
// carries 0. ok is false if the message does not expire.
func (m *Message) RemainingExpirySeconds(now time.Time) (seconds uint32, ok bool) {
	if m.ExpiresAt.IsZero() {
		return 0, false
	}
	left := m.ExpiresAt.Sub(now)
	if left <= 0 {
		return 0, true
	}
	return uint32((left + time.Second - 1) / time.Second), true
}

// An Entry is one message in the queue of one Session.
type Entry struct {
	// Seq is the place in the queue, assigned when the message is routed.
	// It starts at 1, grows by one per entry and is never reused while the
	// Session lasts; the Packet Identifier is derived from it where that is free.
	Seq     uint64
	Message *Message
	// QoS is 1 or 2: the lower of the message's and the subscription's.
	QoS codec.QoS
	// Retain is the RETAIN flag to send.
	Retain bool
	// SubscriptionIDs are those of all matching subscriptions. Read-only.
	SubscriptionIDs []uint32
	// QueuedAt is when it was queued; zero: not known.
	QueuedAt time.Time
	// Share is the Shared Subscription's whole filter ("$share/name/filter")
	// if the entry came by one, else empty.
	Share string
	// Receipt is the broker's; Writes.Strike gives it back.
	Receipt any
}

// Bytes is what the entry counts towards the queue limits, in bytes.
func (e *Entry) Bytes() int { return e.Message.Bytes() + entryOverhead + 4*len(e.SubscriptionIDs) }

const entryOverhead = 32
