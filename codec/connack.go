package codec

// Connack answers CONNECT. The zero value of each property is its default:
// "not sent". Section 3.2.
type Connack struct {
	SessionPresent             bool
	Reason                     ReasonCode
	HasSessionExpiry           bool
	SessionExpirySeconds       uint32
	ReceiveMaximum             uint16 // 0: 65,535
	HasMaximumQoS              bool
	MaximumQoS                 QoS
	RetainUnavailable          bool
	WildcardUnavailable        bool
	SubscriptionIDsUnavailable bool
	SharedUnavailable          bool
	MaximumPacketSize          uint32 // bytes
	HasAssignedClientID        bool
	AssignedClientID           View
	TopicAliasMaximum          uint16
	HasServerKeepAlive         bool
	ServerKeepAliveSeconds     uint16
	ResponseInformation        View // empty: none
	ServerReference            View // empty: none
	HasAuthenticationMethod    bool
	HasAuthenticationData      bool
	AuthenticationMethod       View
	AuthenticationData         View
	reasonProperties
}

// Decode decodes a CONNACK; a 3.x return code becomes the Reason Code that
// comes nearest.
func (c *Connack) Decode(f Frame, v Version) error {
	*c = Connack{}
	d := fields{b: f.Body}
	flags, code := d.byte(), d.byte()
	if d.err != nil {
		return d.err
	}
	if flags&^1 != 0 || (v == Version31 && flags != 0) { // [MQTT-3.2.2-1]; 3.1 has no Session Present
		return errConnackFlags
	}
	c.SessionPresent = flags == 1
	if v != Version5 {
		if int(code) >= len(reasonOfReturnCode) {
			return errReasonCode
		}
		c.Reason = reasonOfReturnCode[code]
	} else {
		c.Reason = ReasonCode(code)
		if !c.Reason.ValidIn(TypeConnack) { // [MQTT-3.2.2-8]
			return errReasonCode
		}
		region := d.properties()
		if d.err == nil {
			if err := c.decodeProperties(region); err != nil {
				return err
			}
		}
	}
	if c.SessionPresent && c.Reason != Success { // [MQTT-3.2.2-6]
		return errConnackPresent
	}
	return d.end()
}

func (c *Connack) decodeProperties(region View) error {
	cur := propertiesOf(region, inConnack)
	var p property
	for cur.next(&p) {
		c.set(&p, region)
	}
	if cur.f.err != nil {
		return cur.f.err
	}
	if c.HasAuthenticationData && !c.HasAuthenticationMethod {
		return errAuthData
	}
	return nil
}

func (c *Connack) set(p *property, region View) {
	switch p.id {
	case propSessionExpiry:
		c.SessionExpirySeconds, c.HasSessionExpiry = p.num, true
	case propReceiveMaximum:
		if p.num != 65535 { // the default
			c.ReceiveMaximum = uint16(p.num)
		}
	case propMaximumQoS:
		c.MaximumQoS, c.HasMaximumQoS = QoS(p.num), true
	case propRetainAvailable:
		c.RetainUnavailable = p.num == 0
	case propWildcardAvailable:
		c.WildcardUnavailable = p.num == 0
	case propSubscriptionIDsAvail:
		c.SubscriptionIDsUnavailable = p.num == 0
	case propSharedAvailable:
		c.SharedUnavailable = p.num == 0
	case propMaximumPacketSize:
		c.MaximumPacketSize = p.num
	case propAssignedClientID:
		c.AssignedClientID, c.HasAssignedClientID = p.value, true
	case propTopicAliasMaximum:
		c.TopicAliasMaximum = uint16(p.num)
	case propServerKeepAlive:
		c.ServerKeepAliveSeconds, c.HasServerKeepAlive = uint16(p.num), true
	case propResponseInformation:
		c.ResponseInformation = p.value
	case propServerReference:
		c.ServerReference = p.value
	case propAuthenticationMethod:
		c.AuthenticationMethod, c.HasAuthenticationMethod = p.value, true
	case propAuthenticationData:
		c.AuthenticationData, c.HasAuthenticationData = p.value, true
	case propReasonString:
		c.ReasonString, c.HasReasonString = p.value, true
	case propUserProperty:
		c.UserProperties.region = region
	}
}

// AppendConnack appends a CONNACK. For 3.x it carries the return code for the
// Reason Code, of which there must be one, and 3.1 knows no Session Present.
func AppendConnack(dst []byte, c *Connack, v Version) ([]byte, error) {
	const first = byte(TypeConnack) << 4
	present := byte(0)
	if c.SessionPresent {
		present = 1
	}
	if c.SessionPresent && c.Reason != Success || !c.Reason.ValidIn(TypeConnack) || c.MaximumQoS > 1 ||
		c.HasAuthenticationData && !c.HasAuthenticationMethod {
		return dst, errEncodeField
	}
	if v != Version5 {
		if v == Version31 {
			present = 0
		}
		code, ok := c.Reason.ConnackReturnCode()
		if !ok {
			return dst, errEncodeField
		}
		return append(dst, first, 2, present, code), nil
	}
	for _, s := range [...]View{c.AssignedClientID, c.ResponseInformation, c.ServerReference, c.AuthenticationMethod,
		c.AuthenticationData, c.ReasonString} {
		if len(s) > maxString {
			return dst, errEncodeString
		}
	}
	start := len(dst)
	out := append(startPacket(dst), present, byte(c.Reason))
	at := len(out)
	out = finishProperties(c.appendProperties(startProperties(out)), at)
	return finishPacket(out, start, first)
}

func (c *Connack) appendProperties(dst []byte) []byte {
	if c.HasSessionExpiry {
		dst = appendFourProperty(dst, propSessionExpiry, c.SessionExpirySeconds)
	}
	if c.ReceiveMaximum != 0 && c.ReceiveMaximum != 65535 {
		dst = appendTwoProperty(dst, propReceiveMaximum, c.ReceiveMaximum)
	}
	if c.HasMaximumQoS {
		dst = appendByteProperty(dst, propMaximumQoS, byte(c.MaximumQoS))
	}
	if c.MaximumPacketSize != 0 {
		dst = appendFourProperty(dst, propMaximumPacketSize, c.MaximumPacketSize)
	}
	if c.HasAssignedClientID {
		dst = appendBinaryProperty(dst, propAssignedClientID, c.AssignedClientID)
	}
	if c.TopicAliasMaximum != 0 {
		dst = appendTwoProperty(dst, propTopicAliasMaximum, c.TopicAliasMaximum)
	}
	if c.HasReasonString {
		dst = appendBinaryProperty(dst, propReasonString, c.ReasonString)
	}
	for _, a := range [...]struct {
		id          byte
		unavailable bool
	}{
		{propRetainAvailable, c.RetainUnavailable}, {propWildcardAvailable, c.WildcardUnavailable},
		{propSubscriptionIDsAvail, c.SubscriptionIDsUnavailable}, {propSharedAvailable, c.SharedUnavailable},
	} {
		if a.unavailable {
			dst = appendByteProperty(dst, a.id, 0)
		}
	}
	if c.HasServerKeepAlive {
		dst = appendTwoProperty(dst, propServerKeepAlive, c.ServerKeepAliveSeconds)
	}
	if len(c.ResponseInformation) > 0 {
		dst = appendBinaryProperty(dst, propResponseInformation, c.ResponseInformation)
	}
	if len(c.ServerReference) > 0 {
		dst = appendBinaryProperty(dst, propServerReference, c.ServerReference)
	}
	if c.HasAuthenticationMethod {
		dst = appendBinaryProperty(dst, propAuthenticationMethod, c.AuthenticationMethod)
	}
	if c.HasAuthenticationData {
		dst = appendBinaryProperty(dst, propAuthenticationData, c.AuthenticationData)
	}
	return c.UserProperties.AppendTo(dst)
}
