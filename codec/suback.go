package codec

import "encoding/binary"

// Suback answers SUBSCRIBE. Section 3.9.
type Suback struct {
	PacketID uint16
	// Reasons are the Reason Codes, one for each Topic Filter, in order. For
	// 3.x they are return codes: 0, 1, 2 and 0x80.
	Reasons View
	reasonProperties
}

// Decode decodes a SUBACK.
func (s *Suback) Decode(f Frame, v Version) error {
	*s = Suback{}
	return decodeReasons(f, v, &s.PacketID, &s.Reasons, &s.reasonProperties)
}

// AppendSuback appends a SUBACK. [MQTT-3.8.4-2] [MQTT-3.9.3-2]
func AppendSuback(dst []byte, s *Suback, v Version) ([]byte, error) {
	return appendReasons(dst, TypeSuback, s.PacketID, s.Reasons, &s.reasonProperties, v)
}

// Unsuback answers UNSUBSCRIBE. Section 3.11.
type Unsuback struct {
	PacketID uint16
	// Reasons are the Reason Codes, one for each Topic Filter, in order; 3.x
	// has none.
	Reasons View
	reasonProperties
}

// Decode decodes an UNSUBACK.
func (u *Unsuback) Decode(f Frame, v Version) error {
	*u = Unsuback{}
	return decodeReasons(f, v, &u.PacketID, &u.Reasons, &u.reasonProperties)
}

// AppendUnsuback appends an UNSUBACK. [MQTT-3.10.4-5] [MQTT-3.11.3-2]
func AppendUnsuback(dst []byte, u *Unsuback, v Version) ([]byte, error) {
	reasons := u.Reasons
	if v != Version5 {
		reasons = nil
	}
	return appendReasons(dst, TypeUnsuback, u.PacketID, reasons, &u.reasonProperties, v)
}

func decodeReasons(f Frame, v Version, id *uint16, reasons *View, props *reasonProperties) error {
	t := f.Type()
	d := fields{b: f.Body}
	*id = d.packetID()
	if v == Version5 {
		region := d.properties()
		if d.err == nil {
			if err := props.decode(region, 1<<t); err != nil {
				return err
			}
		}
	}
	if d.err != nil {
		return d.err
	}
	if v != Version5 && t == TypeUnsuback {
		return d.end()
	}
	if len(d.b) == 0 {
		return errShort
	}
	*reasons = d.b
	for _, r := range d.b {
		if !validReason(r, t, v) {
			return errReasonCode
		}
	}
	return nil
}

// validReason: a SUBACK of 3.x has four return codes. [MQTT-3.9.3-2] of 3.1.1
func validReason(r byte, t PacketType, v Version) bool {
	return ReasonCode(r).ValidIn(t) && (v == Version5 || r <= 2 || r == 0x80)
}

func appendReasons(dst []byte, t PacketType, id uint16, reasons View, props *reasonProperties, v Version) ([]byte, error) {
	if id == 0 {
		return dst, errEncodeField
	}
	for _, r := range reasons {
		if !validReason(r, t, v) {
			return dst, errEncodeField
		}
	}
	if len(reasons) == 0 && (v == Version5 || t == TypeSuback) {
		return dst, errEncodeSubscribers
	}
	start := len(dst)
	out := startPacket(dst)
	out = binary.BigEndian.AppendUint16(out, id)
	if v == Version5 {
		var err error
		if out, err = props.append(out); err != nil {
			return dst, err
		}
	}
	out = append(out, reasons...)
	return finishPacket(out, start, byte(t)<<4)
}
