package codec

import "encoding/binary"

// Ack is a PUBACK, PUBREC, PUBREL or PUBCOMP. Sections 3.4 to 3.7.
type Ack struct {
	Type     PacketType
	PacketID uint16
	Reason   ReasonCode
	reasonProperties
}

// Decode decodes any of the four.
func (a *Ack) Decode(f Frame, v Version) error {
	*a = Ack{Type: f.Type()}
	d := fields{b: f.Body}
	a.PacketID = d.packetID()
	if v == Version5 && d.err == nil && len(d.b) > 0 { // the short form means Success
		a.Reason = ReasonCode(d.byte())
		if !a.Reason.ValidIn(a.Type) { // [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1]
			return errReasonCode
		}
		if len(d.b) > 0 {
			region := d.properties()
			if d.err == nil {
				if err := a.reasonProperties.decode(region, 1<<a.Type); err != nil {
					return err
				}
			}
		}
	}
	return d.end()
}

// AppendAck appends the packet in its shortest form. [MQTT-2.2.1-5]
func AppendAck(dst []byte, a *Ack, v Version) ([]byte, error) {
	if a.Type < TypePuback || a.Type > TypePubcomp || a.PacketID == 0 {
		return dst, errEncodeField
	}
	first := byte(a.Type)<<4 | fixedFlags(a.Type)
	bare := a.reasonProperties.empty()
	if v != Version5 || (a.Reason == Success && bare) {
		return append(dst, first, 2, byte(a.PacketID>>8), byte(a.PacketID)), nil
	}
	if !a.Reason.ValidIn(a.Type) {
		return dst, errEncodeField
	}
	if bare {
		return append(dst, first, 3, byte(a.PacketID>>8), byte(a.PacketID), byte(a.Reason)), nil
	}
	start := len(dst)
	out := startPacket(dst)
	out = binary.BigEndian.AppendUint16(out, a.PacketID)
	out = append(out, byte(a.Reason))
	out, err := a.reasonProperties.append(out)
	if err != nil {
		return dst, err
	}
	return finishPacket(out, start, first)
}
