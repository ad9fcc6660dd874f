package codec

import "encoding/binary"

// Connect is the first packet of a Client. Section 3.1.
type Connect struct {
	Version                    Version
	ClientID                   View
	CleanStart                 bool // the clean session flag of 3.x
	KeepAliveSeconds           uint16
	HasUserName                bool
	HasPassword                bool
	UserName                   View
	Password                   View
	HasSessionExpiry           bool
	SessionExpirySeconds       uint32
	ReceiveMaximum             uint16 // 65,535 if absent
	MaximumPacketSize          uint32 // bytes; 0: no limit
	TopicAliasMaximum          uint16
	RequestResponseInformation bool
	RequestProblemInformation  bool // true if absent
	HasAuthenticationMethod    bool
	HasAuthenticationData      bool
	// LimitUnknown says, of a CONNECT that does not parse, that a Maximum Packet
	// Size may stand where nothing could be decoded.
	LimitUnknown         bool
	AuthenticationMethod View
	AuthenticationData   View
	UserProperties       UserProperties
	HasWill              bool
	Will                 Will
}

// Will is the Will Message in CONNECT. Section 3.1.3.2.
type Will struct {
	Topic                View
	Payload              View
	QoS                  QoS
	Retain               bool
	DelaySeconds         uint32
	HasMessageExpiry     bool
	MessageExpirySeconds uint32
	Forward              Forward
}

// Connect Flags. Section 3.1.2.3.
const (
	flagReserved   = 0x01
	flagCleanStart = 0x02
	flagWill       = 0x04
	flagWillRetain = 0x20
	flagPassword   = 0x40
	flagUserName   = 0x80
)

// Decode decodes a CONNECT of any version. What an answer must keep to is set as
// far as it can be found also if an error follows: c.Version, which is 5 for a
// newer one, and c.MaximumPacketSize, or else c.LimitUnknown.
func (c *Connect) Decode(f Frame) error {
	*c = Connect{ReceiveMaximum: 65535, RequestProblemInformation: true}
	d := fields{b: f.Body}
	name, level := d.binary(), d.byte()
	if d.err != nil {
		return d.err
	}
	if err := c.decodeVersion(name, level); err != nil {
		return err
	}
	flags := d.byte()
	c.KeepAliveSeconds = d.uint16()
	var err error
	switch {
	case f.First&0x0F != 0 && c.Version != Version31: // [MQTT-2.1.3-1]
		err = errFlags
	case d.err == nil:
		err = c.decodeFlags(flags)
	}
	if c.Version == Version5 {
		region := d.properties()
		if err == nil && d.err == nil {
			err = c.decodeProperties(region)
		}
		if err != nil || d.err != nil {
			c.findLimit(region, d.err == nil)
		}
	}
	if err != nil {
		return err
	}
	c.decodePayload(&d)
	return d.end()
}

// decodeVersion sets c.Version. A bridge of Mosquitto sets the highest bit of the
// level, and wants the answer of 3.1.1 to do without.
func (c *Connect) decodeVersion(name View, level byte) error {
	v := Version(level)
	old := v &^ 0x80
	switch string(name) {
	default:
		return errProtocolName // [MQTT-3.1.2-1]
	case "MQTT":
		switch {
		case v == Version311 || v == Version5:
			c.Version = v
			return nil
		case v > Version5 && old != Version31 && old != Version311:
			c.Version, c.LimitUnknown = Version5, true
		}
	case "MQIsdp":
		if v == Version31 {
			c.Version = v
			return nil
		}
	}
	return errVersion // [MQTT-3.1.2-2]
}

// findLimit looks for the Maximum Packet Size in the properties of a CONNECT that
// does not parse. It goes past what is wrong as far as it can be told where the
// next property begins; whole says that all of them are there.
func (c *Connect) findLimit(region View, whole bool) {
	cur := propertiesOf(region, anyPacket)
	var p property
	for len(cur.f.b) > 0 {
		id := cur.f.varint()
		if id >= propertyIdentifiers {
			id = 0
		}
		switch t := propertyTable[id].typ; t {
		case typeNone:
			cur.f.fail(errPropertyUnknown)
		case typeString: // whatever is in it
			cur.f.binary()
		case typePair:
			cur.f.binary()
			cur.f.binary()
		default:
			cur.readValue(t, &p)
		}
		if id == propMaximumPacketSize && cur.f.err == nil && p.num-1 < c.MaximumPacketSize-1 { // 0: no limit
			c.MaximumPacketSize = p.num
		}
	}
	c.LimitUnknown = c.MaximumPacketSize == 0 && (!whole || cur.f.err != nil)
}

func (c *Connect) decodeFlags(flags byte) error {
	c.CleanStart = flags&flagCleanStart != 0
	c.HasWill = flags&flagWill != 0
	c.HasPassword = flags&flagPassword != 0
	c.HasUserName = flags&flagUserName != 0
	c.Will.QoS = QoS(flags >> 3 & 3)
	c.Will.Retain = flags&flagWillRetain != 0
	if c.Version == Version31 { // an unused flag, and those of a Will that is not there
		flags &^= flagReserved
		if !c.HasWill {
			c.Will.QoS, c.Will.Retain = 0, false
		}
	}
	switch {
	case flags&flagReserved != 0: // [MQTT-3.1.2-3]
		return errConnectFlag
	case c.Will.QoS > 2: // [MQTT-3.1.2-12]
		return errWillQoS
	case !c.HasWill && c.Will.QoS > 0: // [MQTT-3.1.2-11]
		return errWillQoSAlone
	case !c.HasWill && c.Will.Retain: // [MQTT-3.1.2-13]
		return errWillRetainAlone
	case c.Version != Version5 && c.HasPassword && !c.HasUserName:
		return errPassword
	}
	return nil
}

func (c *Connect) decodeProperties(region View) error {
	cur := propertiesOf(region, 1<<TypeConnect)
	var p property
	for cur.next(&p) {
		switch p.id {
		case propSessionExpiry:
			c.SessionExpirySeconds, c.HasSessionExpiry = p.num, true
		case propReceiveMaximum:
			c.ReceiveMaximum = uint16(p.num)
		case propMaximumPacketSize:
			c.MaximumPacketSize = p.num
		case propTopicAliasMaximum:
			c.TopicAliasMaximum = uint16(p.num)
		case propRequestResponseInfo:
			c.RequestResponseInformation = p.num == 1
		case propRequestProblemInfo:
			c.RequestProblemInformation = p.num == 1
		case propAuthenticationMethod:
			c.AuthenticationMethod, c.HasAuthenticationMethod = p.value, true
		case propAuthenticationData:
			c.AuthenticationData, c.HasAuthenticationData = p.value, true
		case propUserProperty:
			c.UserProperties.region = region
		}
	}
	if cur.f.err != nil {
		return cur.f.err
	}
	if c.HasAuthenticationData && !c.HasAuthenticationMethod {
		return errAuthData
	}
	return nil
}

// decodePayload reads the fields of the payload in their order. [MQTT-3.1.3-1]
func (c *Connect) decodePayload(d *fields) {
	c.ClientID = d.string() // [MQTT-3.1.3-3] [MQTT-3.1.3-4]
	if c.HasWill {          // [MQTT-3.1.2-9]
		if c.Version == Version5 {
			region := d.properties()
			if d.err == nil {
				if err := c.Will.decodeProperties(region); err != nil {
					d.fail(err)
				}
			}
		}
		c.Will.Topic = d.string() // [MQTT-3.1.3-11]
		c.Will.Payload = d.binary()
	}
	if c.Version == Version31 && d.err == nil { // a field may be missing in spite of its flag
		c.HasUserName = c.HasUserName && len(d.b) > 0
	}
	if c.HasUserName { // [MQTT-3.1.2-17] [MQTT-3.1.3-12]
		c.UserName = d.string()
	}
	if c.Version == Version31 && d.err == nil {
		c.HasPassword = c.HasPassword && len(d.b) > 0
	}
	if c.HasPassword { // [MQTT-3.1.2-19]
		c.Password = d.binary()
	}
}

func (w *Will) decodeProperties(region View) *Error {
	cur := propertiesOf(region, willSet)
	var p property
	for cur.next(&p) {
		switch p.id {
		case propWillDelay:
			w.DelaySeconds = p.num
		case propMessageExpiry:
			w.MessageExpirySeconds, w.HasMessageExpiry = p.num, true
		default:
			if err := w.Forward.add(&p); err != nil {
				return err
			}
		}
	}
	return cur.f.err
}

// AppendConnect appends a CONNECT of version c.Version, which is also given as
// v like for every other packet.
func AppendConnect(dst []byte, c *Connect, v Version) ([]byte, error) {
	start := len(dst)
	if err := c.check(v); err != nil {
		return dst, err
	}
	dst = startPacket(dst)
	name := "MQTT"
	if v == Version31 {
		name = "MQIsdp"
	}
	dst = appendString(dst, []byte(name))
	dst = append(dst, byte(v), c.flags())
	dst = binary.BigEndian.AppendUint16(dst, c.KeepAliveSeconds)
	if v == Version5 {
		dst = c.appendProperties(dst)
	}
	dst = appendString(dst, c.ClientID)
	if c.HasWill {
		if v == Version5 {
			dst = c.Will.appendProperties(dst)
		}
		dst = appendString(dst, c.Will.Topic)
		dst = appendString(dst, c.Will.Payload)
	}
	if c.HasUserName {
		dst = appendString(dst, c.UserName)
	}
	if c.HasPassword {
		dst = appendString(dst, c.Password)
	}
	return finishPacket(dst, start, byte(TypeConnect)<<4)
}

func (c *Connect) check(v Version) error {
	for _, s := range [...]View{c.ClientID, c.UserName, c.Password, c.Will.Topic, c.Will.Payload,
		c.AuthenticationMethod, c.AuthenticationData} {
		if len(s) > maxString {
			return errEncodeString
		}
	}
	if v < Version31 || v > Version5 || c.Will.QoS > 2 || (!c.HasWill && (c.Will.QoS > 0 || c.Will.Retain)) ||
		(v != Version5 && c.HasPassword && !c.HasUserName) || (c.HasAuthenticationData && !c.HasAuthenticationMethod) {
		return errEncodeField
	}
	return nil
}

func (c *Connect) flags() byte {
	flags := byte(c.Will.QoS) << 3
	for _, f := range [...]struct {
		set bool
		bit byte
	}{
		{c.CleanStart, flagCleanStart}, {c.HasWill, flagWill}, {c.Will.Retain, flagWillRetain},
		{c.HasPassword, flagPassword}, {c.HasUserName, flagUserName},
	} {
		if f.set {
			flags |= f.bit
		}
	}
	return flags
}

func (c *Connect) appendProperties(dst []byte) []byte {
	start := len(dst)
	dst = startProperties(dst)
	if c.HasSessionExpiry {
		dst = appendFourProperty(dst, propSessionExpiry, c.SessionExpirySeconds)
	}
	if c.ReceiveMaximum != 65535 && c.ReceiveMaximum != 0 {
		dst = appendTwoProperty(dst, propReceiveMaximum, c.ReceiveMaximum)
	}
	if c.MaximumPacketSize != 0 {
		dst = appendFourProperty(dst, propMaximumPacketSize, c.MaximumPacketSize)
	}
	if c.TopicAliasMaximum != 0 {
		dst = appendTwoProperty(dst, propTopicAliasMaximum, c.TopicAliasMaximum)
	}
	if c.RequestResponseInformation {
		dst = appendByteProperty(dst, propRequestResponseInfo, 1)
	}
	if !c.RequestProblemInformation {
		dst = appendByteProperty(dst, propRequestProblemInfo, 0)
	}
	if c.HasAuthenticationMethod {
		dst = appendBinaryProperty(dst, propAuthenticationMethod, c.AuthenticationMethod)
	}
	if c.HasAuthenticationData {
		dst = appendBinaryProperty(dst, propAuthenticationData, c.AuthenticationData)
	}
	dst = c.UserProperties.AppendTo(dst)
	return finishProperties(dst, start)
}

func (w *Will) appendProperties(dst []byte) []byte {
	start := len(dst)
	dst = startProperties(dst)
	if w.DelaySeconds != 0 {
		dst = appendFourProperty(dst, propWillDelay, w.DelaySeconds)
	}
	if w.HasMessageExpiry {
		dst = appendFourProperty(dst, propMessageExpiry, w.MessageExpirySeconds)
	}
	dst = w.Forward.AppendTo(dst)
	return finishProperties(dst, start)
}
