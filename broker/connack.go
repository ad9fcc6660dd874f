package broker

import (
	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/codec"
)

// connackBytesMin is the size of a CONNACK without properties. A Client whose
// Maximum Packet Size is not known gets none that is larger. [MQTT-3.2.2-19]
const connackBytesMin = 5

// fillConnack tells the Client what this Server does and does not. Section 3.2.2.3.
func (c *conn) fillConnack(ack *codec.Connack) {
	if c.version != codec.Version5 {
		return
	}
	o := &c.b.o
	if o.MaxQoS < 2 && !control.Broken(control.MaximumQoSNotTold) { // [MQTT-3.2.2-9]
		ack.MaximumQoS, ack.HasMaximumQoS = o.MaxQoS, true
	}
	ack.ReceiveMaximum = o.ReceiveMaximum
	ack.MaximumPacketSize = o.MaxPacketSize
	ack.TopicAliasMaximum = o.TopicAliasMaximum
	ack.RetainUnavailable = !o.RetainAvailable
	ack.WildcardUnavailable = !o.WildcardAvailable
	ack.SharedUnavailable = !o.SharedSubAvailable
}

// fits says whether the Client takes a packet as large as this CONNACK.
// [MQTT-3.1.2-24]
func (c *conn) fits(ack *codec.Connack) bool {
	b, _ := codec.AppendConnack(nil, ack, c.version) // cannot fail: the fields are in range
	return c.params.fits(len(b))
}

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
