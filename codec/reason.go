package codec

import "fmt"

// ReasonCode is the result of an operation; 0x80 and above are failures.
// Section 2.4.
type ReasonCode byte

// The Reason Codes. Some values have several names, by packet.
const (
	Success                             ReasonCode = 0x00
	NormalDisconnection                 ReasonCode = 0x00
	GrantedQoS0                         ReasonCode = 0x00
	GrantedQoS1                         ReasonCode = 0x01
	GrantedQoS2                         ReasonCode = 0x02
	DisconnectWithWill                  ReasonCode = 0x04
	NoMatchingSubscribers               ReasonCode = 0x10
	NoSubscriptionExisted               ReasonCode = 0x11
	ContinueAuthentication              ReasonCode = 0x18
	ReAuthenticate                      ReasonCode = 0x19
	UnspecifiedError                    ReasonCode = 0x80
	MalformedPacket                     ReasonCode = 0x81
	ProtocolError                       ReasonCode = 0x82
	ImplementationSpecificError         ReasonCode = 0x83
	UnsupportedProtocolVersion          ReasonCode = 0x84
	ClientIdentifierNotValid            ReasonCode = 0x85
	BadUserNameOrPassword               ReasonCode = 0x86
	NotAuthorized                       ReasonCode = 0x87
	ServerUnavailable                   ReasonCode = 0x88
	ServerBusy                          ReasonCode = 0x89
	Banned                              ReasonCode = 0x8A
	ServerShuttingDown                  ReasonCode = 0x8B
	BadAuthenticationMethod             ReasonCode = 0x8C
	KeepAliveTimeout                    ReasonCode = 0x8D
	SessionTakenOver                    ReasonCode = 0x8E
	TopicFilterInvalid                  ReasonCode = 0x8F
	TopicNameInvalid                    ReasonCode = 0x90
	PacketIdentifierInUse               ReasonCode = 0x91
	PacketIdentifierNotFound            ReasonCode = 0x92
	ReceiveMaximumExceeded              ReasonCode = 0x93
	TopicAliasInvalid                   ReasonCode = 0x94
	PacketTooLarge                      ReasonCode = 0x95
	MessageRateTooHigh                  ReasonCode = 0x96
	QuotaExceeded                       ReasonCode = 0x97
	AdministrativeAction                ReasonCode = 0x98
	PayloadFormatInvalid                ReasonCode = 0x99
	RetainNotSupported                  ReasonCode = 0x9A
	QoSNotSupported                     ReasonCode = 0x9B
	UseAnotherServer                    ReasonCode = 0x9C
	ServerMoved                         ReasonCode = 0x9D
	SharedSubscriptionsNotSupported     ReasonCode = 0x9E
	ConnectionRateExceeded              ReasonCode = 0x9F
	MaximumConnectTime                  ReasonCode = 0xA0
	SubscriptionIdentifiersNotSupported ReasonCode = 0xA1
	WildcardSubscriptionsNotSupported   ReasonCode = 0xA2
)

// packetSet is a set of packet types; willSet stands for Will Properties.
type packetSet uint32

const willSet packetSet = 1

func packets(types ...PacketType) packetSet {
	var s packetSet
	for _, t := range types {
		s |= 1 << t
	}
	return s
}

func (s packetSet) has(t PacketType) bool { return s>>t&1 != 0 }

const (
	inConnack    packetSet = 1 << TypeConnack
	inPuback     packetSet = 1 << TypePuback
	inPubrec     packetSet = 1 << TypePubrec
	inPubrel     packetSet = 1 << TypePubrel
	inPubcomp    packetSet = 1 << TypePubcomp
	inSuback     packetSet = 1 << TypeSuback
	inUnsuback   packetSet = 1 << TypeUnsuback
	inDisconnect packetSet = 1 << TypeDisconnect
	inAuth       packetSet = 1 << TypeAuth
	inPubs                 = inPuback | inPubrec
	inSubs                 = inSuback | inUnsuback
)

// reasons says in which packets a Reason Code may stand. Table 2-6.
var reasons = [256]struct {
	in   packetSet
	name string
}{
	0x00: {inConnack | inPubs | inPubrel | inPubcomp | inSubs | inDisconnect | inAuth, "Success"},
	0x01: {inSuback, "Granted QoS 1"},
	0x02: {inSuback, "Granted QoS 2"},
	0x04: {inDisconnect, "Disconnect with Will Message"},
	0x10: {inPubs, "No matching subscribers"},
	0x11: {inUnsuback, "No subscription existed"},
	0x18: {inAuth, "Continue authentication"},
	0x19: {inAuth, "Re-authenticate"},
	0x80: {inConnack | inPubs | inSubs | inDisconnect, "Unspecified error"},
	0x81: {inConnack | inDisconnect, "Malformed Packet"},
	0x82: {inConnack | inDisconnect, "Protocol Error"},
	0x83: {inConnack | inPubs | inSubs | inDisconnect, "Implementation specific error"},
	0x84: {inConnack, "Unsupported Protocol Version"},
	0x85: {inConnack, "Client Identifier not valid"},
	0x86: {inConnack, "Bad User Name or Password"},
	0x87: {inConnack | inPubs | inSubs | inDisconnect, "Not authorized"},
	0x88: {inConnack, "Server unavailable"},
	0x89: {inConnack | inDisconnect, "Server busy"},
	0x8A: {inConnack, "Banned"},
	0x8B: {inDisconnect, "Server shutting down"},
	0x8C: {inConnack | inDisconnect, "Bad authentication method"},
	0x8D: {inDisconnect, "Keep Alive timeout"},
	0x8E: {inDisconnect, "Session taken over"},
	0x8F: {inSubs | inDisconnect, "Topic Filter invalid"},
	0x90: {inConnack | inPubs | inDisconnect, "Topic Name invalid"},
	0x91: {inPubs | inSubs, "Packet Identifier in use"},
	0x92: {inPubrel | inPubcomp, "Packet Identifier not found"},
	0x93: {inDisconnect, "Receive Maximum exceeded"},
	0x94: {inDisconnect, "Topic Alias invalid"},
	0x95: {inConnack | inDisconnect, "Packet too large"},
	0x96: {inDisconnect, "Message rate too high"},
	0x97: {inConnack | inPubs | inSuback | inDisconnect, "Quota exceeded"},
	0x98: {inDisconnect, "Administrative action"},
	0x99: {inConnack | inPubs | inDisconnect, "Payload format invalid"},
	0x9A: {inConnack | inDisconnect, "Retain not supported"},
	0x9B: {inConnack | inDisconnect, "QoS not supported"},
	0x9C: {inConnack | inDisconnect, "Use another server"},
	0x9D: {inConnack | inDisconnect, "Server moved"},
	0x9E: {inSuback | inDisconnect, "Shared Subscriptions not supported"},
	0x9F: {inConnack | inDisconnect, "Connection rate exceeded"},
	0xA0: {inDisconnect, "Maximum connect time"},
	0xA1: {inSuback | inDisconnect, "Subscription Identifiers not supported"},
	0xA2: {inSuback | inDisconnect, "Wildcard Subscriptions not supported"},
}

// String returns the name in the specification.
func (r ReasonCode) String() string {
	if name := reasons[r].name; name != "" {
		return name
	}
	return fmt.Sprintf("Reason Code 0x%02X", byte(r))
}

// ValidIn reports whether the Reason Code may stand in a packet of type t.
func (r ReasonCode) ValidIn(t PacketType) bool { return reasons[r].in.has(t) }

// ConnackReturnCode returns the return code of a 3.1 or 3.1.1 CONNACK for r.
// Section 3.2.2.3 of 3.1.1. ok is false if none stands for r: a Server closes
// without CONNACK then. [MQTT-3.2.2-6] What may pass without the Client's doing is 3,
// "try later", never 5, which clients take for a question of credentials.
func (r ReasonCode) ConnackReturnCode() (code byte, ok bool) {
	switch r {
	case Success:
		return 0, true
	case UnsupportedProtocolVersion:
		return 1, true
	case ClientIdentifierNotValid:
		return 2, true
	case BadUserNameOrPassword:
		return 4, true
	case NotAuthorized, Banned:
		return 5, true
	case MalformedPacket, ProtocolError, TopicNameInvalid, PacketTooLarge, PayloadFormatInvalid,
		RetainNotSupported, QoSNotSupported, BadAuthenticationMethod:
		return 0, false
	}
	return 3, r.ValidIn(TypeConnack)
}

// reasonOfReturnCode maps the return codes 0 to 5 back.
var reasonOfReturnCode = [...]ReasonCode{
	Success, UnsupportedProtocolVersion, ClientIdentifierNotValid, ServerUnavailable, BadUserNameOrPassword, NotAuthorized,
}
