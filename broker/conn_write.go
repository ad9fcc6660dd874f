package broker

import (
	"sync"
	"time"

	"github.com/x0a1b/promptmq/broker/commit"
	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/metrics"
	"github.com/x0a1b/promptmq/session"
)

const (
	// outBytesMax is how many bytes may wait for one connection before QoS 0
	// messages to it are dropped and its own packets are no longer read.
	outBytesMax = 1 << 20
	// heldPacketsMax is how many packets may await a commit before a
	// connection is no longer read.
	heldPacketsMax = 8192
	// answeredBytesMax is the same for the bytes of the messages that they answer,
	// which are in memory until then. The last of them may exceed it.
	answeredBytesMax = 4 << 20
	// outBytesMin is the first size of a write buffer.
	outBytesMin = 4096
	// keptSegmentsMax is the same for the list of held packets.
	keptSegmentsMax = 1024
	// writeBytesMax is the largest piece that is written at once, and how much a
	// Client must take within the write timeout. A Client can take the beginning
	// of a piece before its write returns.
	writeBytesMax = 64 << 10
)

// An outbox holds the encoded packets for one Network Connection and writes
// them. What must await a commit is held, in order, until that commit; all else
// goes ahead of it. Who queues also flushes, with a write that does not block;
// a goroutine takes over only while the socket is full.
//
// It is the one place where the promise "an acknowledgement means it is on
// disk" is enforced: see queueHeld and release.
type outbox struct {
	c *conn // whose it is; static

	mu      sync.Mutex    // guards the following
	out     []byte        // ready to be written
	unsent  int           // bytes taken from out and not yet written
	held    *held         // awaiting commits; nil: nothing is
	room    chan struct{} // not nil: closed when there is room again
	credits int32         // acknowledgements released since the reader last asked
	writing bool          // a goroutine is writing; it takes what is added to out
	closing bool          // nothing more is accepted; close when all is written
	closed  bool
	dirty   bool // somebody will flush
}

// held are packets that await commits, in order.
type held struct {
	bytes    []byte // of segs
	segs     []segment
	answered int // bytes of the messages that segs answer
	qos1     int // PUBLISH packets with QoS 1 in segs: no other may overtake them
}

var heldPackets = sync.Pool{New: func() any { return new(held) }}

// dropHeldLocked forgets what awaits commits.
func (o *outbox) dropHeldLocked() {
	h := o.held
	if o.held = nil; h == nil || cap(h.bytes) > link.KeptBufferMax || cap(h.segs) > keptSegmentsMax {
		return
	}
	clear(h.segs)
	h.bytes, h.segs, h.answered, h.qos1 = h.bytes[:0], h.segs[:0], 0, 0
	heldPackets.Put(h)
}

// heldLocked is the number of packets that await commits.
func (o *outbox) heldLocked() int {
	if o.held == nil {
		return 0
	}
	return len(o.held.segs)
}

// heldCount is heldLocked for who does not hold mu.
func (o *outbox) heldCount() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.heldLocked()
}

// A segment is one held packet: the bytes up to end in held.bytes.
type segment struct {
	group  uint64 // number of the commit group it awaits
	end    int
	size   uint32    // of the message that it answers, in bytes; or of its own Payload
	alias  uint16    // Topic Alias that it sets; 0: none
	sends  codec.QoS // of the PUBLISH that it is; 0: it is none
	credit bool      // it returns one unit of the Client's send quota
	// receipt, if not nil, may make the commit needless.
	receipt *commit.Receipt
}

// A flushList gathers the outboxes that one goroutine has queued to and must
// flush, holding no lock.
type flushList struct {
	list  []*outbox
	ripe  bool // one has gathered so much that it should be written now
	tally tally
	// oneID is the Subscription Identifier of the message that is being encoded.
	oneID [1]uint32
	// packet is the retained message that is being delivered.
	packet codec.Publish
	// outcomes are those of the deliveries that were decided.
	outcomes outcomes
	// fx is what the Session asks for whose Client the goroutine has locked: one
	// at a time, so it is not each Client's own.
	fx session.Effects
	// completed are whose receipts have just become complete; emptied by storeLocked.
	completed []commit.Waiter
	// notices are log lines that wait until no lock is held.
	notices []notice.Line
}

// say writes a log line with the next flush: for who holds a lock.
func (l *flushList) say(line notice.Line) { l.notices = append(l.notices, line) }

// flush counts in m what was tallied, writes to the sockets, and then to the log.
func (l *flushList) flush(m *metrics.Broker) {
	l.tally.count(m)
	l.outcomes.count(m)
	for i, o := range l.list {
		o.flush()
		l.list[i] = nil
	}
	l.list, l.ripe = l.list[:0], false
	if len(l.notices) > 0 {
		l.writeNotices()
	}
}

// writeNotices is not inlined: its frame would make the stacks of all readers grow.
//
//go:noinline
func (l *flushList) writeNotices() {
	for i := range l.notices {
		l.notices[i].Write()
	}
	l.notices = nil
}

// A tally is what one goroutine has received and sent since it last flushed, by
// QoS: a plain addition for each message in place of several atomic ones, on
// memory that all processors write to.
type tally struct{ received, sent [3]traffic }

type traffic struct{ messages, bytes int }

func (t *traffic) add(p *codec.Publish) {
	t.messages++
	t.bytes += len(p.Payload)
}

// count adds the tally to m and begins a new one.
func (t *tally) count(m *metrics.Broker) {
	for qos := range t.sent {
		if r := &t.received[qos]; r.messages > 0 {
			m.MessagesReceived[qos].Add(r.messages)
			m.MessageBytesReceived[qos].Add(r.bytes)
			*r = traffic{}
		}
		if s := &t.sent[qos]; s.messages > 0 {
			s.countSent(m, codec.QoS(qos))
			*s = traffic{}
		}
	}
}

func (t *traffic) countSent(m *metrics.Broker, qos codec.QoS) {
	m.MessagesSent[qos].Add(t.messages)
	m.MessageBytesSent[qos].Add(t.bytes)
}

// noteLocked puts o on the list of those to be flushed, once.
func (o *outbox) noteLocked(l *flushList) {
	if !o.dirty {
		o.dirty = true
		l.list = append(l.list, o)
	}
	if len(o.out) >= o.c.b.o.WriteBuffer { // written without waiting for more
		l.ripe = true
	}
}

// note puts o on the list of those to be flushed.
func (o *outbox) note(l *flushList) {
	o.mu.Lock()
	o.noteLocked(l)
	o.mu.Unlock()
}

// pendingLocked is the number of bytes that wait.
func (o *outbox) pendingLocked() int {
	n := len(o.out) + o.unsent
	if o.held != nil {
		n += len(o.held.bytes)
	}
	return n
}

// queueNow appends what encode produces to what is written next. It reports
// false if the connection is closing. encode must not block.
func (o *outbox) queueNow(l *flushList, encode func([]byte) []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing {
		return false
	}
	o.growLocked()
	o.out = encode(o.out)
	o.noteLocked(l)
	return true
}

// ends reports whether the connection is closing.
func (o *outbox) ends() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closing
}

func (o *outbox) growLocked() {
	if o.out == nil {
		o.out = link.OutBuffers.Get(outBytesMin)
	}
}

// queueHeld appends what encode produces to be written after the commit group
// with this number is on disk, and after everything held before it. Group 0
// awaits nothing but its predecessors. It reports whether the packet is held;
// if not, it is what is written next. credit says that the packet ends the
// receipt of a QoS 1 or 2 PUBLISH: when it was held and is released, takeCredits
// returns its unit of Receive Maximum.
func (o *outbox) queueHeld(l *flushList, group uint64, credit bool, encode func([]byte) []byte) (waits bool) {
	return o.queueSegment(l, segment{group: group, credit: credit}, encode)
}

// queueSegment is queueHeld with all that may be said of the packet.
func (o *outbox) queueSegment(l *flushList, seg segment, encode func([]byte) []byte) (waits bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing {
		return false
	}
	if control.Broken(control.AckBeforeCommit) {
		seg.group = 0
	}
	if h := o.holdLocked(seg.group); h != nil {
		h.bytes = encode(h.bytes)
		o.heldPacketLocked(h, seg, l)
		return true
	}
	o.growLocked()
	o.out = encode(o.out)
	o.noteLocked(l)
	return false
}

// queuePublish queues a message, with QoS 2, or with QoS 1 if it awaits a group, as
// queueHeld does for group, and counts it as sent, if it is held when it is released. It reports false if the connection
// is closing or, for one with QoS 0 that is droppable, if too much waits already.
func (o *outbox) queuePublish(l *flushList, group uint64, p *codec.Publish, droppable bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing || (droppable && p.QoS == 0 && o.pendingLocked() >= outBytesMax) {
		return false
	}
	if p.QoS == 2 || p.QoS == 1 && (group > 0 || o.held != nil && o.held.qos1 > 0) {
		if h := o.holdLocked(group); h != nil {
			seg := segment{group: group, sends: p.QoS, size: uint32(len(p.Payload))}
			if p.QoS == 1 {
				h.qos1++
			}
			h.bytes = o.c.appendAliased(h.bytes, p, &seg)
			o.heldPacketLocked(h, seg, l)
			return true
		}
	}
	o.growLocked()
	o.out = o.c.appendAliased(o.out, p, nil)
	o.noteLocked(l)
	l.tally.sent[p.QoS].add(p)
	return true
}

// holdLocked returns where a packet that awaits group is to be encoded to, or nil
// if it need not be held and goes to out.
func (o *outbox) holdLocked(group uint64) *held {
	if o.held != nil {
		return o.held
	}
	if group <= o.c.b.commits.Committed() {
		return nil
	}
	o.held = heldPackets.Get().(*held)
	return o.held
}

// heldPacketLocked notes the packet that was encoded to the end of h.bytes.
func (o *outbox) heldPacketLocked(h *held, seg segment, l *flushList) {
	last := uint64(0) // the group that the packet before awaits
	if n := len(h.segs); n > 0 {
		last = h.segs[n-1].group
	}
	seg.group, seg.end = max(seg.group, last), len(h.bytes)
	h.segs = append(h.segs, seg)
	if seg.sends == 0 {
		h.answered += int(seg.size)
	}
	if seg.group != last && !o.c.b.commits.Await(seg.group, o) {
		o.releaseLocked()
		o.noteLocked(l)
	}
}

// releaseLocked moves what is no longer held to out. Each held packet passes
// here: it is written only if its commit group is on disk, or has nothing for it
// to bring there.
func (o *outbox) releaseLocked() {
	h, committed := o.held, o.c.b.commits.Committed()
	var sent [3]traffic // by QoS
	n := 0
	for n < len(h.segs) && (h.segs[n].group <= committed || h.segs[n].receipt.Complete()) {
		seg := &h.segs[n]
		o.credits += oneIf(seg.credit)
		if seg.alias != 0 {
			o.c.sentAliases.released(seg.alias)
		}
		if seg.sends > 0 {
			sent[seg.sends].messages++
			sent[seg.sends].bytes += int(seg.size)
		} else {
			h.answered -= int(seg.size)
		}
		n++
	}
	h.qos1 -= sent[1].messages
	for qos := codec.QoS(1); qos <= 2; qos++ {
		if sent[qos].messages > 0 {
			sent[qos].countSent(o.c.b.m, qos)
		}
	}
	if n == 0 {
		return
	}
	end := h.segs[n-1].end
	o.growLocked()
	o.out = append(o.out, h.bytes[:end]...)
	if n == len(h.segs) {
		o.dropHeldLocked()
		return
	}
	h.bytes = h.bytes[:copy(h.bytes, h.bytes[end:])]
	left := copy(h.segs, h.segs[n:])
	clear(h.segs[left:])
	h.segs = h.segs[:left]
	for i := range h.segs {
		h.segs[i].end -= end
	}
}

// takeCredits returns how many units of Receive Maximum came back with packets
// that were held.
func (o *outbox) takeCredits() int32 {
	o.mu.Lock()
	n := o.credits
	o.credits = 0
	o.mu.Unlock()
	return n
}

// Committed lets go what awaited a commit, or a receipt that is complete. It makes o a
// commit.Waiter.
func (o *outbox) Committed() { o.flush() }

// flush writes what may be written without blocking.
func (o *outbox) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dirty = false
	if o.held != nil && !o.closing {
		o.releaseLocked()
	}
	if o.closed || o.writing {
		return
	}
	for len(o.out) > 0 {
		buf := o.takeLocked()
		if link.Blocks(o.c.net) {
			link.DrainLater(o.c.net, o, buf, 0)
			return
		}
		for n := 0; n < len(buf); {
			piece := buf[n:min(n+writeBytesMax, len(buf))]
			written, err := o.writeLocked(piece, o.c.net.TryWrite)
			n += written
			if err != nil {
				return
			}
			if written < len(piece) {
				link.DrainLater(o.c.net, o, buf, n)
				return
			}
		}
		o.writtenLocked(buf)
	}
	o.idleLocked()
}

// writeLocked writes a piece of what was taken, and counts it as sent; so
// unsent is about what the Client has still to take. It lets go of mu meanwhile.
func (o *outbox) writeLocked(piece []byte, write func([]byte) (int, error)) (int, error) {
	n, err := o.writeUnlocked(piece, write)
	o.unsent -= n
	if err != nil {
		o.failLocked()
	}
	return n, err
}

// writeUnlocked lets go of mu to write. If that panics nothing is written any more.
func (o *outbox) writeUnlocked(piece []byte, write func([]byte) (int, error)) (n int, err error) {
	o.mu.Unlock()
	returned := false
	defer func() {
		o.mu.Lock()
		if !returned {
			o.failLocked()
		}
	}()
	n, err = write(piece)
	o.c.b.m.SocketWrites.Inc()
	o.c.b.m.BytesSent.Add(n)
	returned = true
	return n, err
}

// takeLocked takes all of out for one write.
func (o *outbox) takeLocked() []byte {
	buf := o.out
	o.out, o.unsent, o.writing = nil, len(buf), true
	return buf
}

// writtenLocked takes the buffer back.
func (o *outbox) writtenLocked(buf []byte) {
	o.writing, o.unsent = false, 0
	link.OutBuffers.Put(buf)
}

// idleLocked is called when everything that may be written is written.
func (o *outbox) idleLocked() {
	o.wakeLocked()
	if !o.closing || (o.c.marked(lingers) && !o.closed && o.c.net.CloseWrite()) {
		o.closed = o.closing // for writing: the reader closes the rest
		return
	}
	o.failLocked()
}

func (o *outbox) wakeLocked() {
	if o.room != nil && o.roomLocked(2) {
		close(o.room)
		o.room = nil
	}
}

// Drain writes buf from n on, and what is queued meanwhile, and may block.
func (o *outbox) Drain(buf []byte, n int) {
	defer o.c.b.recoverPanic("writing", o.abort)
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		timeout, closing := o.c.b.o.WriteTimeout, o.closing
		if closing {
			timeout = min(timeout, link.CloseWait)
		}
		within := func(b []byte) (int, error) {
			control.Panic(control.PanicInWrite)
			n, err := o.c.net.WriteWithin(b, timeout)
			if err != nil && !closing {
				o.c.noteWriteTimeout(err, timeout)
			}
			return n, err
		}
		written, err := o.writeLocked(buf[n:min(n+writeBytesMax, len(buf))], within)
		if err != nil {
			return
		}
		o.wakeLocked()
		if n += written; n < len(buf) {
			continue
		}
		o.writtenLocked(buf)
		if len(o.out) == 0 {
			o.idleLocked()
			return
		}
		buf, n = o.takeLocked(), 0
	}
}

// failLocked closes the Network Connection; the reader then sees its end.
func (o *outbox) failLocked() {
	o.writing, o.closing = false, true
	if o.closed {
		return
	}
	o.closed = true
	o.out, o.unsent = nil, 0
	o.dropHeldLocked()
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
	o.c.net.Close()
}

// close writes what is ready and then last, and closes the Network Connection.
// What is held is dropped: nothing may follow a DISCONNECT. [MQTT-3.14.4-1]
func (o *outbox) close(last []byte) {
	o.mu.Lock()
	if !o.closing {
		o.closing = true
		if len(last) > 0 {
			o.growLocked()
			o.out = append(o.out, last...)
		}
		o.dropHeldLocked()
		if len(o.out) == 0 && !o.writing {
			o.failLocked()
		}
	}
	o.mu.Unlock()
	o.flush()
}

// settle waits until the Client has taken all that waits for it, what awaits a
// commit too, unless that takes longer than link.CloseWait.
func (o *outbox) settle() {
	changed := o.unsettled()
	if changed == nil { // as nearly always
		return
	}
	late := time.NewTimer(link.CloseWait)
	defer late.Stop()
	for ; changed != nil; changed = o.unsettled() {
		select {
		case <-changed:
		case <-late.C:
			return
		}
	}
}

// unsettled returns what is closed when something has left, or nil if nothing waits.
func (o *outbox) unsettled() chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing || o.pendingLocked() == 0 {
		return nil
	}
	if o.room == nil {
		o.room = make(chan struct{})
	}
	return o.room
}

// hangUp closes the Network Connection if the Client could take all that was left
// for it; else it is closed as soon as that is over.
func (o *outbox) hangUp() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.c.unmark(lingers)
	if o.closed {
		o.c.net.Close()
	}
}

// abort closes the Network Connection at once.
func (o *outbox) abort() {
	o.mu.Lock()
	o.failLocked()
	o.mu.Unlock()
}

// roomLocked reports whether less waits for this connection than a share of its
// limits.
func (o *outbox) roomLocked(share int) bool {
	if o.pendingLocked() >= outBytesMax/share {
		return false
	}
	h := o.held
	return h == nil || len(h.segs) < heldPacketsMax/share && h.answered < answeredBytesMax/share
}

// awaitRoom blocks while too much waits for this connection, so that a peer
// that sends and does not read, or sends more than is stored in time, stops being
// read, and not if the connection has one of these marks. It reports whether it
// blocked.
func (o *outbox) awaitRoom(unless uint32) bool {
	room := o.roomToAwait(unless)
	if room == nil {
		return false
	}
	<-room
	return true
}

// roomBefore waits until there is room, and reports false if it is late.
func (o *outbox) roomBefore(late <-chan time.Time) bool {
	room := o.roomToAwait(0)
	if room == nil {
		select {
		case <-late:
			return false
		default:
			return true
		}
	}
	select {
	case <-room:
		return true
	case <-late:
		return false
	}
}

func (o *outbox) roomToAwait(unless uint32) chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.roomLocked(1) {
		return nil
	}
	return o.makeRoomLocked(unless)
}

// roomToMake returns what wake closes; nil: nothing is waited for any more.
func (o *outbox) roomToMake(unless uint32) chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.makeRoomLocked(unless)
}

func (o *outbox) makeRoomLocked(unless uint32) chan struct{} {
	if o.closing || o.c.marked(unless) {
		return nil
	}
	if o.room == nil {
		o.room = make(chan struct{})
	}
	return o.room
}

// wake ends the wait of awaitRoom.
func (o *outbox) wake() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
}

func oneIf(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

// encodeAck returns an encoder for a packet that only carries a Packet
// Identifier and a Reason Code.
func encodeAck(t codec.PacketType, id uint16, reason codec.ReasonCode, v codec.Version) func([]byte) []byte {
	return func(dst []byte) []byte {
		ack := codec.Ack{Type: t, PacketID: id, Reason: reason}
		control.BreakAck(&ack)
		dst, _ = codec.AppendAck(dst, &ack, v) // cannot fail: the fields are in range
		return dst
	}
}
