package codec

import "encoding/binary"

// Property identifiers. Section 2.2.2.2.
const (
	propPayloadFormat        = 0x01
	propMessageExpiry        = 0x02
	propContentType          = 0x03
	propResponseTopic        = 0x08
	propCorrelationData      = 0x09
	propSubscriptionID       = 0x0B
	propSessionExpiry        = 0x11
	propAssignedClientID     = 0x12
	propServerKeepAlive      = 0x13
	propAuthenticationMethod = 0x15
	propAuthenticationData   = 0x16
	propRequestProblemInfo   = 0x17
	propWillDelay            = 0x18
	propRequestResponseInfo  = 0x19
	propResponseInformation  = 0x1A
	propServerReference      = 0x1C
	propReasonString         = 0x1F
	propReceiveMaximum       = 0x21
	propTopicAliasMaximum    = 0x22
	propTopicAlias           = 0x23
	propMaximumQoS           = 0x24
	propRetainAvailable      = 0x25
	propUserProperty         = 0x26
	propMaximumPacketSize    = 0x27
	propWildcardAvailable    = 0x28
	propSubscriptionIDsAvail = 0x29
	propSharedAvailable      = 0x2A
	propertyIdentifiers      = 0x2B
)

type propertyType byte

const (
	typeNone propertyType = iota
	typeByte
	typeTwo
	typeFour
	typeVarint
	typeBinary
	typeString
	typePair
)

// propertyTable says of each property its type, the packets it may stand in,
// and what is special: Table 2-4.
var propertyTable = [propertyIdentifiers]struct {
	typ      propertyType
	in       packetSet
	repeats  bool // may stand more than once
	boolean  bool // 0 or 1
	nonZero  bool
	forwards bool // a Server forwards it unaltered
}{
	propPayloadFormat:        {typ: typeByte, in: packets(TypePublish) | willSet, boolean: true, forwards: true},
	propMessageExpiry:        {typ: typeFour, in: packets(TypePublish) | willSet},
	propContentType:          {typ: typeString, in: packets(TypePublish) | willSet, forwards: true},
	propResponseTopic:        {typ: typeString, in: packets(TypePublish) | willSet, forwards: true},
	propCorrelationData:      {typ: typeBinary, in: packets(TypePublish) | willSet, forwards: true},
	propSubscriptionID:       {typ: typeVarint, in: packets(TypePublish, TypeSubscribe), nonZero: true},
	propSessionExpiry:        {typ: typeFour, in: packets(TypeConnect, TypeConnack, TypeDisconnect)},
	propAssignedClientID:     {typ: typeString, in: inConnack},
	propServerKeepAlive:      {typ: typeTwo, in: inConnack},
	propAuthenticationMethod: {typ: typeString, in: packets(TypeConnect, TypeConnack, TypeAuth)},
	propAuthenticationData:   {typ: typeBinary, in: packets(TypeConnect, TypeConnack, TypeAuth)},
	propRequestProblemInfo:   {typ: typeByte, in: packets(TypeConnect), boolean: true},
	propWillDelay:            {typ: typeFour, in: willSet},
	propRequestResponseInfo:  {typ: typeByte, in: packets(TypeConnect), boolean: true},
	propResponseInformation:  {typ: typeString, in: inConnack},
	propServerReference:      {typ: typeString, in: inConnack | inDisconnect},
	propReasonString: {typ: typeString, in: inConnack | inPubs | inPubrel | inPubcomp | inSubs |
		inDisconnect | inAuth},
	propReceiveMaximum:       {typ: typeTwo, in: packets(TypeConnect, TypeConnack), nonZero: true},
	propTopicAliasMaximum:    {typ: typeTwo, in: packets(TypeConnect, TypeConnack)},
	propTopicAlias:           {typ: typeTwo, in: packets(TypePublish)},
	propMaximumQoS:           {typ: typeByte, in: inConnack, boolean: true},
	propRetainAvailable:      {typ: typeByte, in: inConnack, boolean: true},
	propUserProperty:         {typ: typePair, in: ^packets(TypePingreq, TypePingresp), repeats: true, forwards: true},
	propMaximumPacketSize:    {typ: typeFour, in: packets(TypeConnect, TypeConnack), nonZero: true},
	propWildcardAvailable:    {typ: typeByte, in: inConnack, boolean: true},
	propSubscriptionIDsAvail: {typ: typeByte, in: inConnack, boolean: true},
	propSharedAvailable:      {typ: typeByte, in: inConnack, boolean: true},
}

// A property is one decoded property. Section 2.2.2.2.
type property struct {
	id    byte
	num   uint32 // of the numeric types
	value View   // of binary data, strings, and the value of a pair
	name  View   // of a pair
	raw   View   // the whole encoding with the identifier
}

// A propertyCursor is the one walker over properties. It checks everything but
// the meaning: identifiers, packets, repetition, types and values.
type propertyCursor struct {
	f    fields
	in   packetSet // the one packet it walks for
	seen uint64
}

func propertiesOf(region View, in packetSet) propertyCursor {
	return propertyCursor{f: fields{b: region}, in: in}
}

// next decodes a property into p; it reports false at the end or at an error,
// which stands in c.f.err.
func (c *propertyCursor) next(p *property) bool {
	if len(c.f.b) == 0 {
		return false
	}
	start := c.f.b
	id := uint32(start[0]) // identifiers are Variable Byte Integers
	if id < 0x80 {
		c.f.b = start[1:]
	} else if id = c.f.varint(); c.f.err != nil {
		return false
	}
	if id >= propertyIdentifiers || propertyTable[id].typ == typeNone {
		c.f.fail(errPropertyUnknown)
		return false
	}
	row := &propertyTable[id]
	if row.in&c.in == 0 {
		c.f.fail(errPropertyPacket)
		return false
	}
	if c.seen>>id&1 != 0 && !row.repeats && !(id == propSubscriptionID && c.in == 1<<TypePublish) {
		c.f.fail(errPropertyTwice)
		return false
	}
	c.seen |= 1 << id
	p.id = byte(id)
	c.readValue(row.typ, p)
	if c.f.err != nil {
		return false
	}
	if row.boolean && p.num > 1 {
		c.f.fail(errPropertyBoolean)
		return false
	}
	if row.nonZero && p.num == 0 {
		c.f.fail(errPropertyZero)
		return false
	}
	p.raw = start[:len(start)-len(c.f.b)]
	return true
}

func (c *propertyCursor) readValue(t propertyType, p *property) {
	switch t {
	case typeByte:
		p.num = uint32(c.f.byte())
	case typeTwo:
		p.num = uint32(c.f.uint16())
	case typeFour:
		p.num = c.f.uint32()
	case typeVarint:
		p.num = c.f.varint()
	case typeBinary:
		p.value = c.f.binary()
	case typeString:
		p.value = c.f.string()
	case typePair: // [MQTT-1.5.7-1]
		p.name = c.f.string()
		p.value = c.f.string()
	}
}

func appendByteProperty(dst []byte, id, v byte) []byte { return append(dst, id, v) }

func appendTwoProperty(dst []byte, id byte, v uint16) []byte {
	return binary.BigEndian.AppendUint16(append(dst, id), v)
}

func appendFourProperty(dst []byte, id byte, v uint32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, id), v)
}

func appendBinaryProperty(dst []byte, id byte, v []byte) []byte {
	return appendString(append(dst, id), v)
}

// startProperties leaves room for a Property Length of n bytes at most.
const propertyRoom = 4

func startProperties(dst []byte) []byte { return append(dst, 0, 0, 0, 0) }

// finishProperties puts the Property Length in front of the properties at
// dst[start:], which begins with room for it. [MQTT-2.2.2-1]
func finishProperties(dst []byte, start int) []byte {
	length := len(dst) - start - propertyRoom
	n := varintSize(uint32(length))
	copy(dst[start+n:], dst[start+propertyRoom:])
	dst = dst[:start+n+length]
	appendVarint(dst[:start], uint32(length))
	return dst
}

// UserProperties are the User Properties of a packet, in order. Decoded ones
// borrow the packet's memory. Section 2.2.2.2.
type UserProperties struct {
	region View // properties among which they stand; all were checked
}

// MakeUserProperties returns the properties that AppendUserProperty encoded.
func MakeUserProperties(encoded []byte) UserProperties { return UserProperties{encoded} }

// AppendUserProperty encodes a name and a value.
func AppendUserProperty(dst, name, value []byte) []byte {
	return appendString(appendString(append(dst, propUserProperty), name), value)
}

// anyPacket lets a cursor walk properties that were checked before.
const anyPacket = ^packetSet(0)

// Each calls fn for each property in order until it returns false.
func (u UserProperties) Each(fn func(name, value View) bool) {
	c := propertiesOf(u.region, anyPacket)
	var p property
	for c.next(&p) {
		c.seen = 0
		if p.id == propUserProperty && !fn(p.name, p.value) {
			return
		}
	}
}

// AppendTo appends the encoded properties to dst.
func (u UserProperties) AppendTo(dst []byte) []byte {
	c := propertiesOf(u.region, anyPacket)
	var p property
	for c.next(&p) {
		c.seen = 0
		if p.id == propUserProperty {
			dst = append(dst, p.raw...)
		}
	}
	return dst
}

// reasonProperties are the properties that most acknowledgements have.
type reasonProperties struct {
	ReasonString    View
	HasReasonString bool
	UserProperties  UserProperties
}

func (r *reasonProperties) decode(region View, in packetSet) *Error {
	c := propertiesOf(region, in)
	var p property
	for c.next(&p) {
		switch p.id {
		case propReasonString:
			r.ReasonString, r.HasReasonString = p.value, true
		case propUserProperty:
			r.UserProperties.region = region
		}
	}
	return c.f.err
}

func (r *reasonProperties) empty() bool {
	return !r.HasReasonString && len(r.UserProperties.region) == 0
}

func (r *reasonProperties) append(dst []byte) ([]byte, error) {
	if len(r.ReasonString) > maxString {
		return dst, errEncodeString
	}
	start := len(dst)
	dst = startProperties(dst)
	if r.HasReasonString {
		dst = appendBinaryProperty(dst, propReasonString, r.ReasonString)
	}
	dst = r.UserProperties.AppendTo(dst)
	return finishProperties(dst, start), nil
}
