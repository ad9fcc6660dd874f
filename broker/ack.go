package broker

import (
	"fmt"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/codec"
)

// handleAck takes PUBACK, PUBREC, PUBREL and PUBCOMP. Sections 3.4 to 3.7.
func (c *conn) handleAck(f codec.Frame) error {
	ack := &c.packets.ack
	if err := ack.Decode(f, c.version); err != nil {
		return err
	}
	if c.b.traces.running() {
		c.traceAck(ack)
	}
	cl := c.client
	c.enterGate()
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.conn != c {
		return errTakenOver
	}
	c.pending.fx.Reset()
	if ack.Type == codec.TypePubrel {
		c.receivePubrelLocked(ack.PacketID)
	} else if err := c.receiveAckLocked(ack); err != nil {
		return err
	}
	cl.startFeedLocked()
	return nil
}

// receiveAckLocked takes an acknowledgement of a delivery. A late one, for a Packet
// Identifier that is not in use, is ignored. One of the wrong kind is a Protocol Error:
// both sides would disagree on what was delivered.
func (c *conn) receiveAckLocked(ack *codec.Ack) error {
	cl, fx := c.client, &c.pending.fx
	var found bool
	switch ack.Type {
	case codec.TypePuback:
		found = cl.sess.ReceivePuback(ack.PacketID, c.now, fx)
	case codec.TypePubrec:
		found = cl.sess.ReceivePubrec(ack.PacketID, ack.Reason, c.now, fx)
	case codec.TypePubcomp:
		found = cl.sess.ReceivePubcomp(ack.PacketID, c.now, fx)
	}
	if !found {
		if awaited := cl.sess.Awaits(ack.PacketID); awaited != 0 && !control.Broken(control.WrongAcknowledgementIgnored) {
			return refuse(codec.ProtocolError, fmt.Sprintf("%v for Packet Identifier %d, which awaits %v", ack.Type, ack.PacketID, awaited))
		}
	}
	cl.applyLocked(c.now, &c.pending)
	if !found && ack.Type == codec.TypePubrec && ack.Reason < 0x80 {
		// The sender of PUBREC waits for PUBREL; 0x92 tells it that there is no such message.
		c.acknowledge(codec.TypePubrel, ack.PacketID, codec.PacketIdentifierNotFound, link.Hold{}, &c.pending)
	}
	return nil
}

// receivePubrelLocked releases a Packet Identifier and queues PUBCOMP behind
// the commit of the release. [MQTT-4.3.3-11]
func (c *conn) receivePubrelLocked(packetID uint16) {
	control.Panic(control.PanicInAcknowledgement)
	cl := c.client
	reason := codec.Success
	if !cl.sess.ReceivePubrel(packetID, &c.pending.fx) {
		reason = codec.PacketIdentifierNotFound
	}
	if c.pending.fx.State { // there is nothing else to do
		cl.applyLocked(c.now, &c.pending)
	}
	// An unknown identifier may be one whose release is still to be committed.
	group := uint64(0)
	if cl.sess.Durable() {
		group = cl.lastGroup
	}
	if control.Broken(control.PubcompBeforeRemoval) {
		group = 0
	}
	// What an earlier connection received does not count on this one. Section 4.9.
	credit := reason == codec.Success && c.receiving > 0
	c.acknowledge(codec.TypePubcomp, packetID, reason, link.Hold{Commit: group, Credit: credit}, &c.pending)
}
