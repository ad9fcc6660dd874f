package codec

// DecodePing checks a PINGREQ or PINGRESP, which have no body. Sections 3.12, 3.13.
func DecodePing(f Frame) error {
	if len(f.Body) > 0 {
		return errTrailing
	}
	return nil
}

// AppendPingreq appends a PINGREQ.
func AppendPingreq(dst []byte) []byte { return append(dst, byte(TypePingreq)<<4, 0) }

// AppendPingresp appends a PINGRESP.
func AppendPingresp(dst []byte) []byte { return append(dst, byte(TypePingresp)<<4, 0) }
