package topics

import "bytes"

const sharePrefix = "$share/"

// ParseShare splits "$share/{ShareName}/{filter}". shared is false, and rest
// the whole, for any other filter, like "$shared/x" or "$share" alone. The filter
// part is not checked further than that there is one. [MQTT-4.8.2-1] [MQTT-4.8.2-2]
func ParseShare(filter []byte) (share, rest []byte, shared bool, err error) {
	after, shared := bytes.CutPrefix(filter, []byte(sharePrefix))
	if !shared {
		return nil, filter, false, nil
	}
	share, rest, ok := bytes.Cut(after, []byte{'/'})
	if !ok || len(share) == 0 || len(rest) == 0 || HasWildcard(share) ||
		bytes.IndexByte(share, 0) >= 0 { // [MQTT-4.7.3-2]
		return nil, nil, true, ErrShare
	}
	return share, rest, true, nil
}
