package codec

import "bytes"

// Forward holds the properties of a message that a Server passes on unaltered
// and in order, still encoded: payload format, content type, response topic,
// correlation data and user properties. [MQTT-3.3.2-4] [MQTT-3.3.2-15]
// [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]
//
// In a packet they may be split by properties that are not passed on. A few
// parts are held as such; if there are more, the whole region is walked again.
type Forward struct {
	parts  [3]View
	used   int
	region View // not nil: instead of parts
}

// ForwardBytes returns a Forward of one stored encoding, made by AppendTo.
func ForwardBytes(b []byte) Forward {
	if len(b) == 0 {
		return Forward{}
	}
	return Forward{parts: [3]View{b}, used: 1}
}

// add appends a decoded property.
func (f *Forward) add(p *property) *Error {
	if p.id == propResponseTopic {
		if len(p.value) == 0 { // [MQTT-4.7.3-1]
			return errResponseEmpty
		}
		if bytes.ContainsAny(p.value, "+#") { // [MQTT-3.3.2-14]
			return errResponseWildcard
		}
	}
	if f.used > len(f.parts) { // the parts are not enough already: see settle
		return nil
	}
	if f.used > 0 {
		if last := &f.parts[f.used-1]; follows(*last, p.raw) {
			*last = (*last)[:len(*last)+len(p.raw)]
			return nil
		}
	}
	if f.used < len(f.parts) {
		f.parts[f.used] = p.raw
	}
	f.used++
	return nil
}

// follows reports whether b begins where a ends, in the same memory.
func follows(a, b View) bool {
	n := len(a)
	return n < cap(a) && &a[:n+1][n] == &b[0]
}

// settle falls back to the region if the parts were not enough.
func (f *Forward) settle(region View) {
	if f.used > len(f.parts) {
		*f = Forward{region: region}
	}
}

func (f *Forward) empty() bool { return f.used == 0 && f.region == nil }

// Len is the length of the encoding in bytes.
func (f *Forward) Len() int {
	n := 0
	if f.region == nil {
		for _, part := range f.parts[:f.used] {
			n += len(part)
		}
		return n
	}
	var p property
	for c := propertiesOf(f.region, anyPacket); c.nextForwarded(&p); {
		n += len(p.raw)
	}
	return n
}

// AppendTo appends the encoding to dst.
func (f *Forward) AppendTo(dst []byte) []byte {
	if f.region == nil {
		for _, part := range f.parts[:f.used] {
			dst = append(dst, part...)
		}
		return dst
	}
	var p property
	for c := propertiesOf(f.region, anyPacket); c.nextForwarded(&p); {
		dst = append(dst, p.raw...)
	}
	return dst
}

// nextForwarded is next for a region that was checked before: it skips what is
// not forwarded.
func (c *propertyCursor) nextForwarded(p *property) bool {
	for c.next(p) {
		c.seen = 0
		if propertyTable[p.id].forwards {
			return true
		}
	}
	return false
}

func (f *Forward) each(fn func(*property) bool) {
	regions := f.parts[:f.used]
	if f.region != nil {
		regions = []View{f.region}
	}
	for _, region := range regions {
		var p property
		for c := propertiesOf(region, anyPacket); c.nextForwarded(&p); {
			if !fn(&p) {
				return
			}
		}
	}
}

func (f *Forward) find(id byte) (found property, ok bool) {
	f.each(func(p *property) bool {
		if p.id == id {
			found, ok = *p, true
		}
		return !ok
	})
	return found, ok
}

// PayloadFormat returns the Payload Format Indicator. Section 3.3.2.3.2.
func (f *Forward) PayloadFormat() (byte, bool) {
	p, ok := f.find(propPayloadFormat)
	return byte(p.num), ok
}

// ContentType returns the Content Type. Section 3.3.2.3.9.
func (f *Forward) ContentType() (View, bool) {
	p, ok := f.find(propContentType)
	return p.value, ok
}

// ResponseTopic returns the Response Topic. Section 3.3.2.3.5.
func (f *Forward) ResponseTopic() (View, bool) {
	p, ok := f.find(propResponseTopic)
	return p.value, ok
}

// CorrelationData returns the Correlation Data. Section 3.3.2.3.6.
func (f *Forward) CorrelationData() (View, bool) {
	p, ok := f.find(propCorrelationData)
	return p.value, ok
}

// EachUserProperty calls fn for each User Property in order until it returns false.
func (f *Forward) EachUserProperty(fn func(name, value View) bool) {
	f.each(func(p *property) bool { return p.id != propUserProperty || fn(p.name, p.value) })
}

// AppendPayloadFormat, AppendContentType, AppendResponseTopic and
// AppendCorrelationData encode one property each, for ForwardBytes.
func AppendPayloadFormat(dst []byte, v byte) []byte {
	return appendByteProperty(dst, propPayloadFormat, v)
}

// AppendContentType: see AppendPayloadFormat.
func AppendContentType(dst, v []byte) []byte { return appendBinaryProperty(dst, propContentType, v) }

// AppendResponseTopic: see AppendPayloadFormat.
func AppendResponseTopic(dst, v []byte) []byte {
	return appendBinaryProperty(dst, propResponseTopic, v)
}

// AppendCorrelationData: see AppendPayloadFormat.
func AppendCorrelationData(dst, v []byte) []byte {
	return appendBinaryProperty(dst, propCorrelationData, v)
}
