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
	AuthenticationMethod       View
	AuthenticationData         View
	UserProperties             UserProperties
	HasWill                    bool
	Will                       Will
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

// Decode decodes a CONNECT of any version; c.Version is set as soon as it is
// known to be supported, also if an error follows.
func (c *Connect) Decode(f Frame) error {
	*c = Connect{ReceiveMaximum: 65535, RequestProblemInformation: true}
	d := fields{b: f.Body}
	name, level := d.binary(), d.byte()
	if d.err != nil {
		return d.err
	}
	v := Version(level)
	switch string(name) {
	default:
		return errProtocolName // [MQTT-3.1.2-1]
	case "MQTT":
		if v != Version311 && v != Version5 { // [MQTT-3.1.2-2]
			return errVersion
		}
	case "MQIsdp":
		if v != Version31 {
			return errVersion
		}
	}
	c.Version = v
	flags := d.byte()
	c.KeepAliveSeconds = d.uint16()
	if d.err != nil {
		return d.err
	}
	if err := c.decodeFlags(flags); err != nil {
		return err
	}
	if v == Version5 {
		region := d.properties()
		if d.err == nil {
			if err := c.decodeProperties(region); err != nil {
				return err
			}
		}
	}
	c.decodePayload(&d)
	return d.end()
}

func (c *Connect) decodeFlags(flags byte) error {
	c.CleanStart = flags&flagCleanStart != 0
	c.HasWill = flags&flagWill != 0
	c.HasPassword = flags&flagPassword != 0
	c.HasUserName = flags&flagUserName != 0
	c.Will.QoS = QoS(flags >> 3 & 3)
	c.Will.Retain = flags&flagWillRetain != 0
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
	if c.HasUserName { // [MQTT-3.1.2-17] [MQTT-3.1.3-12]
		c.UserName = d.string()
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
