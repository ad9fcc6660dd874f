package link

import (
	"sync/atomic"
	"time"
)

// Traffic is what has passed over one connection since its CONNECT was handled.
type Traffic struct {
	// ConnectedAt is when that was; zero: it was not.
	ConnectedAt time.Time
	// MessagesIn and MessagesOut are PUBLISH packets; BytesIn and BytesOut are those of all
	// packets, and BytesIn has that of CONNECT too.
	MessagesIn, MessagesOut, BytesIn, BytesOut uint64
}

// An account is what an Outbox has of a connection beside what most of them have need of: it
// is made when CONNECT is handled.
type account struct {
	connectedAt time.Time
	aliases     *aliasNumbers // nil: none was set

	// Written by the reader only, once for each read.
	messagesIn, bytesIn atomic.Uint64
	// Outbox.mu guards these.
	messagesOut, bytesOut uint64
}

// CountReceived counts what was read, and the PUBLISH packets in it. Only the reader calls it.
func (o *Outbox) CountReceived(bytes, messages int) {
	a := o.account
	if a == nil {
		return
	}
	a.bytesIn.Store(a.bytesIn.Load() + uint64(bytes))
	if messages > 0 {
		a.messagesIn.Store(a.messagesIn.Load() + uint64(messages))
	}
}

// sentLocked counts PUBLISH packets that are written next.
func (o *Outbox) sentLocked(messages int) {
	if o.account != nil {
		o.account.messagesOut += uint64(messages)
	}
}

// writtenLocked counts bytes that were written.
func (o *Outbox) writtenLocked(n int) {
	if o.account != nil {
		o.account.bytesOut += uint64(n)
	}
}

// Traffic returns what has passed over the connection.
func (o *Outbox) Traffic() Traffic {
	o.mu.Lock()
	defer o.mu.Unlock()
	a := o.account
	if a == nil {
		return Traffic{}
	}
	return Traffic{a.connectedAt, a.messagesIn.Load(), a.messagesOut, a.bytesIn.Load(), a.bytesOut}
}
