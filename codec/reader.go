package codec

// A Frame is one MQTT Control Packet: the first byte of its fixed header and
// all that follows the Remaining Length. Section 2.1.
type Frame struct {
	First byte
	Body  View
}

// Type returns the packet type.
func (f Frame) Type() PacketType { return PacketType(f.First >> 4) }

// Size returns the size of the whole packet in bytes.
func (f Frame) Size() int { return 1 + varintSize(uint32(len(f.Body))) + len(f.Body) }

// fixedFlags are the flags of the fixed header that are fixed for a type.
// [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.14.1-1] [MQTT-3.15.1-1]
func fixedFlags(t PacketType) byte {
	if t == TypePubrel || t == TypeSubscribe || t == TypeUnsubscribe {
		return 0x02
	}
	return 0
}

// A Reader cuts a stream of bytes into packets. It owns no memory: the caller
// lends it a buffer, which it leaves for a larger one when a packet needs it.
type Reader struct {
	buf            []byte
	start, end     int // the bytes read and not yet returned
	packetBytesMax int
	version        Version // 0: not known yet
	previous       View    // poisoned with -tags invariants
}

// Reset empties the reader, which has no buffer then. packetBytesMax bounds the size of a whole packet;
// 0: the limit of the protocol.
func (r *Reader) Reset(packetBytesMax int) {
	if packetBytesMax <= 0 {
		packetBytesMax = 1 + 4 + maxVarint
	}
	r.poison()
	*r = Reader{packetBytesMax: packetBytesMax}
}

// SetVersion says which version the peer speaks, for 3.1 allows more in the
// fixed header.
func (r *Reader) SetVersion(v Version) { r.version = v }

// Lend gives the reader, which must have none, a buffer.
func (r *Reader) Lend(buf []byte) { r.buf, r.start, r.end = buf[:cap(buf)], 0, 0 }

// Reclaim takes the buffer back if no byte is in it; else it returns nil. The
// last packet's Views end.
func (r *Reader) Reclaim() []byte {
	if r.end > r.start {
		return nil
	}
	r.poison()
	buf := r.buf
	r.buf, r.start, r.end = nil, 0, 0
	return buf
}

// Move takes the buffer back and leaves what is in it in buf, which must be
// larger. The last packet's Views end.
func (r *Reader) Move(buf []byte) []byte {
	r.poison()
	old := r.buf
	r.buf = buf[:cap(buf)]
	r.start, r.end = 0, copy(r.buf, old[r.start:r.end])
	return old
}

// Lent is the size of the buffer.
func (r *Reader) Lent() int { return len(r.buf) }

// Buffered is the number of bytes read and not yet returned.
func (r *Reader) Buffered() int { return r.end - r.start }

const roomMin = 512

// Room returns memory for the next read: never empty. It grows by doubling as
// bytes arrive, whatever length a packet claims. The last packet's Views end.
func (r *Reader) Room() []byte {
	r.poison()
	if r.start > 0 {
		r.end = copy(r.buf, r.buf[r.start:r.end])
		r.start = 0
	}
	if r.end == len(r.buf) {
		grown := make([]byte, max(roomMin, 2*len(r.buf)))
		copy(grown, r.buf[:r.end])
		r.buf = grown
	}
	return r.buf[r.end:]
}

// Wrote says that n bytes were read into what Room returned.
func (r *Reader) Wrote(n int) { r.end += n }

// PeekType returns the type of the next packet when its first byte is there.
func (r *Reader) PeekType() (PacketType, bool) {
	if r.start == r.end {
		return 0, false
	}
	return PacketType(r.buf[r.start] >> 4), true
}

// Peek returns the bytes that were read and not yet returned.
func (r *Reader) Peek() View { return r.buf[r.start:r.end] }

// Next returns the next packet. It returns ErrIncomplete while the packet is
// not whole, and an *Error as soon as its header is known to be wrong or its
// length too large. The previous packet's Views end.
func (r *Reader) Next() (Frame, error) {
	r.poison()
	if r.start == r.end {
		return Frame{}, ErrIncomplete
	}
	first := r.buf[r.start]
	if !rightHeader[first] {
		if err := checkHeader(first, r.version); err != nil {
			return Frame{}, err
		}
	}
	length, n, err := readVarint(r.buf[r.start+1 : r.end])
	if err != nil {
		return Frame{}, errRemainingLength
	}
	if n == 0 {
		return Frame{}, ErrIncomplete
	}
	if 1+n+int(length) > r.packetBytesMax {
		return Frame{}, errTooLarge
	}
	body := r.start + 1 + n
	if r.end-body < int(length) {
		return Frame{}, ErrIncomplete
	}
	r.start = body + int(length)
	r.previous = r.buf[body:r.start:r.start]
	return Frame{First: first, Body: r.previous}, nil
}

// NextBytes returns the size of the packet that Next has returned an error for
// because it is too large.
func (r *Reader) NextBytes() int {
	length, n, _ := readVarint(r.buf[r.start+1 : r.end]) // Next has read it
	return 1 + n + int(length)
}

// rightHeader has the first bytes of packets that are right in every version.
var rightHeader = func() (right [256]bool) {
	for first := range right {
		right[first] = checkHeader(byte(first), Version5) == nil
	}
	return right
}()

func checkHeader(first byte, v Version) *Error {
	switch t := PacketType(first >> 4); t {
	case 0:
		return errPacketType
	case TypePublish:
		if first&0x06 == 0x06 { // [MQTT-3.3.1-4]
			return errQoS
		}
	default:
		if first&0x0F != fixedFlags(t) && !flagsUnused(first, v) {
			return errFlags
		}
	}
	return nil
}

// flagsUnused reports whether the flags of the fixed header mean nothing, or are
// to be looked at later. In 3.1 most are "not used", and PUBREL, SUBSCRIBE and
// UNSUBSCRIBE, which are sent again like PUBLISH, have QoS 1 and a DUP flag.
// Which version a CONNECT is of stands behind its fixed header.
func flagsUnused(first byte, v Version) bool {
	switch t := PacketType(first >> 4); t {
	case TypeConnect:
		return true
	case TypePubrel, TypeSubscribe, TypeUnsubscribe:
		return v == Version31 && first&0x06 == fixedFlags(t)
	case TypeAuth:
		return false
	}
	return v == Version31
}
