package broker

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/codec"
)

// serve reads the connection until it ends. A panic ends this connection only. If
// movesOn is set, a new goroutine goes on after CONNECT, and after a part of it: a connection
// that waits does not need the large stack that this took.
func (c *conn) serve() {
	ended := true
	defer func() { c.end(ended, recover()) }()
	err := c.read()
	if err == errAnotherGoroutine {
		ended, c.in.Ended = false, nil
		go c.serve()
		return
	}
	link.GrowStack(0)
	c.fail(err)
	c.countEnd(err)
}

// read handles packets until an error ends the connection.
func (c *conn) read() error {
	for {
		if c.marked(superseded) {
			return c.readRest()
		}
		if c.marked(identityEnded) {
			return c.whyNoMore()
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
	c.in.Now, c.in.Before, c.in.Asked = int64(momentOf(c.now)), int64(max(c.lastPacket, c.unfinishedSince)), false
	c.reader.Wrote(n)
	if c.unfinishedSince != 0 && c.client != nil {
		c.progress(n)
	}
	c.countBytes(n)
	for more := true; more; {
		if more, c.in.Ended = c.handleBuffered(); c.in.Ended == nil {
			c.in.Unfinished = c.reader.Buffered() > 0
		}
		c.out.CountReceived(n, c.messages)
		n, c.messages = 0, 0
		c.pending.flush(c.b.m)
		if c.in.Ended != nil {
			return false
		}
		c.awaitLeave()
	}
	if c.movesOn {
		c.movesOn = c.client == nil
		c.in.Ended = errAnotherGoroutine
	}
	return c.in.Ended == nil && !c.marked(superseded|identityEnded)
}

// handleBuffered handles every whole packet that was read. It reports more if it has left
// some, for a Client that is over its rate.
func (c *conn) handleBuffered() (more bool, err error) {
	defer c.leaveGate()
	if c.client == nil && !c.marked(authenticates) {
		if err := c.checkFirst(); err != nil {
			return false, err
		}
	}
	for {
		f, err := c.reader.Next()
		if err == codec.ErrIncomplete {
			break
		}
		if err != nil {
			return false, c.sized(err)
		}
		c.lastPacket, c.unfinishedSince, c.finished = momentOf(c.now), 0, true
		c.pending.ReceivedPacket()
		if err := c.handle(f); err != nil {
			return false, err
		}
		if c.publisher != nil && f.Type() == codec.TypePublish && c.countMessage() {
			more = true
			break
		}
		if c.gatedCount++; c.gatedCount >= gateBatch || c.pending.Len() > gateBatch {
			c.leaveGate()
		}
		if c.pending.Ripe() {
			c.leaveGate()
			c.pending.flush(c.b.m)
		}
	}
	if c.reader.Buffered() == 0 {
		if c.client != nil {
			c.unfinishedSince = 0
		}
	} else if c.unfinishedSince == 0 {
		c.unfinishedSince = momentOf(c.now)
	}
	return more, nil
}

// gateBatch is how many packets may be handled without letting go of the gate:
// few enough for a commit not to wait long.
const gateBatch = 16

// enterGate makes sure that the committer's gate is held for reading, as it is
// from one PUBLISH or acknowledgement to the next. See leaveGate.
func (c *conn) enterGate() {
	if !c.gated {
		c.b.commits.Enter()
		c.gated, c.gatedCount = true, 0
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
		if len(c.pending.orphans) > 0 { // see Broker.leave
			c.b.handOverDenied(&c.pending)
		}
		c.b.commits.Leave()
	}
}

// sized adds the size of the next packet to err, if that is that it is too large.
func (c *conn) sized(err error) error {
	if reason, _, _ := reasonOf(err); reason == codec.PacketTooLarge {
		size, limit := c.reader.NextBytes(), c.b.o.MaxPacketSize
		return refuse(reason, fmt.Sprintf("the packet has %s bytes, and mqtt.max-packet-size is %s", notice.Grouped(size), notice.Grouped(int(limit))),
			"size", size, "limit", limit, "key", "mqtt.max-packet-size")
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
	if c.client == nil {
		link.GrowForConnect(0)
		if c.marked(authenticates) {
			return c.handleBeforeConnack(f)
		}
		return c.handleConnect(f)
	}
	if c.marked(takenOver | identityEnded) {
		return c.whyNoMore()
	}
	switch f.Type() {
	case codec.TypePublish:
		c.in.Asked, c.published = true, true
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

// refuseType is not a part of handle, like all that PINGREQ does not need, so that an
// idle connection gets by with a small stack.
//
//go:noinline
func refuseType(t codec.PacketType) error {
	return refuse(codec.ProtocolError, t.String()+" is not for a Server")
}

// explain turns the error of a read into a refusal if the Client was too late. It
// returns nil if the reader goes on: it was only woken, or the deadline has moved, or
// something had come in time, which is handled here.
func (c *conn) explain(err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if c.marked(superseded|identityEnded) || !c.overdue(c.b.clock.Now()) {
		return nil
	}
	// What has come counts, even if it was not read in time: this machine may have
	// stood still, or been busy.
	n, err := c.net().ReadNow(c)
	switch {
	case err == nil:
		c.Received(n)
		return c.in.Ended
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return err
	}
	return c.refuseOverdue()
}

// readRest handles what has reached the Server before the Session is taken over, and
// returns why the connection ends: for that, unless the Client ended it itself.
func (c *conn) readRest() error {
	late := time.NewTimer(takeoverWait)
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

// awaitRoom blocks while too much waits to be written to the connection or, if what it
// sent was stored, to disk. It does not if another connection waits for the Session.
// It reports whether it blocked.
func (c *conn) awaitRoom() (blocked bool) {
	if room := c.out.RoomToRead(); room != nil {
		<-room
		blocked = true
	}
	if !c.storedSome {
		return blocked
	}
	c.storedSome = false
	for room := c.b.commits.Overfull(); room != nil; room = c.b.commits.Overfull() {
		superseding := c.out.Woken()
		if superseding == nil {
			break
		}
		select {
		case <-room:
		case <-superseding:
		}
		blocked = true
	}
	return blocked
}

// roomBefore waits until there is room for more answers. It reports false if late comes
// first.
func (c *conn) roomBefore(late <-chan time.Time) bool {
	room := c.out.Room()
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

// partialBytes are the sizes, in bytes, of the buffers in which the beginning of a packet
// waits for the rest, if it fills no more than two thirds of one.
var partialBytes = [...]int{128, 512, 1024, 2048, 4096}

// work makes sure that the reader has a read state. rest gives it back.
func (c *conn) work() {
	if c.readState != nil {
		return
	}
	c.readState = readStates.Get().(*readState)
	c.route.cache = c.routes
	if c.unfinished != nil {
		c.reader = *c.unfinished
	} else {
		c.reader.Reset(int(c.b.o.MaxPacketSize))
		c.reader.SetVersion(c.version)
	}
}

func (c *conn) rest() {
	w := c.readState
	if w.reader.Buffered() == 0 {
		c.forgetUnfinished()
	} else {
		if c.unfinished == nil {
			c.unfinished = new(codec.Reader)
		}
		was := c.unfinished.Lent()
		c.b.partialBytes.Add(int64(w.reader.Lent() - was))
		*c.unfinished = w.reader
		c.b.partials.note(c, was, w.reader.Lent(), momentOf(c.now), w.finished)
	}
	c.routes, c.readState = w.route.cache, nil
	w.packets = packets{} // in a statement of its own, else a copy on the stack makes that grow
	w.reader = codec.Reader{}
	w.in.Ended, w.published, w.finished = nil, false, false
	w.route.forget()
	w.pending.fx.Reset()
	w.pending.tracedSend = nil
	readStates.Put(w)
}

// forgetUnfinished forgets the beginning of a packet.
func (c *conn) forgetUnfinished() {
	if c.unfinished != nil {
		was := c.unfinished.Lent()
		c.b.partialBytes.Add(-int64(was))
		c.b.partials.note(c, was, 0, 0, false)
		c.unfinished = nil
	}
}

// Room lends the reader a buffer when it has none.
func (c *conn) Room() []byte {
	c.work()
	if c.reader.Buffered() == 0 {
		if b := c.reader.Reclaim(); b != nil {
			c.reader.Lend(b)
		} else {
			c.reader.Lend(link.ReadBuffers.Get(c.roomMax()))
		}
	}
	room := c.reader.Room()
	return room[:min(len(room), c.roomMax())]
}

// Idle takes the buffer back before the connection waits. The beginning of a packet
// is kept, in a small buffer if it fits.
func (c *conn) Idle() {
	if c.readState == nil {
		return
	}
	b := c.reader.Reclaim()
	if n := c.reader.Buffered(); n > 0 {
		for _, size := range partialBytes {
			if 3*n <= 2*size && c.reader.Lent() > size {
				b = c.reader.Move(make([]byte, size))
				break
			}
		}
	}
	if b != nil {
		link.ReadBuffers.Put(b)
	}
	c.rest()
}
