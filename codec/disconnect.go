package codec

// Disconnect is the last packet of a connection. Section 3.14.
type Disconnect struct {
	Reason ReasonCode
	// SessionExpirySeconds is only sent by a Client.
	HasSessionExpiry     bool
	SessionExpirySeconds uint32
	ServerReference      View // empty: none
	reasonProperties
}

// Decode decodes a DISCONNECT.
func (p *Disconnect) Decode(f Frame, v Version) error {
	*p = Disconnect{}
	d := fields{b: f.Body}
	if v == Version5 && len(d.b) > 0 {
		p.Reason = ReasonCode(d.byte())
		if !p.Reason.ValidIn(TypeDisconnect) { // [MQTT-3.14.2-1]
			return errReasonCode
		}
		if len(d.b) > 0 {
			region := d.properties()
			if d.err == nil {
				if err := p.decodeProperties(region); err != nil {
					return err
				}
			}
		}
	}
	return d.end()
}

func (p *Disconnect) decodeProperties(region View) error {
	cur := propertiesOf(region, inDisconnect)
	var prop property
	for cur.next(&prop) {
		switch prop.id {
		case propSessionExpiry:
			p.SessionExpirySeconds, p.HasSessionExpiry = prop.num, true
		case propServerReference:
			p.ServerReference = prop.value
		case propReasonString:
			p.ReasonString, p.HasReasonString = prop.value, true
		case propUserProperty:
			p.UserProperties.region = region
		}
	}
	if cur.f.err != nil {
		return cur.f.err
	}
	return nil
}

// AppendDisconnect appends a DISCONNECT in its shortest form.
func AppendDisconnect(dst []byte, p *Disconnect, v Version) ([]byte, error) {
	const first = byte(TypeDisconnect) << 4
	if v != Version5 {
		return append(dst, first, 0), nil
	}
	if !p.Reason.ValidIn(TypeDisconnect) {
		return dst, errEncodeField
	}
	if len(p.ServerReference) > maxString || len(p.ReasonString) > maxString {
		return dst, errEncodeString
	}
	if p.reasonProperties.empty() && !p.HasSessionExpiry && len(p.ServerReference) == 0 {
		if p.Reason == NormalDisconnection {
			return append(dst, first, 0), nil
		}
		return append(dst, first, 1, byte(p.Reason)), nil
	}
	start := len(dst)
	out := append(startPacket(dst), byte(p.Reason))
	at := len(out)
	out = startProperties(out)
	if p.HasSessionExpiry {
		out = appendFourProperty(out, propSessionExpiry, p.SessionExpirySeconds)
	}
	if p.HasReasonString {
		out = appendBinaryProperty(out, propReasonString, p.ReasonString)
	}
	if len(p.ServerReference) > 0 {
		out = appendBinaryProperty(out, propServerReference, p.ServerReference)
	}
	out = finishProperties(p.UserProperties.AppendTo(out), at)
	return finishPacket(out, start, first)
}
