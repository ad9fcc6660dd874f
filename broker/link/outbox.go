package link

import (
	"time"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/broker/lock"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/metrics"
)

// Commits tells an Outbox what is on disk. Commit groups have growing numbers.
type Commits interface {
	// Committed is the number of the last group that is on disk. It never falls.
	Committed() uint64
	// Await has w told when the group with this number is on disk. It reports false if
	// it is already; w may be told all the same. The caller may hold the lock that w's
	// method takes.
	Await(number uint64, w interface{ Committed() }) bool
}

// A Receipt may make a commit needless: once it is complete, which it then stays, the
// packet that has it promises nothing that has to be on disk.
type Receipt = interface{ Complete() bool }

// OutboxConfig is what all outboxes share. It is static.
type OutboxConfig struct {
	Commits Commits
	Metrics *metrics.Broker
	// WriteBuffer is how many bytes may gather before the Pending is Ripe.
	WriteBuffer int
	// WriteTimeout is how long a Client may take no bytes while some wait for it.
	WriteTimeout time.Duration
	// Recover is deferred where a goroutine begins. It recovers from a panic, reports
	// it, and calls what it was given.
	Recover func(doing string, then ...func())
}

const (
	// OutBytesMax is how many bytes may wait for one connection before QoS 0
	// messages to it are dropped and its own packets are no longer read.
	OutBytesMax = 1 << 20
	// HeldPacketsMax is how many packets may be held before a connection is no longer
	// read, and AnsweredBytesMax how many bytes of the messages that they answer, which
	// are in memory until then. The last message may exceed it.
	HeldPacketsMax   = 8192
	AnsweredBytesMax = 4 << 20
	outBytesMin      = 4096 // first size of a write buffer
)

// An Outbox has the encoded packets for one Network Connection and writes them. Who queues
// also flushes, see Pending, with a write that does not block; one of Writers takes over
// while the peer does not read.
//
// It is the one place that enforces the promise "an acknowledgement means it is on disk".
// There are four ways in:
//
//   - Queue, for packets that promise nothing, as PINGRESP, or CONNACK after its commit;
//   - QueueHeld, for acknowledgements. None is written before its commit, nor before one
//     that was queued earlier;
//   - QueuePublish, for messages. One with QoS 2 is held like that, since another copy
//     could follow a crash, and so is one with QoS 1 that has a commit to await;
//   - OfferPublish, for QoS 0 messages, which are dropped if too much waits.
//
// What is held has one way out, releaseLocked; all else goes ahead of it.
//
// It is kept small, as most connections have nothing to say at any time.
type Outbox struct {
	// Static after Init.
	config    *OutboxConfig
	Transport Transport

	// Static after SetClient.
	packetBytesMax uint32 // 0: no limit
	aliasMaximum   uint16
	version        codec.Version

	marks   marks                   // guarded by mu; here it takes no room
	mu      lock.Mutex[lock.Outbox] // guards the following
	out     []byte                  // ready to be written
	unsent  uint32                  // bytes taken from out that are being written; 0: nobody writes
	credits int32                   // acknowledgements released since the reader last asked
	held    *held                   // awaiting commits; nil: nothing is
	room    chan struct{}           // closed when something changes for who waits; nil: nobody does
	account *account                // nil before SetClient
}

// marks are flags of an Outbox.
type marks uint8

const (
	listed     marks = 1 << iota // in a Pending: somebody will flush
	closing                      // nothing more is accepted; it is closed when all is written
	closed                       // nothing more is written
	lingers                      // when all is written it is read on: see Linger
	interrupts                   // the reader no longer waits for room: see Interrupt
	timedOut                     // the Client took nothing for the write timeout
)

func (o *Outbox) set(m marks)     { o.marks |= m }
func (o *Outbox) unset(m marks)   { o.marks &^= m }
func (o *Outbox) is(m marks) bool { return o.marks&m != 0 }

// Init makes the zero Outbox write to t.
func (o *Outbox) Init(config *OutboxConfig, t Transport) { o.config, o.Transport = config, t }

// SetClient says what CONNECT settled: the protocol version, how many Topic Aliases
// the Server may set, and the Client's Maximum Packet Size in bytes; 0: no limit. It
// comes before any message is queued, from the reader, at the time at.
func (o *Outbox) SetClient(v codec.Version, aliasMaximum uint16, packetBytesMax uint32, at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.account = &account{connectedAt: at}
	o.version, o.aliasMaximum, o.packetBytesMax = v, aliasMaximum, packetBytesMax
}

// Queue appends what encode produces to what is written next, ahead of all that is
// held. It reports false if the connection is closing. encode must not block.
func (o *Outbox) Queue(p *Pending, encode func(dst []byte) []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.is(closing) {
		return false
	}
	if o.out == nil {
		o.growLocked()
	}
	p.answers++
	o.out = encode(o.out)
	o.listLocked(p)
	return true
}

// A Hold says what a packet awaits, and what becomes of it meanwhile.
type Hold struct {
	// Commit is the number of the commit group that must be on disk. 0: the packet
	// awaits only those that are held already.
	Commit uint64
	// Receipt makes the commit needless when it is complete; nil: nothing does.
	Receipt Receipt
	// Answered is the size in bytes of the message that the packet answers, which is in
	// memory until the commit.
	Answered uint32
	// Credit says that the packet gives back one unit of the Receive Maximum: TakeCredits
	// returns it when the packet was held and is released.
	Credit bool
}

// QueueHeld appends what encode produces, to be written when h allows it, and after all
// that QueueHeld was called for before. It reports whether the packet was held, and its
// Credit comes with TakeCredits; if not, it is written next, or the connection is closing.
// encode must not block.
func (o *Outbox) QueueHeld(p *Pending, h Hold, encode func(dst []byte) []byte) (waits bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.is(closing) {
		return false
	}
	p.answers++
	if control.Broken(control.AckBeforeCommit) {
		h.Commit = 0
	}
	if o.mustHoldLocked(h.Commit) {
		held := o.holdLocked()
		held.bytes = encode(held.bytes)
		o.heldLocked(p, held, segment{commit: h.Commit, receipt: h.Receipt, size: h.Answered, credit: h.Credit})
		return true
	}
	if o.out == nil {
		o.growLocked()
	}
	o.out = encode(o.out)
	o.listLocked(p)
	return false
}

// An Acceptance says what an Outbox did with a message.
type Acceptance uint8

const (
	Taken   Acceptance = iota
	Full               // it was dropped: too much waits for the Client
	Closing            // it was dropped: the connection ends
)

// QueuePublish queues a message, with QoS 2, or with QoS 1 if it awaits a commit, as
// QueueHeld does; what has QoS 1 never overtakes what has QoS 1. The message is counted
// as sent: if it was held, when it is released. m is unchanged in the end.
func (o *Outbox) QueuePublish(p *Pending, m *codec.Publish, commit uint64) Acceptance {
	return o.publish(p, m, commit, false)
}

// OfferPublish is QueuePublish for a QoS 0 message that may be dropped.
func (o *Outbox) OfferPublish(p *Pending, m *codec.Publish) Acceptance {
	return o.publish(p, m, 0, true)
}

func (o *Outbox) publish(p *Pending, m *codec.Publish, commit uint64, mayDrop bool) Acceptance {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.is(closing) {
		return Closing
	}
	if mayDrop && o.waitingLocked() >= OutBytesMax {
		return Full
	}
	if (m.QoS == 2 || m.QoS == 1 && (commit > 0 || o.held != nil && o.held.qos1 > 0)) && o.mustHoldLocked(commit) {
		held := o.holdLocked()
		seg := segment{commit: commit, message: m.QoS, size: uint32(len(m.Payload))}
		held.bytes, seg.alias = o.appendPublishLocked(held.bytes, m, true)
		o.heldLocked(p, held, seg)
		return Taken
	}
	if o.out == nil {
		o.growLocked()
	}
	o.out, _ = o.appendPublishLocked(o.out, m, false)
	o.listLocked(p)
	p.sent[m.QoS].add(len(m.Payload))
	o.sentLocked(1)
	return Taken
}

// appendPublishLocked encodes m, and returns the Topic Alias that it sets; 0: none.
// Packets must be written in the order of its calls: those that are held among
// themselves, and after what was encoded before them.
func (o *Outbox) appendPublishLocked(dst []byte, m *codec.Publish, held bool) (_ []byte, alias uint16) {
	topic := m.Topic
	if o.aliasMaximum > 0 {
		alias = o.aliasLocked(m, held)
	}
	control.BreakPublish(m)
	dst, _ = codec.AppendPublish(dst, m, o.version) // what cannot be encoded for this version was refused when it came
	if m.TopicAlias > 0 {
		m.TopicAlias, m.Topic = 0, topic
	}
	return dst, alias
}

func (o *Outbox) growLocked() { o.out = OutBuffers.Get(outBytesMin) }

// listLocked puts o on the list of those to be flushed, once.
func (o *Outbox) listLocked(p *Pending) {
	if !o.is(listed) {
		o.set(listed)
		p.outboxes = append(p.outboxes, o)
	}
	if len(o.out) >= o.config.WriteBuffer {
		p.ripe = true
	}
}
