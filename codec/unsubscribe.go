package codec

import "encoding/binary"

// Unsubscribe asks to end subscriptions. Section 3.10.
type Unsubscribe struct {
	PacketID       uint16
	UserProperties UserProperties
	// Count is the number of Topic Filters; Each walks them.
	Count   int
	payload View
}

// Decode decodes an UNSUBSCRIBE and checks all of it.
func (u *Unsubscribe) Decode(f Frame, v Version) error {
	*u = Unsubscribe{}
	d := fields{b: f.Body}
	u.PacketID = d.packetID()
	if v == Version5 {
		region := d.properties()
		if d.err == nil {
			cur := propertiesOf(region, 1<<TypeUnsubscribe)
			var p property
			for cur.next(&p) {
				u.UserProperties.region = region
			}
			if cur.f.err != nil {
				return cur.f.err
			}
		}
	}
	if d.err != nil {
		return d.err
	}
	u.payload = d.b
	for len(d.b) > 0 {
		filter := d.string() // [MQTT-3.10.3-1]
		if d.err != nil {
			return d.err
		}
		if len(filter) == 0 { // [MQTT-4.7.3-1]
			return errFilterEmpty
		}
		u.Count++
	}
	if u.Count == 0 { // [MQTT-3.10.3-2]
		return errNoUnsubFilter
	}
	return nil
}

// Each calls fn for each Topic Filter in order until it returns false.
func (u *Unsubscribe) Each(fn func(filter View) bool) {
	d := fields{b: u.payload}
	for len(d.b) > 0 {
		if !fn(d.binary()) {
			return
		}
	}
}

// AppendUnsubscribe appends an UNSUBSCRIBE for filters.
func AppendUnsubscribe(dst []byte, u *Unsubscribe, filters []View, v Version) ([]byte, error) {
	if u.PacketID == 0 {
		return dst, errEncodeField
	}
	if len(filters) == 0 {
		return dst, errEncodeSubscribers
	}
	start := len(dst)
	out := startPacket(dst)
	out = binary.BigEndian.AppendUint16(out, u.PacketID)
	if v == Version5 {
		at := len(out)
		out = finishProperties(u.UserProperties.AppendTo(startProperties(out)), at)
	}
	for _, filter := range filters {
		if len(filter) > maxString {
			return dst, errEncodeString
		}
		if len(filter) == 0 {
			return dst, errEncodeField
		}
		out = appendString(out, filter)
	}
	return finishPacket(out, start, byte(TypeUnsubscribe)<<4|fixedFlags(TypeUnsubscribe))
}
