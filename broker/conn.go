package broker

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/codec"
)

// A conn is one Network Connection and the goroutine that reads it. Most of
// them are idle at any time, so it is kept small: see TestConnectionSize.
type conn struct {
	// Static after accept.
	b *Broker

	// Static after CONNECT, local after accept.
	client  *Client
	local   bool // the peer is on this machine
	version codec.Version
	armed   deadlineKind // owned by the reader: what its deadline is for now
	params  connectParams

	// Owned by the reader, but for marks, which all may set and ask.
	disconnected    bool          // DISCONNECT came
	willVoid        bool          // and the Will is not to be published
	movesOn         bool          // another goroutine goes on after CONNECT, or a part of it: see serve
	sample          uint8         // counts PUBLISH packets: see sampleEvery
	receiving       int32         // QoS 1 and 2 PUBLISH not yet answered, of Receive Maximum
	marks           atomic.Uint32 // greeted and those below it
	lastPacket      moment        // when the last whole packet came: see progress
	unfinishedSince moment        // when the first byte of an unfinished packet came; 0: there is none: see progress
	unfinished      *codec.Reader // the beginning of a packet, while the connection waits for the rest
	publisher       *publisher    // nil: it has set no Topic Alias, and no rate is limited
	routes          *routeCache   // for Topic Names that were published to before
	*readState                    // while there is something to handle, else nil

	out link.Outbox // has the Transport
}

// Marks of a conn.
const (
	greeted       = 1 << iota // a CONNACK of success was sent
	superseded                // another connection waits for the Session: see supersede
	takenOver                 // another connection has the Session, or gets it: nothing that comes has any effect
	cutShort                  // it was taken over before all that had come was handled
	identityEnded             // who the Client is has ended, or was revoked: see principal.ended
	finished                  // the Client ended the connection in good order, and may still read
	authenticates             // by an Authentication Method: see Broker.enhanced
	overloaded                // it was closed because memory was short
	failed                    // it was closed because of an error of the Server
)

// net is the Transport of the connection.
func (c *conn) net() link.Transport { return c.out.Transport }

func (c *conn) mark(what uint32) { c.marks.Or(what) }

func (c *conn) marked(what uint32) bool { return c.marks.Load()&what != 0 }

// A readState is what the reader needs only while it handles packets. An idle
// connection has none.
type readState struct {
	now        time.Time // when what is being handled came
	reader     codec.Reader
	in         link.ReadState
	gated      bool // the gate is held: see enterGate
	gatedCount int  // packets handled since it is
	storedSome bool // something of what was read is in the open group
	published  bool // there was a PUBLISH in what was read
	messages   int  // PUBLISH packets in what was read that were not counted yet
	finished   bool // there was the end of a packet
	packets    packets
	pending    pending // to be flushed when all that was read is handled
	route      routing
	slab       messageSlab
}

var readStates = sync.Pool{New: func() any { return new(readState) }}

// packets are the decoded packets, reused for each one read.
type packets struct {
	publish     codec.Publish
	ack         codec.Ack
	subscribe   codec.Subscribe
	unsubscribe codec.Unsubscribe
	disconnect  codec.Disconnect
}

// connectParams is what CONNECT settled for the life of the connection.
type connectParams struct {
	keepAliveSeconds uint16 // 0: none
	receiveMaximum   uint16
	keepAliveImposed bool // by Options.KeepAliveSeconds, not the Client's wish
	// endsWithConnection says that a v5 Client asked for no Session Expiry
	// Interval; sessionExpirySeconds is the one that holds.
	endsWithConnection   bool
	sessionExpirySeconds uint32
	packetBytesMax       uint32 // 0: no limit
}

// fits reports whether the Client takes a packet of so many bytes. [MQTT-3.1.2-24]
func (p *connectParams) fits(packetBytes int) bool {
	return p.packetBytesMax == 0 || uint64(packetBytes) <= uint64(p.packetBytesMax)
}

// host is the address of the machine at the other end.
func (c *conn) host() string { return link.HostOf(c.net().RemoteAddr()) }

// appendFitting encodes a packet, and again without its optional text if it
// exceeds the Client's Maximum Packet Size. A packet that is still too large
// is not sent. [MQTT-3.1.2-24] [MQTT-3.2.2-19] [MQTT-3.14.2-3]
func (c *conn) appendFitting(dst []byte, encode func(dst []byte, short bool) []byte) []byte {
	start := len(dst)
	for _, short := range []bool{false, true} {
		dst = encode(dst[:start], short)
		if c.params.fits(len(dst) - start) {
			return dst
		}
	}
	return dst[:start]
}

func (c *conn) clientID() string {
	if c.client == nil {
		return ""
	}
	return c.client.id
}

// supersede makes the connection end, as soon as it has handled what has reached
// the Server on it, in favour of another one of its Client.
func (c *conn) supersede() {
	c.mark(superseded)
	c.out.Interrupt()
	c.net().Wake()
}

// A moment is a time of the clock in 8 bytes, where a time.Time has 24; 0: none.
type moment int64

func momentOf(t time.Time) moment { return moment(t.UnixNano()) }

func (m moment) time() time.Time { return time.Unix(0, int64(m)) }

// A deadlineKind is what the deadline of reads is for. While it stays the same
// the deadline only moves away, and is moved when it has passed.
type deadlineKind uint8

const (
	mustArm deadlineKind = iota // there is none yet, or it may be too late
	noDeadline
	keepAliveDeadline
	unfinishedDeadline
)
