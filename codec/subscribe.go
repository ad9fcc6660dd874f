package codec

import "encoding/binary"

// Subscribe asks for subscriptions. Section 3.8.
type Subscribe struct {
	PacketID       uint16
	SubscriptionID uint32 // 0: none
	UserProperties UserProperties
	// Count is the number of Topic Filters; Each walks them.
	Count   int
	payload View
}

// Subscription is one Topic Filter with its Subscription Options. Section 3.8.3.1.
type Subscription struct {
	Filter            View
	QoS               QoS
	NoLocal           bool
	RetainAsPublished bool
	RetainHandling    byte
}

// Subscription Options.
const (
	optionNoLocal           = 0x04
	optionRetainAsPublished = 0x08
)

// Decode decodes a SUBSCRIBE and checks all of it, but for the placement of
// wildcards, which is the business of package topics.
func (s *Subscribe) Decode(f Frame, v Version) error {
	*s = Subscribe{}
	d := fields{b: f.Body}
	s.PacketID = d.packetID()
	if v == Version5 {
		region := d.properties()
		if d.err == nil {
			if err := s.decodeProperties(region); err != nil {
				return err
			}
		}
	}
	if d.err != nil {
		return d.err
	}
	s.payload = d.b
	for len(d.b) > 0 {
		filter, options := d.string(), d.byte() // [MQTT-3.8.3-1]
		if d.err != nil {
			return d.err
		}
		if len(filter) == 0 { // [MQTT-4.7.3-1]
			return errFilterEmpty
		}
		if err := checkOptions(options, v); err != nil {
			return err
		}
		s.Count++
	}
	if s.Count == 0 { // [MQTT-3.8.3-2]
		return errNoFilter
	}
	return nil
}

func (s *Subscribe) decodeProperties(region View) error {
	cur := propertiesOf(region, 1<<TypeSubscribe)
	var p property
	for cur.next(&p) {
		switch p.id {
		case propSubscriptionID:
			s.SubscriptionID = p.num
		case propUserProperty:
			s.UserProperties.region = region
		}
	}
	if cur.f.err != nil {
		return cur.f.err
	}
	return nil
}

func checkOptions(o byte, v Version) error {
	switch {
	case v != Version5:
		if o > 2 { // [MQTT-3-8.3-4] of 3.1.1
			return errSubscribeOptions3
		}
	case o&0xC0 != 0: // [MQTT-3.8.3-5]
		return errSubscribeOptions
	case o&3 == 3:
		return errSubscribeQoS
	case o>>4&3 == 3:
		return errRetainHandling
	}
	return nil
}

// Each calls fn for each Topic Filter in order until it returns false.
func (s *Subscribe) Each(fn func(Subscription) bool) {
	d := fields{b: s.payload}
	for len(d.b) > 0 {
		filter, o := d.binary(), d.byte()
		if !fn(Subscription{
			Filter: filter, QoS: QoS(o & 3), NoLocal: o&optionNoLocal != 0,
			RetainAsPublished: o&optionRetainAsPublished != 0, RetainHandling: o >> 4 & 3,
		}) {
			return
		}
	}
}

// AppendSubscribe appends a SUBSCRIBE for subs; s gives the other fields.
func AppendSubscribe(dst []byte, s *Subscribe, subs []Subscription, v Version) ([]byte, error) {
	if s.PacketID == 0 || s.SubscriptionID > maxVarint {
		return dst, errEncodeField
	}
	if len(subs) == 0 {
		return dst, errEncodeSubscribers
	}
	start := len(dst)
	out := startPacket(dst)
	out = binary.BigEndian.AppendUint16(out, s.PacketID)
	if v == Version5 {
		at := len(out)
		out = startProperties(out)
		if s.SubscriptionID != 0 {
			out = appendVarint(append(out, propSubscriptionID), s.SubscriptionID)
		}
		out = s.UserProperties.AppendTo(out)
		out = finishProperties(out, at)
	}
	for i := range subs {
		if len(subs[i].Filter) > maxString {
			return dst, errEncodeString
		}
		if len(subs[i].Filter) == 0 || checkOptions(subs[i].options(v), v) != nil || subs[i].RetainHandling > 2 {
			return dst, errEncodeField
		}
		out = append(appendString(out, subs[i].Filter), subs[i].options(v))
	}
	return finishPacket(out, start, byte(TypeSubscribe)<<4|fixedFlags(TypeSubscribe))
}

func (s *Subscription) options(v Version) byte {
	o := byte(s.QoS)
	if v != Version5 {
		return o
	}
	o |= s.RetainHandling << 4
	if s.NoLocal {
		o |= optionNoLocal
	}
	if s.RetainAsPublished {
		o |= optionRetainAsPublished
	}
	return o
}
