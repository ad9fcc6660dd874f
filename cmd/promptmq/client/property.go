package client

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/x0a1b/promptmq/codec"
)

// A Property is one that a user asks for in words: of which packet, its name in the specification
// with hyphens, and its value. Name is the first half of a User Property.
type Property struct{ Packet, Identifier, Name, Value string }

// Properties are where properties are put. Publish and Will are encoded as they are passed on.
type Properties struct {
	Connect        *codec.Connect
	Publish        *codec.Publish
	Disconnect     *codec.Disconnect
	SubscriptionID uint32
	SubscribeUser  codec.UserProperties

	users              map[string][]byte
	forward, forwarded []byte // of PUBLISH, of the Will
}

// allowed has the identifiers for each packet, User Properties aside, which all have.
var allowed = map[string][]string{
	"connect":    {"authentication-data", "authentication-method", "maximum-packet-size", "receive-maximum", "request-problem-information", "request-response-information", "session-expiry-interval", "topic-alias-maximum"},
	"publish":    {"content-type", "correlation-data", "message-expiry-interval", "payload-format-indicator", "response-topic", "topic-alias"},
	"subscribe":  {"subscription-identifier"},
	"disconnect": {"session-expiry-interval"},
	"will":       {"content-type", "correlation-data", "message-expiry-interval", "payload-format-indicator", "response-topic", "will-delay-interval"},
}

// Set puts the properties in their places, or says what is wrong with the first that cannot be.
func (t *Properties) Set(list []Property) error {
	t.users = map[string][]byte{}
	for _, p := range list {
		p.Packet, p.Identifier = strings.ToLower(p.Packet), strings.ToLower(p.Identifier)
		if err := t.set(p); err != nil {
			return fmt.Errorf("-D %s %s: %w", p.Packet, p.Identifier, err)
		}
	}
	t.Connect.UserProperties = codec.MakeUserProperties(t.users["connect"])
	t.SubscribeUser = codec.MakeUserProperties(t.users["subscribe"])
	t.Disconnect.UserProperties = codec.MakeUserProperties(t.users["disconnect"])
	t.Publish.Forward = codec.ForwardBytes(append(t.forward, t.users["publish"]...))
	t.Connect.Will.Forward = codec.ForwardBytes(append(t.forwarded, t.users["will"]...))
	return nil
}

func (t *Properties) set(p Property) error {
	names, known := allowed[p.Packet]
	if !known {
		return fmt.Errorf("the packet is one of connect, publish, subscribe, disconnect and will")
	}
	if !codec.ValidUTF8(codec.View(p.Value)) && p.Identifier != "correlation-data" && p.Identifier != "authentication-data" || len(p.Value) > 65535 || len(p.Name) > 65535 {
		return fmt.Errorf("a value is UTF-8 without U+0000, of 65,535 bytes at most")
	}
	if p.Identifier == "user-property" {
		t.users[p.Packet] = codec.AppendUserProperty(t.users[p.Packet], []byte(p.Name), []byte(p.Value))
		return nil
	}
	if !slices.Contains(names, p.Identifier) {
		return fmt.Errorf("the properties of %s are %s and user-property", p.Packet, strings.Join(names, ", "))
	}
	forward := &t.forward
	if p.Packet == "will" {
		forward = &t.forwarded
	}
	switch p.Identifier {
	case "authentication-data":
		t.Connect.AuthenticationData, t.Connect.HasAuthenticationData = codec.View(p.Value), true
	case "authentication-method":
		t.Connect.AuthenticationMethod, t.Connect.HasAuthenticationMethod = codec.View(p.Value), true
	case "content-type":
		*forward = appendText(*forward, 0x03, p.Value)
	case "response-topic":
		if p.Value == "" || strings.ContainsAny(p.Value, "+#") { // [MQTT-3.3.2-14]
			return fmt.Errorf("a topic without wildcards, not %q", p.Value)
		}
		*forward = appendText(*forward, 0x08, p.Value)
	case "correlation-data":
		*forward = appendText(*forward, 0x09, p.Value)
	default:
		return t.setNumber(p, forward)
	}
	return nil
}

func appendText(b []byte, id byte, value string) []byte {
	return append(binary.BigEndian.AppendUint16(append(b, id), uint16(len(value))), value...)
}

// numbers has the least and the greatest value.
var numbers = map[string][2]uint64{
	"maximum-packet-size": {1, 1<<32 - 1}, "receive-maximum": {1, 65535}, "request-problem-information": {0, 1},
	"request-response-information": {0, 1}, "session-expiry-interval": {0, 1<<32 - 1}, "topic-alias-maximum": {0, 65535},
	"message-expiry-interval": {0, 1<<32 - 1}, "payload-format-indicator": {0, 1}, "topic-alias": {1, 65535},
	"subscription-identifier": {1, 268435455}, "will-delay-interval": {0, 1<<32 - 1},
}

func (t *Properties) setNumber(p Property, forward *[]byte) error {
	limits := numbers[p.Identifier]
	n, err := strconv.ParseUint(p.Value, 10, 32)
	if err != nil || n < limits[0] || n > limits[1] {
		return fmt.Errorf("a number from %d to %d, not %q", limits[0], limits[1], p.Value)
	}
	will := p.Packet == "will"
	switch p.Identifier {
	case "maximum-packet-size":
		t.Connect.MaximumPacketSize = uint32(n)
	case "receive-maximum":
		t.Connect.ReceiveMaximum = uint16(n)
	case "request-problem-information":
		t.Connect.RequestProblemInformation = n == 1
	case "request-response-information":
		t.Connect.RequestResponseInformation = n == 1
	case "session-expiry-interval":
		if p.Packet == "disconnect" {
			t.Disconnect.SessionExpirySeconds, t.Disconnect.HasSessionExpiry = uint32(n), true
		} else {
			t.Connect.SessionExpirySeconds, t.Connect.HasSessionExpiry = uint32(n), true
		}
	case "topic-alias-maximum":
		t.Connect.TopicAliasMaximum = uint16(n)
	case "topic-alias":
		t.Publish.TopicAlias = uint16(n)
	case "subscription-identifier":
		t.SubscriptionID = uint32(n)
	case "will-delay-interval":
		t.Connect.Will.DelaySeconds = uint32(n)
	case "payload-format-indicator":
		*forward = append(*forward, 0x01, byte(n))
	case "message-expiry-interval":
		if will {
			t.Connect.Will.MessageExpirySeconds, t.Connect.Will.HasMessageExpiry = uint32(n), true
		} else {
			t.Publish.MessageExpirySeconds, t.Publish.HasMessageExpiry = uint32(n), true
		}
	}
	return nil
}
