package codec

import (
	"encoding/binary"
	"slices"
)

// Publish carries an Application Message. Section 3.3.
type Publish struct {
	Dup, Retain bool
	QoS         QoS
	PacketID    uint16 // 0 at QoS 0
	Topic       View   // empty if the Topic Alias stands for it
	Payload     View
	TopicAlias  uint16 // 0: none
	// MessageExpirySeconds counts if HasMessageExpiry is set.
	HasMessageExpiry     bool
	MessageExpirySeconds uint32
	// SubscriptionIDs are only in packets from a Server. Decode keeps the memory.
	SubscriptionIDs []uint32
	Forward         Forward
}

// PUBLISH flags in the fixed header. Section 3.3.1.
const (
	flagRetain = 0x01
	flagDup    = 0x08
)

// Decode decodes a PUBLISH. Whether the sender may use what is in it (an alias
// in range, a Subscription Identifier) is for the caller to say.
func (p *Publish) Decode(f Frame, v Version) error {
	p.Dup, p.Retain, p.QoS = f.First&flagDup != 0, f.First&flagRetain != 0, QoS(f.First>>1&3)
	p.reset()
	if p.QoS > 2 { // [MQTT-3.3.1-4]
		return errQoS
	}
	if p.Dup && p.QoS == 0 { // [MQTT-3.3.1-2]
		if v != Version31 {
			return errDup
		}
		p.Dup = false // "applies to messages where the value of QoS is greater than zero"
	}
	b := f.Body
	if len(b) < 2 {
		return errShort
	}
	n := 2 + (int(b[0])<<8 | int(b[1]))
	if len(b) < n {
		return errShort
	}
	p.Topic, b = b[2:n:n], b[n:]
	if err := checkTopicName(p.Topic); err != nil { // [MQTT-3.3.2-1]
		return err
	}
	if p.QoS > 0 { // [MQTT-2.2.1-2]
		if len(b) < 2 {
			return errShort
		}
		p.PacketID, b = binary.BigEndian.Uint16(b), b[2:]
		if p.PacketID == 0 {
			return errPacketID
		}
	}
	if v == Version5 {
		if len(b) > 0 && b[0] == 0 { // no properties
			b = b[1:]
		} else {
			d := fields{b: b}
			region := d.properties()
			if d.err != nil {
				return d.err
			}
			if err := p.decodeProperties(region); err != nil {
				return err
			}
			b = d.b
		}
	}
	p.Payload = b
	if len(p.Topic) == 0 && p.TopicAlias == 0 {
		if v == Version5 {
			return errTopicEmpty
		}
		return errTopicEmpty3
	}
	return nil
}

// reset empties what follows the flags. Of the large Forward it writes only
// what was used.
func (p *Publish) reset() {
	p.PacketID, p.TopicAlias = 0, 0
	p.Topic, p.Payload = nil, nil
	p.HasMessageExpiry, p.MessageExpirySeconds = false, 0
	p.SubscriptionIDs = p.SubscriptionIDs[:0]
	if !p.Forward.empty() {
		p.Forward = Forward{}
	}
}

func (p *Publish) decodeProperties(region View) error {
	cur := propertiesOf(region, 1<<TypePublish)
	var prop property
	for cur.next(&prop) {
		switch prop.id {
		case propMessageExpiry:
			p.MessageExpirySeconds, p.HasMessageExpiry = prop.num, true
		case propTopicAlias:
			p.TopicAlias = uint16(prop.num)
			if p.TopicAlias == 0 { // [MQTT-3.3.2-8]
				return errAliasZero
			}
		case propSubscriptionID:
			p.SubscriptionIDs = append(p.SubscriptionIDs, prop.num)
		default:
			if err := p.Forward.add(&prop); err != nil {
				return err
			}
		}
	}
	if cur.f.err != nil {
		return cur.f.err
	}
	p.Forward.settle(region)
	return nil
}

// propertiesSize is the length of the properties without their length.
func (p *Publish) propertiesSize() int {
	n := p.Forward.Len()
	if p.TopicAlias != 0 {
		n += 3
	}
	if p.HasMessageExpiry {
		n += 5
	}
	for _, id := range p.SubscriptionIDs {
		n += 1 + varintSize(id)
	}
	return n
}

// bodySize is the Remaining Length, and the length of the properties.
func (p *Publish) bodySize(v Version) (body, properties int) {
	body = 2 + len(p.Topic) + len(p.Payload)
	if p.QoS > 0 {
		body += 2
	}
	if v != Version5 {
		return body, 0
	}
	if p.plain() {
		return body + 1, 0
	}
	properties = p.propertiesSize()
	return body + varintSize(uint32(properties)) + properties, properties
}

// plain reports whether there are no properties.
func (p *Publish) plain() bool {
	return p.Forward.empty() && p.TopicAlias == 0 && !p.HasMessageExpiry && len(p.SubscriptionIDs) == 0
}

// PublishSize returns the size of the whole packet in bytes.
func PublishSize(p *Publish, v Version) int {
	body, _ := p.bodySize(v)
	return 1 + varintSize(uint32(body)) + body
}

// AppendPublish appends a PUBLISH. The properties of v5 are left out for older
// versions. On an error dst is returned as it was.
func AppendPublish(dst []byte, p *Publish, v Version) ([]byte, error) {
	body, properties := p.bodySize(v)
	if len(p.Topic) > maxString {
		return dst, errEncodeString
	}
	if body > maxVarint {
		return dst, errEncodeLength
	}
	if !p.encodable(v) {
		return dst, errEncodeField
	}
	first := byte(TypePublish)<<4 | byte(p.QoS)<<1
	if p.Dup {
		first |= flagDup
	}
	if p.Retain {
		first |= flagRetain
	}
	dst = slices.Grow(dst, 1+4+body) // so that no append below copies
	dst = append(dst, first)
	dst = appendVarint(dst, uint32(body))
	dst = append(dst, byte(len(p.Topic)>>8), byte(len(p.Topic)))
	dst = append(dst, p.Topic...)
	if p.QoS > 0 {
		dst = append(dst, byte(p.PacketID>>8), byte(p.PacketID))
	}
	if v == Version5 {
		dst = appendVarint(dst, uint32(properties))
		if properties > 0 {
			dst = p.appendProperties(dst)
		}
	}
	return append(dst, p.Payload...), nil
}

// encodable reports whether Decode would take the fields.
func (p *Publish) encodable(v Version) bool {
	if p.QoS > 2 || (p.QoS == 0 && p.Dup) || (p.QoS > 0 && p.PacketID == 0) {
		return false
	}
	if len(p.Topic) == 0 && (p.TopicAlias == 0 || v != Version5) {
		return false
	}
	for _, id := range p.SubscriptionIDs {
		if id-1 >= maxVarint {
			return false
		}
	}
	return true
}

func (p *Publish) appendProperties(dst []byte) []byte {
	if p.HasMessageExpiry {
		dst = appendFourProperty(dst, propMessageExpiry, p.MessageExpirySeconds)
	}
	if p.TopicAlias != 0 {
		dst = appendTwoProperty(dst, propTopicAlias, p.TopicAlias)
	}
	for _, id := range p.SubscriptionIDs {
		dst = appendVarint(append(dst, propSubscriptionID), id)
	}
	return p.Forward.AppendTo(dst)
}
