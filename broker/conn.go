package broker

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// partialBytesMax is the size of the buffer in which the beginning of a packet
// waits for the rest.
const partialBytesMax = 4096

// A conn is one Network Connection and the goroutine that reads it.
type conn struct {
	// Static after accept.
	b        *Broker
	net      transport
	listener string // "mqtt" or "websocket"
	out      *outbox
	room     func() []byte
	idle     func()

	// Static after CONNECT.
	client  *Client
	version codec.Version
	params  connectParams

	// Owned by the reader.
	reader     codec.Reader
	now        time.Time
	lastPacket time.Time // when the last whole packet came
	partial    time.Time // when the first byte of an unfinished packet came; zero: none
	receiving  int       // QoS 1 and 2 PUBLISH not yet answered, of Receive Maximum
	aliases    aliasNames
	routes     *routeCache // what was published to before
	sample     int
	left       bool // DISCONNECT came
	clean      bool // and makes the Will void
	handOver   bool // another goroutine is to go on after CONNECT
	*workspace      // while there is something to handle, else nil

	greeted  atomic.Bool // a CONNACK of success was sent
	stopOnce sync.Once

	// Guarded by out.mu: used only while encoding.
	sentAliases aliasNumbers
}

// A workspace is what the reader needs only while it handles packets, so an idle
// connection has none.
type workspace struct {
	packets packets
	touched flushList // to be flushed after the read buffer is handled
	route   routing
	slab    messageSlab
}

var workspaces = sync.Pool{New: func() any { return new(workspace) }}

// work makes sure that there is a workspace, rest gives it back.
func (c *conn) work() {
	if c.workspace == nil {
		c.workspace = workspaces.Get().(*workspace)
		c.route.cache = c.routes
	}
}

func (c *conn) rest() {
	if w := c.workspace; w != nil {
		c.routes, c.workspace = w.route.cache, nil
		w.packets = packets{}
		w.route.forget()
		workspaces.Put(w)
	}
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
	keepAlive      time.Duration // 1.5 times the Keep Alive; 0: none
	receiveMaximum uint16
	packetBytesMax uint32 // 0: no limit
	aliasMaximum   uint16
	// sessionExpirySeconds is the Session Expiry Interval that holds;
	// endsWithConnection says that a v5 Client asked for none.
	sessionExpirySeconds uint32
	endsWithConnection   bool
}

func (b *Broker) newConn(t transport, listener string) *conn {
	c := &conn{b: b, net: t, listener: listener}
	c.out = newOutbox(t, b.commits, b.m, b.o.WriteTimeout, b.o.WriteBuffer)
	c.room, c.idle = c.readRoom, c.readIdle
	c.reader.Reset(int(b.o.MaxPacketSize))
	c.now = c.b.clock.now()
	c.lastPacket, c.partial = c.now, c.now
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
	c.fail(err)
}

// end frees what the connection held, if it has ended or panicked.
func (c *conn) end(ended bool, panicked any) {
	if panicked != nil {
		c.b.m.Panics.Inc()
		c.b.log.Error("panic while serving a connection", "remote", c.net.RemoteAddr().String(), "client", c.clientID(),
			"panic", panicked, "stack", string(debug.Stack()))
		c.out.abort()
	}
	if ended {
		c.finish()
	}
}

// read handles packets until an error ends the connection.
func (c *conn) read() error {
	for {
		if err := c.armDeadline(); err != nil {
			return err
		}
		n, err := c.net.read(c.room, c.idle)
		c.b.m.SocketReads.Inc()
		c.now = c.b.clock.now()
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) && !c.overdue() {
				continue
			}
			return c.explain(err)
		}
		c.b.m.BytesReceived.Add(n)
		c.reader.Wrote(n)
		err = c.handleBuffered()
		c.touched.flush()
		if err != nil {
			return err
		}
		if c.out.awaitRoom() {
			c.lastPacket = c.b.clock.now() // the Client may have sent while it was not read
		}
		if c.handOver && c.client != nil {
			c.handOver = false
			return errAnotherGoroutine
		}
	}
}

// handleBuffered handles every whole packet that was read.
func (c *conn) handleBuffered() error {
	if t, ok := c.reader.PeekType(); ok && c.client == nil && t != codec.TypeConnect {
		return refuse(codec.ProtocolError, "the first packet is not CONNECT") // [MQTT-3.1.0-1]
	}
	for {
		f, err := c.reader.Next()
		if err == codec.ErrIncomplete {
			break
		}
		if err != nil {
			return err
		}
		c.lastPacket, c.partial = c.now, time.Time{}
		if err := c.handle(f); err != nil {
			return err
		}
		if c.touched.ripe {
			c.touched.flush()
		}
	}
	if c.reader.Buffered() == 0 {
		if c.client != nil {
			c.partial = time.Time{}
		}
	} else if c.partial.IsZero() {
		c.partial = c.now
	}
	return nil
}

// handle is the one switch on the packet type.
func (c *conn) handle(f codec.Frame) error {
	if c.client == nil {
		return c.handleConnect(f)
	}
	switch f.Type() {
	case codec.TypePublish:
		return c.handlePublish(f)
	case codec.TypePuback, codec.TypePubrec, codec.TypePubrel, codec.TypePubcomp:
		return c.handleAck(f)
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
		if broken("second-connect-ignored") {
			return nil
		}
		return refuse(codec.ProtocolError, "a second CONNECT") // [MQTT-3.1.0-2]
	default:
		return refuse(codec.ProtocolError, f.Type().String()+" is not for a Server")
	}
}

// handlePingreq answers PINGREQ. [MQTT-3.12.4-1]
func (c *conn) handlePingreq(f codec.Frame) error {
	if err := codec.DecodePing(f); err != nil {
		return err
	}
	c.out.queueNow(&c.touched, codec.AppendPingresp)
	return nil
}

// readRoom lends the reader a buffer when it has none.
func (c *conn) readRoom() []byte {
	c.work()
	if c.reader.Buffered() == 0 {
		if b := c.reader.Reclaim(); b != nil {
			c.reader.Lend(b)
		} else {
			c.reader.Lend(readBuffers.get(c.b.o.ReadBuffer))
		}
	}
	room := c.reader.Room()
	return room[:min(len(room), c.b.o.ReadBuffer)]
}

// readIdle takes the buffer back before the connection waits. What is left of a
// packet that is not whole waits in a small one.
func (c *conn) readIdle() {
	c.rest()
	b := c.reader.Reclaim()
	if n := c.reader.Buffered(); n > 0 && 2*n <= partialBytesMax && c.reader.Lent() > partialBytesMax {
		b = c.reader.Move(make([]byte, partialBytesMax))
	}
	if b != nil {
		readBuffers.put(b)
	}
}

// armDeadline bounds the next read: by 1.5 times the Keep Alive after the last
// packet [MQTT-3.1.2-22] and by the read timeout after the first byte of an
// unfinished one, or, before CONNECT, after the connection began.
func (c *conn) armDeadline() error {
	return c.net.SetReadDeadline(c.b.clock.deadline(c.deadline()))
}

func (c *conn) deadline() time.Time {
	var d time.Time
	if c.params.keepAlive > 0 {
		d = c.lastPacket.Add(c.params.keepAlive)
	}
	if !c.partial.IsZero() {
		if p := c.partial.Add(c.b.o.ReadTimeout); d.IsZero() || p.Before(d) {
			d = p
		}
	}
	return d
}

func (c *conn) overdue() bool {
	d := c.deadline()
	return !d.IsZero() && !c.now.Before(d)
}

// explain turns the error of a read into what the Client did wrong, if it did.
func (c *conn) explain(err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) && !(errors.Is(err, context.Canceled) && c.overdue()) { // the latter from a WebSocket
		return err
	}
	if !c.partial.IsZero() && !c.now.Before(c.partial.Add(c.b.o.ReadTimeout)) {
		if c.client == nil {
			return refuse(codec.ProtocolError, "no CONNECT within the read timeout")
		}
		return refuse(codec.ProtocolError, "a packet did not arrive whole within the read timeout")
	}
	c.b.m.KeepAliveTimeouts.Inc()
	return refuse(codec.KeepAliveTimeout, "nothing received within one and a half times the Keep Alive")
}

// fail is the one place where an error becomes a CONNACK or DISCONNECT and a
// log line. It ends the connection. [MQTT-4.13.1-1] [MQTT-4.13.2-1]
func (c *conn) fail(err error) {
	reason, detail, known := reasonOf(err)
	switch {
	case !known:
		if err == errDisconnect {
			c.b.log.Debug("client disconnected", "client", c.clientID(), "remote", c.net.RemoteAddr().String())
			return
		}
		level := slog.LevelInfo
		if c.client == nil || err == errTakenOver || errors.Is(err, net.ErrClosed) {
			level = slog.LevelDebug
		}
		c.b.log.Log(c.b.ctx, level, "connection ended", "client", c.clientID(), "remote", c.net.RemoteAddr().String(), "error", err)
		c.out.close(nil)
		return
	case !c.greeted.Load():
		c.b.m.Refused(reason.String()).Inc()
		c.out.close(c.appendRefusedConnack(nil, reason, detail))
	default:
		c.b.m.ProtocolErrors(reason.String()).Inc()
		c.out.close(c.appendDisconnect(nil, reason, detail))
	}
	c.b.log.Info("connection closed", "client", c.clientID(), "remote", c.net.RemoteAddr().String(), "reason", reason.String(), "detail", detail)
}

// appendRefusedConnack encodes a CONNACK with a Reason Code of 0x80 or greater.
// A peer whose protocol version is not known gets none, but for one that asked
// for a version that is not supported. [MQTT-3.1.4-1] [MQTT-3.2.2-6]
func (c *conn) appendRefusedConnack(dst []byte, reason codec.ReasonCode, detail string) []byte {
	v := c.version
	if v == 0 {
		if reason != codec.UnsupportedProtocolVersion {
			return dst
		}
		v = codec.Version311 // understood by clients of every version: return code 0x01
	}
	if v != codec.Version5 && (reason == codec.MalformedPacket || reason == codec.ProtocolError) { // [MQTT-3.1.4-1] of 3.1.1
		return dst
	}
	ack := codec.Connack{Reason: reason}
	ack.ReasonString, ack.HasReasonString = codec.View(detail), detail != ""
	return c.appendFitting(dst, func(dst []byte, short bool) []byte {
		if short {
			ack.HasReasonString = false
		}
		dst, _ = codec.AppendConnack(dst, &ack, v) // cannot fail: the fields are in range
		return dst
	})
}

// appendDisconnect encodes a DISCONNECT; clients before v5 get none.
func (c *conn) appendDisconnect(dst []byte, reason codec.ReasonCode, detail string) []byte {
	if c.version != codec.Version5 {
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

// finish frees what the connection held. It runs whatever ended it.
func (c *conn) finish() {
	c.work()
	defer c.b.removeConn(c)
	defer c.b.recoverPanic("ending a connection")
	if c.client != nil {
		c.b.disconnected(c)
	}
	c.touched.flush()
	c.out.close(nil)
	c.readIdle()
}
