package broker

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/metrics"
	"github.com/x0a1b/promptmq/session"
)

// A Client is what the broker knows of one Client Identifier: its Session and
// the Network Connection now attached. A connection that takes the Session over
// swaps conn; a Clean Start swaps sess. [MQTT-3.1.3-2]
type Client struct {
	// Static after creation.
	b    *Broker
	id   string
	no   uint64     // orders clients; never reused
	self subscriber // its key in the router

	// Hints for senders that do not hold mu; written with mu held.
	connected atomic.Bool // a connection is attached and takes messages
	full      fullness    // the queue is at its limits
	durable   atomic.Bool // the Session's changes are written

	gone      bool // no longer in the registry; guarded by mu, as all that follows
	feeding   bool // a goroutine delivers what is owed
	changing  changes
	mu        sync.Mutex
	sess      *session.Session
	conn      *conn   // attached, or waiting for its CONNACK
	lastGroup uint64  // number of the last group that has something of sess
	stored    *stored // nil: nothing of sess was ever written, and nothing is owed
	// unsubscribedAt is the router's change by which the Client last removed a
	// subscription: messages that were routed before may have been for that.
	unsubscribedAt uint64
}

// stored is what the broker knows beside the Session of one that is durable, that
// is owed retained messages or that has a Will; and of a Will that the last process
// left.
type stored struct {
	owed   *backlog // nil: nothing is
	client *Client
	// expiresAt is when the Session ends if no connection resumes it.
	expiresAt dueTime
	expiry    uint32 // see expiring
	// The open group's writes for the Session: valid while group is the open one.
	// sealed are those of the group before: see committer.strikable.
	writes, sealed     *session.Writes
	group, sealedGroup uint64
	floor              uint64 // the last that was written; 0: not known
	// Of a Session that is not durable: the group with which its Will was stored; 0: it
	// was not.
	willGroup uint64
	kept      *keptWill // the Client has no Session; nil: none
}

// storedLocked returns cl.stored, made if there is none.
func (cl *Client) storedLocked() *stored {
	if cl.stored == nil {
		cl.stored = &stored{client: cl}
	}
	return cl.stored
}

// writesLocked returns the open group's writes for the Session, for something
// that must be written. The caller holds the committer's gate for reading.
func (cl *Client) writesLocked() *session.Writes {
	cl.b.commits.open.firm.Store(true)
	return cl.softWritesLocked()
}

// softWritesLocked is writesLocked for entries that may be acknowledged before
// they are written, and for what nobody waits for.
func (cl *Client) softWritesLocked() *session.Writes {
	g, s := cl.b.commits.open, cl.storedLocked()
	if s.group != g.number || s.writes == nil {
		s.sealed, s.sealedGroup = s.writes, s.group
		s.writes, s.group = new(session.Writes), g.number
		g.add(cl.sess.ID, s.writes)
	}
	cl.lastGroup = g.number
	return s.writes
}

// storeLocked merges the writes of l.fx into the open group. The caller holds
// gate for reading. What was added in this group and is done already is struck
// out and costs nothing.
func (cl *Client) storeLocked(l *flushList) {
	fx := &l.fx
	if !cl.sess.Durable() {
		return
	}
	if len(fx.Entries) > 0 {
		w := cl.softWritesLocked()
		if w.Entries == nil {
			w.Entries = groupEntries.get()
		}
		w.Entries = append(w.Entries, fx.Entries...)
		cl.b.commits.held.Add(int64(len(fx.Entries)))
		if fx.Awaited {
			cl.b.commits.open.awaited.Add(int64(len(fx.Entries)))
		} else {
			cl.b.commits.open.firm.Store(true)
		}
	}
	if len(fx.Discarded) > 0 {
		w := cl.softWritesLocked()
		w.Discarded = append(w.Discarded, fx.Discarded...)
	}
	real := fx.State || fx.DroppedNewest+fx.DroppedOldest > 0 // the State has the number of them
	for _, seq := range fx.Removed {
		if !cl.strikeLocked(seq, l) {
			real = true
		}
	}
	if !real {
		return
	}
	w := cl.softWritesLocked()
	if fx.State {
		cl.b.commits.open.firm.Store(true)
	}
	cl.putStateLocked(w)
	if control.Broken(control.IdentifierNotDurable) {
		var st session.State
		_ = st.Decode(w.State) // just encoded
		st.Received = nil
		w.State = st.Append(w.State[:0])
	}
	if !fx.State && len(fx.Entries) == 0 {
		cl.b.commits.later() // nobody waits for a removal
	}
}

// putStateLocked puts the State into the group's writes for the Session, and from
// where on its queue is not done.
func (cl *Client) putStateLocked(w *session.Writes) {
	s := cl.storedLocked()
	w.State, w.Floor = cl.sess.AppendState(w.State[:0]), cl.sess.Floor()
	if w.FloorBefore == 0 {
		w.FloorBefore = s.floor
	}
	s.floor = w.Floor
}

// strikeLocked removes an entry that is not written yet, and reports whether
// there was one. What was acknowledged may also be struck out of the sealed
// group, if that still waits. What moves to another Session may not: the two
// groups are two transactions.
func (cl *Client) strikeLocked(seq uint64, l *flushList) bool {
	c, s, acknowledged := cl.b.commits, cl.storedLocked(), l.fx.Acknowledged
	if s.group == c.open.number {
		had := s.writes.EntriesLen()
		if r, ok := s.writes.Strike(seq); ok {
			if n := s.writes.EntriesLen(); n != had {
				c.held.Add(int64(n - had))
			}
			c.open.noteStruck(r, acknowledged, l)
			return true
		}
	}
	g := c.strikable
	if g == nil || !acknowledged {
		return false
	}
	w := s.writes
	if s.sealedGroup == g.number {
		w = s.sealed
	} else if s.group != g.number {
		return false
	}
	r, ok := w.Strike(seq)
	if ok {
		g.noteStruck(r, acknowledged, l)
	}
	return ok
}

// applyLocked carries out l.fx: writes first, then what may be sent. The
// caller holds gate for reading if the Session is durable.
func (cl *Client) applyLocked(now time.Time, l *flushList) {
	cl.storeLocked(l)
	fx := &l.fx
	for i := range fx.Sends {
		cl.sendLocked(&fx.Sends[i], now, l)
	}
	if fx.Dropped != (session.Dropped{}) {
		cl.noteDroppedLocked(&fx.Dropped, now, l)
	}
	cl.noteFullLocked()
	if fx.Page {
		go cl.page(cl.sess, cl.conn, cl.lastGroup)
	}
}

func (cl *Client) countDropped(d *session.Dropped) {
	dropped := &cl.b.m.Dropped
	dropped[metrics.DropExpired].Add(d.Expired)
	dropped[metrics.DropTooLarge].Add(d.TooLarge)
	dropped[metrics.DropTooOld].Add(d.TooOld)
	dropped[metrics.DropQueueNewest].Add(d.DroppedNewest)
	dropped[metrics.DropQueueOldest].Add(d.DroppedOldest)
}

// noteFullLocked keeps the hint whether the queue is full; it seldom changes.
func (cl *Client) noteFullLocked() {
	if by := cl.sess.FullBy(); by != cl.full.by() {
		cl.full.Store(by)
	}
}

// sendLocked encodes one packet of the Session into the connection's outbox.
func (cl *Client) sendLocked(s *session.Send, now time.Time, l *flushList) {
	c := cl.conn
	var group uint64
	if s.AfterCommit {
		group = cl.lastGroup
	}
	if (control.Broken(control.QoS2BeforeCommit) && s.Message != nil) || (control.Broken(control.PubrelBeforeCommit) && s.Message == nil) {
		group = 0
	}
	if s.Message == nil {
		c.out.queueHeld(l, group, false, encodeAck(codec.TypePubrel, s.PacketID, codec.Success, c.version))
		return
	}
	p := codec.Publish{
		Dup: s.Dup, QoS: s.QoS, Retain: s.Retain, PacketID: s.PacketID,
		Topic: viewOf(s.Message.Topic), Payload: s.Message.Payload, SubscriptionIDs: s.SubscriptionIDs,
		Forward: codec.ForwardBytes(s.Message.Forward),
	}
	if control.Broken(control.ExpiryNotCountedDown) {
		now = now.Add(-time.Hour)
	}
	p.MessageExpirySeconds, p.HasMessageExpiry = s.Message.RemainingExpirySeconds(now)
	c.out.queuePublish(l, group, &p)
}

// appendPublish encodes p. A message that cannot be encoded for this version
// was refused when it was received.
func appendPublish(dst []byte, p *codec.Publish, v codec.Version) []byte {
	control.BreakPublish(p)
	dst, _ = codec.AppendPublish(dst, p, v)
	return dst
}

// pageFrom returns what to read, and the group to wait for before; current says
// that sess and c are still the Client's.
func (cl *Client) pageFrom(sess *session.Session, c *conn) (from, upTo uint64, messages, bytes int, group uint64, current bool) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	from, upTo = sess.PageFrom()
	messages, bytes = sess.PageSize()
	return from, upTo, messages, bytes, cl.lastGroup, cl.sess == sess && cl.conn == c
}

// page reads the next stored entries and hands them to the Session, which wants
// them for the Client, or without a connection (c is nil) to make room. It runs
// in its own goroutine and holds no lock while it reads.
func (cl *Client) page(sess *session.Session, c *conn, group uint64) {
	defer cl.b.recoverPanic("paging a queue", func() {
		if c != nil { // nothing would page for it any more
			c.out.abort()
		}
	})
	if cl.b.commits.wait(group) != nil {
		return
	}
	from, upTo, messages, bytes, group, current := cl.pageFrom(sess, c)
	if !current || cl.b.commits.wait(group) != nil {
		return
	}
	entries, err := cl.b.store.Page(sess.ID, from, messages, bytes)
	if err != nil {
		cl.b.noteUnread("reading a queue failed", cl.id, err)
		if c != nil {
			c.out.abort() // the Session is kept; the Client may come back
		}
		return
	}
	var l flushList
	defer l.flush(cl.b.m)
	cl.b.commits.gate.RLock()
	defer cl.b.commits.gate.RUnlock()
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.sess == sess && cl.conn == c {
		now := cl.b.clock.now()
		l.fx.Reset()
		sess.Paged(entries, upTo, now, &l.fx)
		control.Panic(control.PanicInPage)
		cl.applyLocked(now, &l)
		cl.startFeedLocked() // no acknowledgement follows if all of them were dropped
	}
}
