package topics

import (
	"bytes"
	"errors"
)

// What can be wrong with a Topic Name or Topic Filter.
var (
	ErrEmpty             = errors.New("at least one character is needed")
	ErrTooLong           = errors.New("more than 65,535 bytes")
	ErrTooDeep           = errors.New("too many levels")
	ErrNull              = errors.New("U+0000 is not allowed")
	ErrWildcardInName    = errors.New("a Topic Name contains a wildcard")
	ErrWildcardPlacement = errors.New("a wildcard does not occupy a whole level, or # is not the last")
	ErrShare             = errors.New("a Shared Subscription is $share/{ShareName}/{filter}")
)

const bytesMax = 65535 // [MQTT-4.7.3-3]

// ValidName checks a Topic Name. levelsMax 0: any number of levels.
func ValidName(name []byte, levelsMax int) error {
	if err := checkLength(name); err != nil {
		return err
	}
	levels := 1
	for _, c := range name {
		switch c {
		case '/':
			levels++
		case '+', '#': // [MQTT-4.7.0-1]
			return ErrWildcardInName
		case 0: // [MQTT-4.7.3-2]
			return ErrNull
		}
	}
	if levelsMax > 0 && levels > levelsMax {
		return ErrTooDeep
	}
	return nil
}

// ValidFilter checks a Topic Filter without its $share part. levelsMax 0: any
// number of levels.
func ValidFilter(filter []byte, levelsMax int) error {
	if err := checkLength(filter); err != nil {
		return err
	}
	levels := 1
	for i, c := range filter {
		switch c {
		case '/':
			levels++
		case 0: // [MQTT-4.7.3-2]
			return ErrNull
		case '#': // [MQTT-4.7.1-1]
			if i != len(filter)-1 || (i > 0 && filter[i-1] != '/') {
				return ErrWildcardPlacement
			}
		case '+': // [MQTT-4.7.1-2]
			if (i > 0 && filter[i-1] != '/') || (i < len(filter)-1 && filter[i+1] != '/') {
				return ErrWildcardPlacement
			}
		}
	}
	if levelsMax > 0 && levels > levelsMax {
		return ErrTooDeep
	}
	return nil
}

func checkLength(s []byte) error {
	switch {
	case len(s) == 0: // [MQTT-4.7.3-1]
		return ErrEmpty
	case len(s) > bytesMax:
		return ErrTooLong
	}
	return nil
}

// HasWildcard reports whether a Topic Filter contains a wildcard.
func HasWildcard(filter []byte) bool { return bytes.ContainsAny(filter, "+#") }

// MatchString reports whether a valid Topic Filter matches a Topic Name.
func MatchString(filter, name string) bool {
	if name != "" && name[0] == '$' && filter != "" && (filter[0] == '+' || filter[0] == '#') { // [MQTT-4.7.2-1]
		return false
	}
	n := 0
	for i := 0; i < len(filter); i++ {
		switch {
		case filter[i] == '#':
			return true
		case filter[i] == '+':
			for n < len(name) && name[n] != '/' {
				n++
			}
		case n == len(name):
			return filter[i:] == "/#" // a/# matches a
		case filter[i] != name[n]:
			return false
		default:
			n++
		}
	}
	return n == len(name)
}
