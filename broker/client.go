package broker

import (
	"sync/atomic"

	"github.com/x0a1b/promptmq/broker/commit"
	"github.com/x0a1b/promptmq/broker/lock"
	"github.com/x0a1b/promptmq/session"
)

// A Client is what the broker knows of one Client Identifier: its Session and
// the Network Connection now attached. A connection that takes the Session over
// swaps conn; a Clean Start swaps sess. [MQTT-3.1.3-2]
type Client struct {
	// Static after creation.
	b     *Broker
	id    string
	order uint64     // of creation; never reused
	self  subscriber // its key in the router

	// who is the principal of the connection, or of the Session if there is none; nil: it
	// was not needed yet. Written with mu held, asked by the reader too.
	who   atomic.Pointer[principal]
	hints hints

	// mu guards the following. What is small stands before it to save memory.
	gone      bool // no longer in the registry
	feeding   bool // a goroutine delivers retained messages that are owed
	changing  changing
	mu        lock.Mutex[lock.Client]
	sess      *session.Session // nil: there is none
	conn      *conn            // attached, or waiting for its CONNACK; nil: there is none
	lastGroup uint64           // number of the last group that has something of sess
	stored    *stored          // nil: nothing of sess was ever written, and nothing is owed or was dropped
	// unsubscribedAt is the router's change by which the Client last removed a
	// subscription: messages that were routed before may have been for that.
	unsubscribedAt uint64
}

// stored is what the broker knows of a Session beside it, if that is durable, has a
// Will, is owed retained messages or has lost some; and of a Will that the last process left.
type stored struct {
	owed   *backlog // nil: nothing is
	client *Client
	// expiresAt is when the Session ends if no connection resumes it.
	expiresAt dueTime
	// leftAt is when the last connection of the Session ended; negative: that is not known,
	// but it was before the time that this is without the sign.
	leftAt moment
	drops  *dropCount  // nil: no message for the Session was dropped
	timer  uint32      // its place in timers
	part   commit.Part // what the next commits write for the Session
	// kept has the Will that the last process left; nil: none. The Client has no
	// other Session.
	kept *session.Session
}

// storedLocked returns cl.stored, made if there is none.
func (cl *Client) storedLocked() *stored {
	if cl.stored == nil {
		cl.stored = &stored{client: cl}
	}
	return cl.stored
}

// unusedLocked reports whether the Client has neither a Session nor a connection,
// and is to get none.
func (cl *Client) unusedLocked() bool {
	return cl.sess == nil && cl.conn == nil && cl.stored == nil && cl.changing == 0
}

// Hints are what senders may know of a Client that do not hold its lock. Who changes them does.
type hints struct{ bits atomic.Uint32 }

const (
	hintConnected = 1 << iota // a connection is attached and takes messages
	hintDurable               // the Session's changes are written
	hintFull                  // and above: the session.Limit that the queue has reached
)

func (h *hints) connected() bool { return h.bits.Load()&hintConnected != 0 }
func (h *hints) durable() bool   { return h.bits.Load()&hintDurable != 0 }

// full is the limit that the queue has reached, if any.
func (h *hints) full() session.Limit { return session.Limit(h.bits.Load() / hintFull) }

func (h *hints) setConnected(yes bool) { h.set(hintConnected, yes) }
func (h *hints) setDurable(yes bool)   { h.set(hintDurable, yes) }
func (h *hints) setFull(by session.Limit) {
	h.bits.Store(h.bits.Load()%hintFull + uint32(by)*hintFull)
}

func (h *hints) set(bit uint32, yes bool) {
	if yes {
		h.bits.Or(bit)
	} else {
		h.bits.And(^bit)
	}
}
