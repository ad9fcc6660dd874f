package codec

import "errors"

// ErrIncomplete says that the reader has no whole packet yet.
var ErrIncomplete = errors.New("codec: incomplete packet")

// An Error is what is wrong with a packet: the Reason Code to answer with, and
// the normative statement it breaks ("MQTT-1.5.4-1"), empty if there is none of
// that kind. Statements are those of version 5, or of 3.1.1 for its own rules. Decoding returns values made in advance: an error costs nothing.
type Error struct {
	Reason ReasonCode
	Rule   string
	Detail string
}

// Error implements error.
func (e *Error) Error() string {
	s := "codec: " + e.Reason.String() + ": " + e.Detail
	if e.Rule != "" {
		s += " [" + e.Rule + "]"
	}
	return s
}

func malformed(rule, detail string) *Error { return &Error{MalformedPacket, rule, detail} }

func protocolError(rule, detail string) *Error { return &Error{ProtocolError, rule, detail} }

var (
	errShort             = malformed("", "the packet ends before its last field")
	errTrailing          = malformed("", "bytes after the last field")
	errRemainingLength   = malformed("MQTT-1.5.5-1", "the Remaining Length is not a minimal Variable Byte Integer of at most four bytes")
	errVarint            = malformed("MQTT-1.5.5-1", "not a minimal Variable Byte Integer of at most four bytes")
	errUTF8              = malformed("MQTT-1.5.4-1", "a string is not well-formed UTF-8")
	errNull              = malformed("MQTT-1.5.4-2", "a string contains U+0000")
	errPacketType        = malformed("", "packet type 0 is reserved")
	errFlags             = malformed("MQTT-2.1.3-1", "reserved flags in the fixed header are set wrongly")
	errTooLarge          = &Error{PacketTooLarge, "", "the packet exceeds the Maximum Packet Size"}
	errPacketID          = malformed("MQTT-2.2.1-3", "the Packet Identifier is zero")
	errProtocolName      = &Error{UnsupportedProtocolVersion, "MQTT-3.1.2-1", "the protocol name is neither MQTT nor MQIsdp"}
	errVersion           = &Error{UnsupportedProtocolVersion, "MQTT-3.1.2-2", "the protocol version is not supported"}
	errConnectFlag       = malformed("MQTT-3.1.2-3", "the reserved flag in CONNECT is not zero")
	errWillQoS           = malformed("MQTT-3.1.2-12", "the Will QoS is 3")
	errWillQoSAlone      = malformed("MQTT-3.1.2-11", "a Will QoS without a Will")
	errWillRetainAlone   = malformed("MQTT-3.1.2-13", "Will Retain without a Will")
	errPassword          = malformed("MQTT-3.1.2-22", "a Password without a User Name")
	errQoS               = malformed("MQTT-3.3.1-4", "both QoS bits are set")
	errDup               = malformed("MQTT-3.3.1-2", "DUP is set at QoS 0")
	errTopicWildcard     = &Error{TopicNameInvalid, "MQTT-3.3.2-2", "a Topic Name contains a wildcard"}
	errTopicEmpty        = protocolError("MQTT-4.7.3-1", "an empty Topic Name without a Topic Alias")
	errTopicEmpty3       = malformed("MQTT-4.7.3-1", "an empty Topic Name")
	errFilterEmpty       = malformed("MQTT-4.7.3-1", "an empty Topic Filter")
	errAliasZero         = &Error{TopicAliasInvalid, "MQTT-3.3.2-8", "the Topic Alias is 0"}
	errResponseEmpty     = protocolError("MQTT-4.7.3-1", "the Response Topic is empty")
	errResponseWildcard  = protocolError("MQTT-3.3.2-14", "the Response Topic contains a wildcard")
	errNoFilter          = protocolError("MQTT-3.8.3-2", "SUBSCRIBE without a Topic Filter")
	errNoUnsubFilter     = protocolError("MQTT-3.10.3-2", "UNSUBSCRIBE without a Topic Filter")
	errSubscribeOptions  = malformed("MQTT-3.8.3-5", "reserved bits in the Subscription Options are set")
	errSubscribeOptions3 = malformed("MQTT-3-8.3-4", "reserved bits are set beside the requested QoS, or it is 3")
	errSubscribeQoS      = protocolError("", "the Subscription Options ask for QoS 3")
	errRetainHandling    = protocolError("", "Retain Handling is 3")
	errReasonCode        = protocolError("", "the Reason Code is not one of this packet")
	errConnackFlags      = malformed("MQTT-3.2.2-1", "reserved bits in the Connect Acknowledge Flags are set")
	errConnackPresent    = protocolError("MQTT-3.2.2-6", "Session Present in a CONNACK that refuses")
	errPropertyUnknown   = malformed("", "an unknown property identifier")
	errPropertyPacket    = malformed("", "a property that does not belong in this packet")
	errPropertyTwice     = protocolError("", "a property that may stand only once stands twice")
	errPropertyBoolean   = protocolError("", "a property that is 0 or 1 has another value")
	errPropertyZero      = protocolError("", "a property that must not be 0 is 0")
	errPropertyLength    = malformed("", "the Property Length exceeds the packet")
	errAuthData          = protocolError("", "Authentication Data without an Authentication Method")
	errAuthMethod        = protocolError("", "AUTH without an Authentication Method")
	errAuthVersion       = protocolError("", "AUTH before version 5")
	errEncodeString      = errors.New("codec: a string or binary field exceeds 65,535 bytes")
	errEncodeLength      = errors.New("codec: the packet exceeds 268,435,455 bytes")
	errEncodeField       = errors.New("codec: a field has a value that this packet or version cannot carry")
	errEncodeSubscribers = errors.New("codec: a list must not be empty")
)
