package codec

// Auth carries an extended authentication exchange. Section 3.15.
type Auth struct {
	Reason                  ReasonCode
	HasAuthenticationMethod bool
	HasAuthenticationData   bool
	AuthenticationMethod    View
	AuthenticationData      View
	reasonProperties
}

// Decode decodes an AUTH, which only version 5 has.
func (a *Auth) Decode(f Frame, v Version) error {
	*a = Auth{}
	if v != Version5 {
		return errAuthVersion
	}
	d := fields{b: f.Body}
	if len(d.b) > 0 {
		a.Reason = ReasonCode(d.byte())
		if !a.Reason.ValidIn(TypeAuth) { // [MQTT-3.15.2-1]
			return errReasonCode
		}
		region := d.properties()
		if d.err == nil {
			if err := a.decodeProperties(region); err != nil {
				return err
			}
		}
	}
	return d.end()
}

func (a *Auth) decodeProperties(region View) error {
	cur := propertiesOf(region, inAuth)
	var p property
	for cur.next(&p) {
		switch p.id {
		case propAuthenticationMethod:
			a.AuthenticationMethod, a.HasAuthenticationMethod = p.value, true
		case propAuthenticationData:
			a.AuthenticationData, a.HasAuthenticationData = p.value, true
		case propReasonString:
			a.ReasonString, a.HasReasonString = p.value, true
		case propUserProperty:
			a.UserProperties.region = region
		}
	}
	if cur.f.err != nil {
		return cur.f.err
	}
	if !a.HasAuthenticationMethod && !a.bare() {
		return errAuthMethod
	}
	return nil
}

// bare reports whether there is nothing but Success, for which AUTH has a form
// without properties. Section 3.15.2.1.
func (a *Auth) bare() bool {
	return a.Reason == Success && !a.HasAuthenticationMethod && !a.HasAuthenticationData && a.reasonProperties.empty()
}

// AppendAuth appends an AUTH.
func AppendAuth(dst []byte, a *Auth, v Version) ([]byte, error) {
	const first = byte(TypeAuth) << 4
	if v != Version5 || !a.Reason.ValidIn(TypeAuth) {
		return dst, errEncodeField
	}
	if len(a.AuthenticationMethod) > maxString || len(a.AuthenticationData) > maxString || len(a.ReasonString) > maxString {
		return dst, errEncodeString
	}
	if a.bare() {
		return append(dst, first, 0), nil
	}
	if !a.HasAuthenticationMethod {
		return dst, errEncodeField
	}
	start := len(dst)
	out := append(startPacket(dst), byte(a.Reason))
	at := len(out)
	out = startProperties(out)
	if a.HasAuthenticationMethod {
		out = appendBinaryProperty(out, propAuthenticationMethod, a.AuthenticationMethod)
	}
	if a.HasAuthenticationData {
		out = appendBinaryProperty(out, propAuthenticationData, a.AuthenticationData)
	}
	if a.HasReasonString {
		out = appendBinaryProperty(out, propReasonString, a.ReasonString)
	}
	out = finishProperties(a.UserProperties.AppendTo(out), at)
	return finishPacket(out, start, first)
}
