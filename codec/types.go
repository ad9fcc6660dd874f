package codec

// Version is a protocol version: the Protocol Level in CONNECT. Section 3.1.2.2.
type Version byte

// The protocol versions.
const (
	Version31  Version = 3
	Version311 Version = 4
	Version5   Version = 5
)

// String returns the name of the version as people write it.
func (v Version) String() string {
	switch v {
	case Version31:
		return "3.1"
	case Version311:
		return "3.1.1"
	case Version5:
		return "5"
	}
	return "unknown"
}

// QoS is a Quality of Service level: 0, 1 or 2. Section 4.3.
type QoS byte

// PacketType is an MQTT Control Packet type. Section 2.1.2.
type PacketType byte

// The control packet types.
const (
	TypeConnect PacketType = iota + 1
	TypeConnack
	TypePublish
	TypePuback
	TypePubrec
	TypePubrel
	TypePubcomp
	TypeSubscribe
	TypeSuback
	TypeUnsubscribe
	TypeUnsuback
	TypePingreq
	TypePingresp
	TypeDisconnect
	TypeAuth
)

var typeNames = [...]string{
	"RESERVED", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP",
	"SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH",
}

// String returns the name as the specification spells it.
func (t PacketType) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return "INVALID"
}

// View is a slice of the packet it was decoded from: valid until the reader's
// next Next, Room or Reset. It may be passed down the stack, not kept.
type View []byte

// Clone returns a copy that may be kept; nil for an empty View.
func (v View) Clone() []byte {
	if len(v) == 0 {
		return nil
	}
	return append([]byte(nil), v...)
}

// String returns a copy as a string.
func (v View) String() string { return string(v) }
