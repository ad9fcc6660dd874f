package broker

import (
	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/codec"
)

// handleDisconnect ends the connection at the Client's wish. Section 3.14.
func (c *conn) handleDisconnect(f codec.Frame) error {
	p := &c.packets.disconnect
	if err := p.Decode(f, c.version); err != nil {
		return err
	}
	cl := c.client
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.conn != c {
		return errTakenOver
	}
	if p.HasSessionExpiry {
		if c.params.endsWithConnection && p.SessionExpirySeconds != 0 { // section 3.14.2.2.2
			return refuse(codec.ProtocolError, "a Session that was to end with the connection cannot be prolonged")
		}
		cl.sess.SetExpiry(min(p.SessionExpirySeconds, c.b.options().MaxSessionExpirySeconds))
	}
	c.disconnected = true
	c.willVoid = p.Reason == codec.NormalDisconnection && !control.Broken(control.WillAfterDisconnect) // [MQTT-3.14.4-3]
	return errDisconnect
}

// appendDisconnect encodes a DISCONNECT; clients before v5 get none, and none says
// that the broker ends unless that is asked for.
func (c *conn) appendDisconnect(dst []byte, reason codec.ReasonCode, detail string) []byte {
	if c.version != codec.Version5 || (reason == codec.ServerShuttingDown && !c.b.options().ShutdownNotice) {
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

// lastWord is the DISCONNECT for a Client whose Session another connection has taken.
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
