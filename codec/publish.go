package codec

import "encoding/binary"

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
	*p = Publish{
		Dup: f.First&flagDup != 0, Retain: f.First&flagRetain != 0, QoS: QoS(f.First >> 1 & 3),
		SubscriptionIDs: p.SubscriptionIDs[:0],
	}
	if p.QoS > 2 { // [MQTT-3.3.1-4]
		return errQoS
	}
	if p.Dup && p.QoS == 0 { // [MQTT-3.3.1-2]
		return errDup
	}
	d := fields{b: f.Body}
	p.Topic = d.string() // [MQTT-3.3.2-1]
	if p.QoS > 0 {       // [MQTT-2.2.1-2]
		p.PacketID = d.packetID()
	}
	if v == Version5 {
		region := d.properties()
		if d.err == nil && len(region) > 0 {
			if err := p.decodeProperties(region); err != nil {
				return err
			}
		}
	}
	if d.err != nil {
		return d.err
	}
	p.Payload = d.b
	for _, c := range p.Topic {
		if c == '+' || c == '#' { // [MQTT-3.3.2-2] [MQTT-4.7.0-1]
			return errTopicWildcard
		}
	}
	if len(p.Topic) == 0 && p.TopicAlias == 0 {
		if v == Version5 {
			return errTopicEmpty
		}
		return errTopicEmpty3
	}
	return nil
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
	if v == Version5 {
		properties = p.propertiesSize()
		body += varintSize(uint32(properties)) + properties
	}
	return body, properties
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
	if p.QoS > 2 || (p.QoS > 0 && p.PacketID == 0) || (p.QoS == 0 && p.Dup) {
		return dst, errEncodeField
	}
	first := byte(TypePublish)<<4 | byte(p.QoS)<<1
	if p.Dup {
		first |= flagDup
	}
	if p.Retain {
		first |= flagRetain
	}
	dst = append(dst, first)
	dst = appendVarint(dst, uint32(body))
	dst = appendString(dst, p.Topic)
	if p.QoS > 0 {
		dst = binary.BigEndian.AppendUint16(dst, p.PacketID)
	}
	if v == Version5 {
		dst = appendVarint(dst, uint32(properties))
		if properties > 0 {
			dst = p.appendProperties(dst)
		}
	}
	return append(dst, p.Payload...), nil
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
