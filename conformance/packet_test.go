package conformance

import (
	"fmt"

	"github.com/x0a1b/promptmq/codec"
)

// A message is a PUBLISH as a client sees it. It owns its memory.
type message struct {
	topic, payload string
	qos            codec.QoS
	dup, retain    bool
	id             uint16
	alias          uint16
	hasExpiry      bool
	expiry         uint32 // seconds
	subIDs         []uint32
	format         int // Payload Format Indicator; -1: absent
	// The following are nil if absent.
	contentType, responseTopic, correlation []byte
	user                                    [][2]string
}

func messageOf(p *codec.Publish) *message {
	m := &message{
		topic: string(p.Topic), payload: string(p.Payload), qos: p.QoS, dup: p.Dup, retain: p.Retain, id: p.PacketID,
		alias: p.TopicAlias, hasExpiry: p.HasMessageExpiry, expiry: p.MessageExpirySeconds,
		subIDs: append([]uint32(nil), p.SubscriptionIDs...), format: -1,
	}
	if f, ok := p.Forward.PayloadFormat(); ok {
		m.format = int(f)
	}
	keep := func(v codec.View, ok bool) []byte {
		if !ok {
			return nil
		}
		return append([]byte{}, v...)
	}
	m.contentType = keep(p.Forward.ContentType())
	m.responseTopic = keep(p.Forward.ResponseTopic())
	m.correlation = keep(p.Forward.CorrelationData())
	p.Forward.EachUserProperty(func(name, value codec.View) bool {
		m.user = append(m.user, [2]string{string(name), string(value)})
		return true
	})
	return m
}

func (m *message) String() string {
	return fmt.Sprintf("PUBLISH %q %q (QoS %d, DUP %v, RETAIN %v, Packet Identifier %d)", m.topic, clip(m.payload), m.qos, m.dup, m.retain, m.id)
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

// hex is the beginning of b in hexadecimal.
func hex(b []byte) string {
	if len(b) > 40 {
		return fmt.Sprintf("% x …", b[:40])
	}
	return fmt.Sprintf("% x", b)
}

// A packet is any packet from the broker. Only the field of its type counts. It
// owns its memory.
type packet struct {
	typ         codec.PacketType
	first       byte   // of the Fixed Header
	body        []byte // behind the Fixed Header
	message     *message
	ack         codec.Ack // PUBACK, PUBREC, PUBREL, PUBCOMP
	connack     codec.Connack
	subackID    uint16 // SUBACK and UNSUBACK
	reasons     []byte
	disconnect  codec.Disconnect
	auth        codec.Auth
	hasReason   bool // a Reason String
	reason      string
	hasUserProp bool
}

// decodePacket takes a frame apart, strictly.
func decodePacket(f codec.Frame, v codec.Version) (*packet, error) {
	p := &packet{typ: f.Type(), first: f.First, body: append([]byte{}, f.Body...)}
	f.Body = p.body // what is decoded borrows the packet's own memory
	users := codec.UserProperties{}
	var err error
	switch p.typ {
	case codec.TypePublish:
		var pub codec.Publish
		if err = pub.Decode(f, v); err == nil {
			p.message = messageOf(&pub)
		}
		return p, err
	case codec.TypePuback, codec.TypePubrec, codec.TypePubrel, codec.TypePubcomp:
		err = p.ack.Decode(f, v)
		p.hasReason, p.reason, users = p.ack.HasReasonString, string(p.ack.ReasonString), p.ack.UserProperties
	case codec.TypeConnack:
		err = p.connack.Decode(f, v)
		p.hasReason, p.reason, users = p.connack.HasReasonString, string(p.connack.ReasonString), p.connack.UserProperties
	case codec.TypeSuback:
		var s codec.Suback
		err = s.Decode(f, v)
		p.subackID, p.reasons = s.PacketID, s.Reasons
		p.hasReason, p.reason, users = s.HasReasonString, string(s.ReasonString), s.UserProperties
	case codec.TypeUnsuback:
		var u codec.Unsuback
		err = u.Decode(f, v)
		p.subackID, p.reasons = u.PacketID, u.Reasons
		p.hasReason, p.reason, users = u.HasReasonString, string(u.ReasonString), u.UserProperties
	case codec.TypeDisconnect:
		if v != codec.Version5 {
			return p, fmt.Errorf("DISCONNECT from the Server before MQTT 5")
		}
		err = p.disconnect.Decode(f, v)
		p.hasReason, p.reason, users = p.disconnect.HasReasonString, string(p.disconnect.ReasonString), p.disconnect.UserProperties
	case codec.TypePingresp:
		err = codec.DecodePing(f)
	case codec.TypeAuth:
		err = p.auth.Decode(f, v)
		p.hasReason, p.reason, users = p.auth.HasReasonString, string(p.auth.ReasonString), p.auth.UserProperties
	default:
		err = fmt.Errorf("%v is not for a Server to send", p.typ)
	}
	users.Each(func(codec.View, codec.View) bool {
		p.hasUserProp = true
		return true
	})
	return p, err
}

func (p *packet) String() string {
	switch p.typ {
	case codec.TypePublish:
		return p.message.String()
	case codec.TypePuback, codec.TypePubrec, codec.TypePubrel, codec.TypePubcomp:
		return fmt.Sprintf("%v %d (%v)", p.typ, p.ack.PacketID, p.ack.Reason)
	case codec.TypeConnack:
		return fmt.Sprintf("CONNACK (%v)", p.connack.Reason)
	case codec.TypeDisconnect:
		return fmt.Sprintf("DISCONNECT (%v)", p.disconnect.Reason)
	}
	return p.typ.String()
}
