package broker

import (
	"cmp"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/codec"
)

// partialBytesMax is the size of the buffer in which the beginning of a packet
// waits for the rest.
const partialBytesMax = 4096

// A conn is one Network Connection and the goroutine that reads it. Most of
// them are idle at any time, so it is kept small: see TestConnectionSize.
type conn struct {
	// Static after accept.
	b *Broker

	// Static after CONNECT; local after accept.
	client  *Client
	local   bool // the peer is on this machine
	version codec.Version
	armed   deadlineKind // what the deadline of reads is for now; owned by the reader
	params  connectParams

	// Owned by the reader; marks are for others to set and ask.
	left       bool          // DISCONNECT came
	clean      bool          // and makes the Will void
	handOver   bool          // another goroutine is to go on after CONNECT
	sample     uint8         // counts PUBLISH packets
	receiving  int32         // QoS 1 and 2 PUBLISH not yet answered, of Receive Maximum
	marks      atomic.Uint32 // greeted, superseded, takenOver
	lastPacket moment        // when the last whole packet came; see progress
	partial    moment        // when the first byte of an unfinished packet came; 0: none; see progress
	unfinished *codec.Reader // what came of a packet that is not whole, while the connection waits
	aliases    *aliasNames   // nil: none was set
	routes     *routeCache   // what was published to before
	*workspace               // while there is something to handle, else nil

	out link.Outbox // has the Transport
}

// What others than the reader know of a connection.
const (
	greeted    = 1 << iota // a CONNACK of success was sent
	superseded             // another connection waits for the Session: see supersede
	takenOver              // another connection has or gets it: nothing that comes has any effect
	cutShort               // taken over before all that had come was handled
	finished               // the Client ended it in good order, and may still read
)

// net is the Transport of the connection.
func (c *conn) net() link.Transport { return c.out.Transport }

func (c *conn) mark(what uint32)        { c.marks.Or(what) }
func (c *conn) marked(what uint32) bool { return c.marks.Load()&what != 0 }

// A workspace is what the reader needs only while it handles packets, so an idle
// connection has none.
type workspace struct {
	now     time.Time
	reader  codec.Reader
	in      link.ReadState
	gated   bool // the committer's gate is held for reading
	inGate  int  // packets handled since it is
	stored  bool // something of what was read is in the open group
	packets packets
	pending pending // to be flushed after the read buffer is handled
	route   routing
	slab    messageSlab
}

var workspaces = sync.Pool{New: func() any { return new(workspace) }}

// work makes sure that there is a workspace, rest gives it back.
func (c *conn) work() {
	if c.workspace != nil {
		return
	}
	c.workspace = workspaces.Get().(*workspace)
	c.route.cache = c.routes
	if c.unfinished != nil {
		c.reader = *c.unfinished
	} else {
		c.reader.Reset(int(c.b.o.MaxPacketSize))
		c.reader.SetVersion(c.version)
	}
}

func (c *conn) rest() {
	w := c.workspace
	if w.reader.Buffered() == 0 {
		c.unfinished = nil
	} else {
		if c.unfinished == nil {
			c.unfinished = new(codec.Reader)
		}
		*c.unfinished = w.reader
	}
	c.routes, c.workspace = w.route.cache, nil
	w.packets = packets{} // by itself: what stands on this goroutine's stack meanwhile would make it grow
	w.reader = codec.Reader{}
	w.in.Ended = nil
	w.route.forget()
	w.pending.fx.Reset()
	workspaces.Put(w)
}

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

func (b *Broker) newConn(a link.Accepted) *conn {
	c := &conn{b: b, local: isLoopback(a.Transport.RemoteAddr()) && !a.Proxied}
	c.out.Init(&b.outboxes, a.Transport)
	c.lastPacket = momentOf(a.At)
	c.partial = c.lastPacket
	return c
}

// serve reads the connection until it ends. A panic ends this connection only.
// If another goroutine may go on in its place, it returns after CONNECT: to wait
// does not need the large stack that CONNECT took.
func (c *conn) serve() {
	ended := true
	defer func() { c.end(ended, recover()) }()
	err := c.read()
	if err == errAnotherGoroutine {
		ended = false
		go c.serve()
		return
	}
	link.GrowStack(0)
	c.fail(err)
}

// end frees what the connection held, if it has ended or panicked.
func (c *conn) end(ended bool, panicked any) {
	if panicked != nil {
		c.b.m.Panics.Inc()
		c.b.notices.Line(slog.LevelError, "panic", "serving", "panic", "doing", "serving a connection", "remote", c.net().RemoteAddr().String(),
			"client", notice.Shown(c.clientID()), "panic", panicked, "stack", string(debug.Stack())).Write()
		c.out.Abort()
	}
	if ended {
		c.finish()
	}
}

// read handles packets until an error ends the connection.
func (c *conn) read() error {
	for {
		if c.marked(superseded) {
			return c.readRest()
		}
		if err := c.armDeadline(); err != nil {
			return err
		}
		err := c.net().Receive(c)
		if err == nil {
			err = c.in.Ended
		} else {
			err = c.explain(err)
		}
		if err != nil {
			return err
		}
	}
}

// State, Connected, Received, Room and Idle are for the Transport: see link.Reader.
func (c *conn) State() *link.ReadState { return &c.in }

func (c *conn) Connected() bool { return c.client != nil }

// Received handles n bytes that were read into Room.
func (c *conn) Received(n int) bool {
	c.b.m.SocketReads.Inc()
	c.b.m.BytesReceived.Add(n)
	c.now = c.b.clock.Now()
	c.in.Now, c.in.Before, c.in.Asked = int64(momentOf(c.now)), int64(max(c.lastPacket, c.partial)), false
	c.reader.Wrote(n)
	if c.partial != 0 && c.client != nil {
		c.progress(n)
	}
	c.in.Ended = c.handleBuffered()
	c.in.Unfinished = c.reader.Buffered() > 0
	c.pending.flush(c.b.m)
	if c.in.Ended != nil {
		return false
	}
	if c.awaitRoom() {
		c.waited() // the Client may have sent while it was not read
		if c.partial != 0 {
			c.partial = c.lastPacket
		}
	}
	if c.handOver && c.client != nil {
		c.handOver = false
		c.in.Ended = errAnotherGoroutine
	}
	return c.in.Ended == nil && !c.marked(superseded)
}

// supersede makes the connection end, as soon as it has handled what has reached
// the Server on it, in favour of another one of its Client.
func (c *conn) supersede() {
	c.mark(superseded)
	c.out.Interrupt()
	c.net().Wake()
}

// readRest handles what has reached the Server, and reports how the connection
// ends: by the Client, or because it is taken over.
func (c *conn) readRest() error {
	late := time.NewTimer(successionWait)
	defer late.Stop()
	for left := restBytesMax; ; {
		n, err := c.net().ReadNow(c)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break // there is no more
		}
		if err != nil {
			return err
		}
		if c.Received(n); c.in.Ended != nil {
			return c.in.Ended
		}
		if left -= n; left <= 0 || !c.roomBefore(late.C) {
			c.mark(cutShort)
			break
		}
	}
	c.mark(takenOver)
	return errTakenOver
}

// gateBatch is how many packets may be handled without letting go of the gate:
// few enough for a commit not to wait long.
const gateBatch = 16

// enterGate makes sure that the committer's gate is held for reading, as it is
// from one PUBLISH or acknowledgement to the next. See leaveGate.
func (c *conn) enterGate() {
	if !c.gated {
		c.b.commits.Enter()
		c.gated, c.inGate = true, 0
	}
}

// leaveGate lets go of the gate if it is held. Nothing that may wait, enters the
// gate itself or writes to sockets happens before.
func (c *conn) leaveGate() {
	if c.gated {
		c.gated = false
		if control.Broken(control.GateKept) {
			return
		}
		c.b.commits.Leave()
	}
}

// handleBuffered handles every whole packet that was read.
func (c *conn) handleBuffered() error {
	defer c.leaveGate()
	if c.client == nil {
		if err := c.checkFirst(); err != nil {
			return err
		}
	}
	for {
		f, err := c.reader.Next()
		if err == codec.ErrIncomplete {
			break
		}
		if err != nil {
			return c.sized(err)
		}
		c.lastPacket, c.partial = momentOf(c.now), 0
		if err := c.handle(f); err != nil {
			return err
		}
		if c.inGate++; c.inGate >= gateBatch || c.pending.Len() > gateBatch {
			c.leaveGate()
		}
		if c.pending.Ripe() {
			c.leaveGate()
			c.pending.flush(c.b.m)
		}
	}
	if c.reader.Buffered() == 0 {
		if c.client != nil {
			c.partial = 0
		}
	} else if c.partial == 0 {
		c.partial = momentOf(c.now)
	}
	return nil
}

// sized adds to err, if it is that the next packet is too large, how large that is.
func (c *conn) sized(err error) error {
	if reason, detail, _ := reasonOf(err); reason == codec.PacketTooLarge {
		return refuse(reason, detail, "size", c.reader.NextBytes(), "limit", c.b.o.MaxPacketSize, "key", "mqtt.max-packet-size")
	}
	return err
}

// checkFirst refuses what cannot become a CONNECT as soon as it begins.
func (c *conn) checkFirst() error {
	if err := c.net().Listener().CheckFirst(c.reader.Peek()); err != nil {
		return err
	}
	if t, ok := c.reader.PeekType(); ok && t != codec.TypeConnect {
		return refuse(codec.ProtocolError, "the first packet is not CONNECT") // [MQTT-3.1.0-1]
	}
	return nil
}

// handle is the one switch on the packet type.
func (c *conn) handle(f codec.Frame) error {
	if c.marked(takenOver) {
		return errTakenOver
	}
	if c.client == nil {
		return c.handleConnect(f)
	}
	switch f.Type() {
	case codec.TypePublish:
		c.in.Asked = true
		return c.handlePublish(f)
	case codec.TypePuback, codec.TypePubrec, codec.TypePubrel, codec.TypePubcomp:
		return c.handleAck(f)
	}
	c.leaveGate()
	c.in.Asked = true
	switch f.Type() {
	case codec.TypeSubscribe:
		return c.handleSubscribe(f)
	case codec.TypeUnsubscribe:
		return c.handleUnsubscribe(f)
	case codec.TypePingreq:
		return c.handlePingreq(f)
	case codec.TypeDisconnect:
		return c.handleDisconnect(f)
	case codec.TypeAuth:
		return c.handleAuth(f)
	case codec.TypeConnect:
		if control.Broken(control.SecondConnectIgnored) {
			return nil
		}
		return refuse(codec.ProtocolError, "a second CONNECT") // [MQTT-3.1.0-2]
	}
	return refuseType(f.Type())
}

// refuseType is apart from handle, like all that a PINGREQ does not need: the
// stack of an idle connection should not have to grow.
//
//go:noinline
func refuseType(t codec.PacketType) error {
	return refuse(codec.ProtocolError, t.String()+" is not for a Server")
}

// handlePingreq answers PINGREQ. [MQTT-3.12.4-1]
func (c *conn) handlePingreq(f codec.Frame) error {
	if err := codec.DecodePing(f); err != nil {
		return err
	}
	c.out.Queue(&c.pending.Pending, codec.AppendPingresp)
	return nil
}

// Room lends the reader a buffer when it has none.
func (c *conn) Room() []byte {
	c.work()
	if c.reader.Buffered() == 0 {
		if b := c.reader.Reclaim(); b != nil {
			c.reader.Lend(b)
		} else {
			c.reader.Lend(link.ReadBuffers.Get(c.b.o.ReadBuffer))
		}
	}
	room := c.reader.Room()
	return room[:min(len(room), c.b.o.ReadBuffer)]
}

// Idle takes the buffer back before the connection waits. What is left of a
// packet that is not whole waits in a small one.
func (c *conn) Idle() {
	if c.workspace == nil {
		return
	}
	b := c.reader.Reclaim()
	if n := c.reader.Buffered(); n > 0 && 2*n <= partialBytesMax && c.reader.Lent() > partialBytesMax {
		b = c.reader.Move(make([]byte, partialBytesMax))
	}
	if b != nil {
		link.ReadBuffers.Put(b)
	}
	c.rest()
}

// fail is the one place where an error becomes a CONNACK or DISCONNECT and a
// log line. It ends the connection. [MQTT-4.13.1-1] [MQTT-4.13.2-1]
func (c *conn) fail(err error) {
	reason, detail, known := reasonOf(err)
	switch {
	case !known:
		if err == errDisconnect || err == io.EOF {
			c.mark(finished)
		}
		if err == errDisconnect {
			if c.b.log.Enabled(c.b.ctx, slog.LevelDebug) {
				c.b.log.Debug("client disconnected", "client", notice.Shown(c.clientID()), "remote", c.net().RemoteAddr().String())
			}
			return
		}
		if what, ok := err.(link.ForeignError); ok {
			c.net().Listener().RefuseForeign(c.net().RemoteAddr(), what)
			return
		}
		c.noteEnd(err)
		return // finish closes, when the Session has let go: nothing is taken for sent that a dead connection got
	case !c.marked(greeted):
		c.net().EndWith(reason)
		c.b.m.Refused(reason.String()).Inc()
		c.closeWith(c.appendRefusedConnack(nil, reason, detail))
	default:
		c.net().EndWith(reason)
		c.b.m.ProtocolErrors(reason.String()).Inc()
		c.closeWith(c.appendDisconnect(nil, reason, detail))
	}
	id, attrs := c.logged(err)
	c.b.notices.Info("closed: "+reason.String(), cmp.Or(id, c.host()), "connection closed", append([]any{
		"client", notice.Shown(id), "remote", c.net().RemoteAddr().String(), "reason", reason.String(), "detail", detail}, attrs...)...)
}

// noteEnd logs that the connection ended without DISCONNECT. Who never sent
// CONNECT, such as a load balancer that tries the port, is counted only.
func (c *conn) noteEnd(err error) {
	attrs := []any{"client", notice.Shown(c.clientID()), "remote", c.net().RemoteAddr().String(), "error", err}
	switch {
	case c.client == nil && errors.Is(err, net.ErrClosed): // it made room for another, and is counted
	case c.client == nil:
		c.b.m.Refused("no CONNECT").Inc()
	case err != errTakenOver && !errors.Is(err, net.ErrClosed):
		c.b.notices.Info("ended", c.client.id, "connection ended", attrs...)
		return
	}
	c.b.log.Debug("connection ended", attrs...)
}

// host is the address of the machine at the other end.
func (c *conn) host() string { return link.HostOf(c.net().RemoteAddr()) }

// appendRefusedConnack encodes a CONNACK with a Reason Code of 0x80 or greater.
// A peer whose protocol version is not known gets none, but for one that asked
// for a version that is not supported; nor does one of 3.x if no return code
// says what is wrong. [MQTT-3.1.4-1] [MQTT-3.2.2-6]
func (c *conn) appendRefusedConnack(dst []byte, reason codec.ReasonCode, detail string) []byte {
	v := c.version
	if v == 0 {
		if reason != codec.UnsupportedProtocolVersion {
			return dst
		}
		v = codec.Version311 // understood by clients of every version: return code 0x01
	}
	if control.Broken(control.ReturnCodeInvented) {
		reason = codec.ServerUnavailable
	}
	ack := codec.Connack{Reason: reason}
	ack.ReasonString, ack.HasReasonString = codec.View(detail), detail != ""
	return c.appendFitting(dst, func(dst []byte, short bool) []byte {
		if short {
			ack.HasReasonString = false
		}
		dst, _ = codec.AppendConnack(dst, &ack, v) // fails where no return code applies [MQTT-3.1.4-1] of 3.1.1
		return dst
	})
}

// appendDisconnect encodes a DISCONNECT; clients before v5 get none, and none says
// that the broker ends unless that is asked for.
func (c *conn) appendDisconnect(dst []byte, reason codec.ReasonCode, detail string) []byte {
	if c.version != codec.Version5 || (reason == codec.ServerShuttingDown && !c.b.o.ShutdownNotice) {
		return dst
	}
	d := codec.Disconnect{Reason: reason}
	d.ReasonString, d.HasReasonString = codec.View(detail), detail != ""
	return c.appendFitting(dst, func(dst []byte, short bool) []byte {
		if short {
			d.HasReasonString = false
		}
		dst, _ = codec.AppendDisconnect(dst, &d, codec.Version5) // cannot fail: the fields are in range
		return dst
	})
}

// appendFitting encodes a packet, and again without its optional text if it
// exceeds the Client's Maximum Packet Size. A packet that is still too large
// is not sent. [MQTT-3.1.2-24] [MQTT-3.2.2-19] [MQTT-3.14.2-3]
func (c *conn) appendFitting(dst []byte, encode func(dst []byte, short bool) []byte) []byte {
	start := len(dst)
	for _, short := range []bool{false, true} {
		dst = encode(dst[:start], short)
		if limit := c.params.packetBytesMax; limit == 0 || len(dst)-start <= int(limit) {
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

// lastWord is what a Client is told whose Session another connection has taken.
// [MQTT-3.1.4-3]
func (c *conn) lastWord() []byte {
	if !c.marked(takenOver) || !c.marked(greeted) { // [MQTT-3.14.0-1]
		return nil
	}
	c.net().EndWith(codec.SessionTakenOver)
	if control.Broken(control.TakeoverReason) {
		return c.appendDisconnect(nil, codec.UnspecifiedError, "")
	}
	return c.appendDisconnect(nil, codec.SessionTakenOver, "")
}

// finish frees what the connection held. It runs whatever ended it.
func (c *conn) finish() {
	c.work()
	defer c.b.removeConn(c)
	defer c.b.recoverPanic("ending a connection")
	defer c.hangUp()
	if c.client != nil {
		c.b.disconnected(c)
	}
	c.pending.flush(c.b.m)
	c.Idle()
}
