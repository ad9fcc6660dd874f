package broker_test

import (
	"slices"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// A simClient is a Client that keeps to the protocol and survives every cut: it
// keeps its half of the Session, and sends again what was not acknowledged, in
// order, with the same Packet Identifier. World.mu guards all that changes.
type simClient struct {
	w       *world
	id      string
	version codec.Version
	durable bool
	expiry  uint32    // Session Expiry Interval in seconds, if durable
	member  bool      // of the Shared Subscription
	qos     codec.QoS // asked for in each SUBSCRIBE

	link      *simLink // nil: offline
	links     int
	known     bool // CONNACK said that the Session is there
	leftAt    time.Time
	mustClean bool // Clean Start was sent and not answered
	// unsure: the Session may have ended when the last CONNECT was sent, which
	// was not answered; a Session that is present may be the one it made.
	unsure bool
	// dropped: a connection with Clean Start and without a Session that outlives it
	// was answered, and no other was tried since.
	dropped  bool
	inflight []*simMessage
	received map[uint16]*simMessage // by QoS 2 identifier, until PUBCOMP is sent; nil: no payload told
	subs     []*simSub
	seen     map[*simMessage]int
	seenQoS2 map[*simMessage]int
	last     map[string]int      // by stream, the newest message received
	fetched  map[*simMessage]int // retained or not, each time that it counts: see fetch

	ignoredMax int                    // see ignoresLocked
	ignored    map[*simMessage]uint16 // the identifier with which each is not acknowledged
	idOf       map[*simMessage]uint16 // what each came with
}

// A simSub is a subscription from its SUBSCRIBE until it is gone. Times are
// numbers of events; 0: not yet.
type simSub struct {
	filter                          string
	id, unsubID                     uint16
	sentAt, ackedAt, endsAt, goneAt int
	ackedTime                       time.Time
	sends                           int // of SUBSCRIBE
}

// A simMessage is an Application Message with what the publisher knows of it.
type simMessage struct {
	no      int
	from    *simClient
	stream  string // same publisher, topic and QoS
	topic   string
	payload string
	qos     codec.QoS
	retain  bool
	expiry  uint32

	id       uint16
	refused  bool // with 0x97
	sends    int  // how often
	sentAt   int
	lastSent time.Time
	ackedAt  int // PUBACK or PUBREC came
	shared   int // QoS 2 deliveries by the Shared Subscription
	anywhere int // deliveries to anyone
	// When PUBACK or PUBREC came, and when the message last reached anyone.
	ackedTime, takenTime time.Time

	will                    bool
	delay                   uint32 // Will Delay Interval, seconds
	armed, owed, void, gone bool
	armedAt                 int // when CONNACK came
}

func newSimClient(w *world, id string, version codec.Version, durable bool, qos codec.QoS) *simClient {
	return &simClient{
		w: w, id: id, version: version, durable: durable, qos: qos, expiry: 1 << 20,
		received: make(map[uint16]*simMessage), seen: make(map[*simMessage]int), seenQoS2: make(map[*simMessage]int),
		last: make(map[string]int), fetched: make(map[*simMessage]int),
		ignored: make(map[*simMessage]uint16), idOf: make(map[*simMessage]uint16),
	}
}

func (c *simClient) online() bool { return c.link != nil && c.link.online }

func (c *simClient) freeID() uint16 {
	for id := uint16(1); ; id++ {
		used := slices.ContainsFunc(c.inflight, func(m *simMessage) bool { return m.id == id }) ||
			slices.ContainsFunc(c.subs, func(s *simSub) bool { return s.id == id || s.unsubID == id })
		if !used {
			return id
		}
	}
}

// connectLocked opens a connection, with or without another one open.
func (c *simClient) connectLocked(clean bool, will *simMessage) {
	w := c.w
	latency := []time.Duration{100 * time.Microsecond, 2 * time.Millisecond, 30 * time.Millisecond}[w.r.IntN(3)]
	client, server := newSimConn(w.r.Uint64(), latency)
	l := &simLink{c: c, conn: client, came: make(map[uint16]bool), clean: clean || !c.durable || c.mustClean || c.unsure, will: will}
	l.brief = clean && c.durable && c.version == codec.Version5 && will == nil && w.r.IntN(2) == 0
	l.mustBeNew, c.dropped = c.dropped && !l.brief, false
	c.unsure = !l.clean && c.known && c.version == codec.Version5 && time.Since(c.leftAt) >= time.Duration(c.expiry)*time.Second
	l.r.Reset(0)
	if c.link != nil {
		c.link.endedLocked(!c.link.closing)
		c.link.closing = true
	}
	c.link = l
	c.links++
	w.links = append(w.links, l)
	if l.clean {
		c.known, c.mustClean = false, c.durable
		c.forgetLocked()
	}
	p := &codec.Connect{
		Version: c.version, ClientID: codec.View(c.id), CleanStart: l.clean, KeepAliveSeconds: 0,
		ReceiveMaximum: uint16(1 + c.ignoredMax + w.r.IntN(20)), RequestProblemInformation: true,
	}
	if c.durable && c.version == codec.Version5 && !l.brief {
		p.HasSessionExpiry, p.SessionExpirySeconds = true, c.expiry
	}
	if will != nil {
		will.sentAt = w.eventLocked()
		p.HasWill = true
		p.Will = codec.Will{
			Topic: codec.View(will.topic), Payload: codec.View(will.payload), QoS: will.qos, DelaySeconds: will.delay,
		}
	}
	l.send(codec.AppendConnect(nil, p, c.version))
	b := w.b
	w.running.Go(func() { b.ServeConn(server) })
	w.running.Go(l.read)
}

// forgetLocked drops the client's half of its Session.
func (c *simClient) forgetLocked() {
	c.inflight, c.received = nil, make(map[uint16]*simMessage)
	clear(c.ignored)
	clear(c.idOf)
	c.w.memberLeft = c.w.memberLeft || c.member
	for _, s := range c.subs {
		s.id, s.unsubID = 0, 0
		if s.endsAt == 0 {
			s.endsAt = c.w.eventLocked()
		}
	}
}
