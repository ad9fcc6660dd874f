package session

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

var seed = flag.Uint64("seed", 0, "seed of the randomised tests; 0: a new one")

// A simStore is what a store would hold of one Session. Writes are committed at
// once or wait for a commit that a crash can prevent.
type simStore struct {
	entries   map[uint64]Entry
	state     []byte
	connected bool
	pending   []func()
}

func (st *simStore) commit() {
	for _, write := range st.pending {
		write()
	}
	st.pending = nil
}

// A simClient drives a Session as a broker and a Client do, and knows what must
// have happened.
type simClient struct {
	t     *testing.T
	rng   *rand.Rand
	s     *Session
	store simStore
	fx    Effects
	now   time.Time
	max   int // the Client's Receive Maximum

	online    bool
	held      []Send            // await the commit
	wire      []Send            // sent and not yet answered by the Client
	out       map[uint16]uint64 // QoS 1 and 2 identifiers outstanding on this connection
	published int               // messages given to the Session
	got       map[int]int       // deliveries to the application, by message
	qosOf     map[int]codec.QoS
	last      [3]int          // last new message by QoS
	receiving map[uint16]bool // QoS 2 identifiers at the Client
	left      map[uint64]bool // the Seqs that were sent with QoS 2
	stuck     map[uint16]bool // identifiers of packets that the Client does not answer for long
	stuckMax  int
	idOf      map[int]uint16 // the identifier that each message was sent with
	lastWire  [3]int         // by QoS, the newest message sent on this connection
	crashes   int

	limits  Limits
	ids     map[uint64]int // the message of each Seq
	seqs    map[int]uint64 // and the other way round
	sent    map[int]bool   // messages that were sent, or are to be after a commit
	dropped map[int]bool
	drops   [2]int // DroppedNewest and DroppedOldest
	oldest  uint64 // the last Seq dropped as the oldest

	expiring bool // messages expire, and the queue is swept
	expires  map[int]time.Time
	swept    int

	exceptions int
}

var simLimits = Limits{WindowMessages: 4, WindowBytes: 1 << 20, QueueMessages: 1 << 30, QueueBytes: 1 << 60, Inflight: 3}

// TestRandomOperations runs a durable Session with a tiny window through random
// deliveries, acknowledgements in any order, disconnections and crashes that
// lose what was not committed.
func TestRandomOperations(t *testing.T) {
	for _, policy := range []QueuePolicy{Reject, DropNewest, DropOldest} {
		t.Run(string(policy), func(t *testing.T) { randomOperations(t, policy, false) })
	}
	t.Run("expiring", func(t *testing.T) { randomOperations(t, Reject, true) })
}

func randomOperations(t *testing.T, policy QueuePolicy, expiring bool) {
	swept, exceptions := 0, 0
	var drops [2]int
	base := *seed
	if base == 0 {
		base = rand.Uint64()
	}
	for i := range uint64(200) {
		if t.Failed() {
			return
		}
		t.Run(fmt.Sprintf("seed=%d", base+i), func(t *testing.T) {
			c := newSimClient(t, rand.New(rand.NewPCG(base+i, 0)), policy)
			c.expiring = expiring
			for range 400 {
				c.step()
			}
			c.drain()
			c.check()
			drops[0] += c.drops[0]
			drops[1] += c.drops[1]
			swept += c.swept
			exceptions += c.exceptions
		})
	}
	if exceptions == 0 {
		t.Error("every Packet Identifier follows from its Seq")
	}
	if (swept > 0) != expiring {
		t.Errorf("%d entries were swept", swept)
	}
	// With DropOldest the newest goes when all others were sent, which happens here.
	if drops[0] > 0 && policy == Reject || drops[0] == 0 && policy == DropNewest || (drops[1] > 0) != (policy == DropOldest) {
		t.Errorf("%d dropped as the newest and %d as the oldest", drops[0], drops[1])
	}
}

func newSimClient(t *testing.T, rng *rand.Rand, policy QueuePolicy) *simClient {
	c := &simClient{
		t: t, rng: rng, now: time.Unix(1e9, 0), max: 1 + rng.IntN(4),
		got: make(map[int]int), qosOf: make(map[int]codec.QoS), receiving: make(map[uint16]bool), left: make(map[uint64]bool),
		stuck: make(map[uint16]bool), idOf: make(map[int]uint16),
		ids: make(map[uint64]int), seqs: make(map[int]uint64), sent: make(map[int]bool), dropped: make(map[int]bool), expires: make(map[int]time.Time), limits: simLimits,
	}
	if rng.IntN(3) > 0 { // identifiers begin anew now and then, and old ones are still in use
		c.limits.packetIDs = 2 + rng.IntN(9)
		c.limits.Inflight = 2 + rng.IntN(6)
		c.max = 2 + rng.IntN(8)
		c.stuckMax = rng.IntN(min(c.max, c.limits.Inflight, c.limits.packetIDs))
	}
	if c.limits.Policy = policy; policy != Reject { // from less than two windows to several, and more than may be in flight
		c.limits.QueueMessages = 2*c.limits.Inflight + rng.IntN(20)
	}
	c.store.entries = make(map[uint64]Entry)
	c.s = New(1, "c", "", true, &c.limits)
	c.s.version, c.s.expirySeconds = codec.Version5, 60
	return c
}

func (c *simClient) step() {
	switch n := c.rng.IntN(20); {
	case n < 8:
		c.deliver()
	case n < 15:
		c.answer()
	case n < 17:
		c.commit()
	case n < 18 && !c.online:
		c.attach()
	case n < 19 && c.online:
		c.detach()
	case c.rng.IntN(4) == 0:
		c.crash()
	case c.expiring:
		c.now = c.now.Add(time.Duration(c.rng.IntN(4)) * time.Second)
		c.sweep()
	}
}

func (c *simClient) deliver() {
	qos := codec.QoS(1 + c.rng.IntN(2))
	id := c.published
	c.published++
	c.qosOf[id] = qos
	c.fx.Reset()
	m := &Message{Topic: "t", Payload: []byte{byte(id >> 8), byte(id)}, QoS: qos}
	if c.expiring && c.rng.IntN(2) == 0 {
		m.ExpiresAt = c.now.Add(time.Duration(1+c.rng.IntN(8)) * time.Second)
		c.expires[id] = m.ExpiresAt
	}
	c.s.Deliver(Entry{Message: m, QoS: qos}, c.now, &c.fx)
	for _, e := range c.fx.Entries {
		c.ids[e.Seq], c.seqs[id] = id, e.Seq
	}
	if len(c.fx.Entries)+c.fx.DroppedNewest != 1 {
		c.t.Errorf("message %d: %d entries, and dropped %d times", id, len(c.fx.Entries), c.fx.DroppedNewest)
	}
	if c.fx.DroppedNewest > 0 {
		c.drops[0]++
		c.dropped[id] = true
		if c.s.QueueLen() < c.limits.QueueMessages {
			c.t.Errorf("message %d is dropped with %d in the queue", id, c.s.QueueLen())
		}
		older := func(q queued) bool { return q.Message != nil && !q.sentBefore }
		if c.limits.Policy == DropOldest && (slices.ContainsFunc(c.s.queue, older) || c.s.Spilled()) {
			c.t.Errorf("message %d is dropped in place of an older one", id)
		}
	}
	c.noteDropped()
	c.apply()
	if n := c.s.QueueLen(); n > c.limits.QueueMessages {
		c.t.Errorf("%d messages in a queue of at most %d", n, c.limits.QueueMessages)
	}
}

// noteDropped looks at what Deliver or Paged removed: nothing expires here.
func (c *simClient) noteDropped() {
	if c.expiring {
		return
	}
	if len(c.fx.Removed) != c.fx.DroppedOldest {
		c.t.Errorf("%d removed, %d of them counted", len(c.fx.Removed), c.fx.DroppedOldest)
	}
	for _, seq := range c.fx.Removed {
		id := c.ids[seq]
		c.drops[1]++
		c.dropped[id] = true
		if seq <= c.oldest {
			c.t.Errorf("entry %d is dropped after %d", seq, c.oldest)
		}
		c.oldest = seq
		if c.sent[id] && c.crashes == 0 { // what was sent just before a crash is not known after it
			c.t.Errorf("message %d is dropped although it was sent", id)
		}
	}
}

// apply does with the Effects what a broker does.
func (c *simClient) apply() {
	for c.carryOut() {
		from, upTo := c.s.PageFrom()
		c.commit() // a broker waits for it
		var page []Entry
		for seq := from; seq < upTo && len(page) < simLimits.WindowMessages; seq++ {
			if e, ok := c.store.entries[seq]; ok {
				page = append(page, e)
			}
		}
		c.fx.Reset()
		c.s.Paged(page, upTo, c.now, &c.fx)
		c.noteDropped()
	}
}

// sweep walks through the queue as a broker's cleanup does, with a commit now and
// then between two pages.
func (c *simClient) sweep() {
	c.fx.Reset()
	c.s.SweepWindow(c.now, 0, &c.fx)
	c.swept += c.fx.Expired
	c.apply()
	whole := c.rng.IntN(2) == 0
	if whole {
		c.commit()
	}
	for from := c.s.SweepFrom(); ; {
		var page []Entry
		for seq := from; seq < c.s.next && len(page) < 3; seq++ {
			if e, ok := c.store.entries[seq]; ok {
				page = append(page, e)
			}
		}
		if len(page) == 0 {
			break
		}
		c.fx.Reset()
		c.s.SweepPage(from, page, c.now, 0, &c.fx)
		c.swept += c.fx.Expired
		c.apply()
		from = page[len(page)-1].Seq + 1
		if c.rng.IntN(2) == 0 {
			c.commit()
		}
	}
	if !whole {
		return
	}
	c.commit()
	for _, e := range c.store.entries {
		id := int(e.Message.Payload[0])<<8 | int(e.Message.Payload[1])
		if e.Message.Expired(c.now) && !c.online && !c.sent[id] && c.crashes == 0 {
			c.t.Errorf("message %d has expired and is still stored", id)
		}
	}
}

// carryOut notes the writes and the packets, and reports whether a page is wanted.
func (c *simClient) carryOut() bool {
	entries, removed := slices.Clone(c.fx.Entries), slices.Clone(c.fx.Removed)
	discarded, discardedRanges := slices.Clone(c.fx.Discarded), ranges(slices.Clone(c.fx.DiscardedRanges))
	if len(entries) > 0 || len(removed) > 0 || c.fx.State {
		real, floor := c.fx.State || len(removed) > 0, c.s.Floor()
		var state []byte
		if real {
			state = c.s.AppendState(nil) // no sooner: the Session notes what it holds
		}
		c.store.pending = append(c.store.pending, func() {
			for _, e := range entries {
				c.store.entries[e.Seq] = e
			}
			for _, seq := range discarded {
				delete(c.store.entries, seq)
			}
			for seq := range c.store.entries {
				if discardedRanges.has(seq) {
					delete(c.store.entries, seq)
				}
			}
			if real {
				c.store.state = state
				for seq := range c.store.entries {
					if seq < floor {
						delete(c.store.entries, seq)
					}
				}
			}
		})
	}
	for _, send := range c.fx.Sends {
		if send.Message != nil {
			c.sent[int(send.Message.Payload[0])<<8|int(send.Message.Payload[1])] = true
		}
		// What is of one QoS keeps its order.
		behind := slices.ContainsFunc(c.held, func(s Send) bool { return (s.QoS == 1) == (send.QoS == 1) })
		if (send.AfterCommit || behind) && len(c.store.pending) > 0 {
			c.held = append(c.held, send)
			continue
		}
		c.send(send)
	}
	if len(c.out) > c.max {
		c.t.Errorf("%d in flight with a Receive Maximum of %d", len(c.out), c.max)
	}
	return c.fx.Page
}

func (c *simClient) commit() {
	c.store.commit()
	held := c.held
	c.held = nil
	for _, send := range held {
		c.send(send)
	}
}

// send puts a packet on the wire.
func (c *simClient) send(send Send) {
	if !c.online {
		return
	}
	if send.Message == nil {
		c.out[send.PacketID] = 0
	} else if _, taken := c.out[send.PacketID]; taken {
		c.t.Errorf("identifier %d is used twice", send.PacketID)
	} else {
		c.out[send.PacketID] = 1
	}
	if send.Message != nil {
		c.sendMessage(send)
	}
	if len(c.stuck) < c.stuckMax && c.rng.IntN(10) == 0 {
		c.stuck[send.PacketID] = true
	}
	c.wire = append(c.wire, send)
}

// sendMessage checks that a message keeps its place and its Packet Identifier.
func (c *simClient) sendMessage(send Send) {
	id := int(send.Message.Payload[0])<<8 | int(send.Message.Payload[1])
	if send.QoS == 2 {
		c.left[c.seqs[id]] = true
	}
	if was, ok := c.idOf[id]; ok && was != send.PacketID {
		c.t.Errorf("message %d is sent as %d and was sent as %d", id, send.PacketID, was)
	}
	c.idOf[id] = send.PacketID
	if send.PacketID != c.s.derivedID(c.seqs[id]) {
		c.exceptions++
	}
	if last := c.lastWire[send.QoS]; id < last {
		c.t.Errorf("message %d is sent after %d", id, last)
	}
	c.lastWire[send.QoS] = id
}

// answer lets the Client take one of the packets on the wire and acknowledge it:
// PUBLISH of QoS 1 in any order, the packets of QoS 2 in theirs.
func (c *simClient) answer() {
	if len(c.wire) == 0 {
		return
	}
	if len(c.stuck) > 0 && c.rng.IntN(40) == 0 {
		clear(c.stuck)
	}
	i := c.rng.IntN(len(c.wire))
	if c.wire[i].QoS != 1 { // those of QoS 2 are taken in their order
		i = slices.IndexFunc(c.wire, func(s Send) bool {
			if s.QoS == 2 && c.stuck[s.PacketID] && !c.receiving[s.PacketID] { // and perhaps not answered
				c.receiving[s.PacketID] = true
				c.take(s)
			}
			return s.QoS != 1 && !c.stuck[s.PacketID]
		})
	}
	if i < 0 || c.stuck[c.wire[i].PacketID] {
		return
	}
	send := c.wire[i]
	c.fx.Reset()
	found := true
	switch {
	case send.Message == nil: // PUBREL
		c.wire = slices.Delete(c.wire, i, i+1)
		delete(c.receiving, send.PacketID)
		delete(c.out, send.PacketID)
		found = c.s.ReceivePubcomp(send.PacketID, c.now, &c.fx)
	case send.QoS == 1:
		c.wire = slices.Delete(c.wire, i, i+1)
		delete(c.out, send.PacketID)
		c.take(send)
		found = c.s.ReceivePuback(send.PacketID, c.now, &c.fx)
	default:
		c.wire = slices.Delete(c.wire, i, i+1)
		if !c.receiving[send.PacketID] {
			c.receiving[send.PacketID] = true
			c.take(send)
		}
		found = c.s.ReceivePubrec(send.PacketID, codec.Success, c.now, &c.fx)
	}
	if !found {
		c.t.Errorf("the session does not know identifier %d", send.PacketID)
	}
	c.apply()
}

// take gives a message to the Client's application.
func (c *simClient) take(send Send) {
	id := int(send.Message.Payload[0])<<8 | int(send.Message.Payload[1])
	c.got[id]++
	if c.got[id] > 1 {
		if send.QoS == 2 {
			c.t.Errorf("message %d came twice at QoS 2", id)
		}
		return
	}
	if send.QoS == 2 || c.crashes == 0 {
		if id < c.last[send.QoS] && send.QoS == 2 {
			c.t.Errorf("message %d came first after %d", id, c.last[send.QoS])
		}
		c.last[send.QoS] = max(c.last[send.QoS], id)
	}
}

func (c *simClient) attach() {
	c.online, c.out, c.wire, c.held, c.lastWire = true, make(map[uint16]uint64), nil, nil, [3]int{}
	c.store.pending = append(c.store.pending, func() { c.store.connected = true })
	c.commit() // CONNACK waits for it
	c.fx.Reset()
	c.s.Attach(uint16(c.max), 0, c.now, &c.fx)
	c.apply()
}

func (c *simClient) detach() {
	c.online, c.out, c.wire, c.held = false, nil, nil, nil
	c.s.Detach()
	state := c.s.AppendState(nil)
	c.store.pending = append(c.store.pending, func() { c.store.connected, c.store.state = false, state })
}

// crash loses what was not committed: to the publishers, such messages were
// never acknowledged.
func (c *simClient) crash() {
	c.detach()
	c.crashes++
	c.oldest = 0 // what was dropped may be there again
	c.store.pending = nil
	l := Loaded{State: c.store.state, Record: Record{ID: 1, ClientID: "c", Version: codec.Version5, ExpirySeconds: 60, Connected: c.store.connected}}
	for seq, e := range c.store.entries {
		if l.FirstSeq == 0 || seq < l.FirstSeq {
			l.FirstSeq = seq
		}
		l.NextSeq = max(l.NextSeq, seq+1)
		l.QueuedBytes += uint64(e.Bytes())
	}
	s, err := Restore(&l, &c.limits)
	if err != nil {
		c.t.Fatal(err)
	}
	c.s = s
	c.store.connected = false // the broker notes it at the start
	stored := make(map[int]bool)
	for _, e := range c.store.entries {
		e.Share = "$share/g/t"
		if e.QoS == 2 && c.left[e.Seq] && len(s.Orphans([]Entry{e})) > 0 { // [MQTT-4.8.2-5]
			c.t.Errorf("entry %d was sent with QoS 2, and another member may get it", e.Seq)
		}
		stored[int(e.Message.Payload[0])<<8|int(e.Message.Payload[1])] = true
	}
	for id := range c.published {
		if !stored[id] && c.got[id] == 0 {
			c.got[id] = -1 << 30 // it was never acknowledged to its publisher
		}
	}
}

// drain lets the Client take everything.
func (c *simClient) drain() {
	c.commit()
	c.stuckMax = 0
	clear(c.stuck)
	if !c.online {
		c.attach()
	}
	for range 100000 {
		c.commit()
		if len(c.wire) == 0 {
			break
		}
		c.answer()
	}
	c.commit()
}

func (c *simClient) check() {
	for id := range c.published {
		if c.dropped[id] && c.got[id] > 0 && c.crashes == 0 {
			c.t.Errorf("message %d was dropped and delivered", id)
		}
		if at, ok := c.expires[id]; ok && !at.After(c.now) && (!c.sent[id] || c.crashes > 0) { // a crash forgets what was just sent
			continue
		}
		if c.got[id] == 0 && !c.dropped[id] {
			c.t.Errorf("message %d (QoS %d) is lost", id, c.qosOf[id])
		}
	}
	if n := c.s.QueueLen(); n != 0 {
		c.t.Errorf("%d messages are left in an empty queue", n)
	}
	if len(c.store.entries) != 0 {
		c.t.Errorf("%d entries are left in the store; floor %d", len(c.store.entries), c.s.Floor())
	}
	if c.s.Full() {
		c.t.Error("an empty queue is full")
	}
}
