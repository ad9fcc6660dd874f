package topics

import "bytes"

const sharePrefix = "$share"

// ParseShare splits "$share/{ShareName}/{filter}". shared is false, and rest
// the whole, for any other filter. The filter part is not checked further than
// that there is one. [MQTT-4.8.2-1] [MQTT-4.8.2-2]
func ParseShare(filter []byte) (share, rest []byte, shared bool, err error) {
	if !bytes.HasPrefix(filter, []byte(sharePrefix)) {
		return nil, filter, false, nil
	}
	after := filter[len(sharePrefix):]
	if len(after) > 0 && after[0] != '/' { // "$shared/x" is an ordinary filter
		return nil, filter, false, nil
	}
	if len(after) == 0 {
		return nil, nil, true, ErrShare
	}
	share, rest, ok := bytes.Cut(after[1:], []byte{'/'})
	if !ok || len(share) == 0 || len(rest) == 0 || HasWildcard(share) ||
		bytes.IndexByte(share, 0) >= 0 { // [MQTT-4.7.3-2]
		return nil, nil, true, ErrShare
	}
	return share, rest, true, nil
}
