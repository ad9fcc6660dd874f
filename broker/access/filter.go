package access

import (
	"strings"

	"github.com/x0a1b/promptmq/topics"
)

// A shape is the part of matching a Topic Filter that a simpler test does.
type shape uint8

const (
	mixed  shape = iota
	exact        // without a wildcard
	prefix       // with # as its only wildcard, behind a name
)

func shapeOf(filter string) shape {
	switch first := strings.IndexAny(filter, "+#"); {
	case first < 0:
		return exact
	case first == len(filter)-1 && filter[first] == '#' && first > 1:
		return prefix
	}
	return mixed
}

// matches reports whether a valid Topic Filter of that shape matches a Topic Name.
func matches(filter string, of shape, name string) bool {
	switch of {
	case exact:
		return filter == name
	case prefix:
		parent := filter[:len(filter)-2] // a/# matches a
		return strings.HasPrefix(name, parent) && (len(name) == len(parent) || name[len(parent)] == '/')
	}
	return topics.MatchString(filter, name)
}

// covers reports whether every Topic Name that matches the Topic Filter narrow also
// matches wide.
func covers(wide, narrow string) bool {
	if startsWild(wide) && strings.HasPrefix(narrow, "$") { // [MQTT-4.7.2-1]
		return false
	}
	narrow = atLeastOneByte(narrow)
	for {
		w, wRest, wMore := strings.Cut(wide, "/")
		if w == "#" {
			return true
		}
		n, nRest, nMore := strings.Cut(narrow, "/")
		if n == "#" || w != "+" && w != n {
			return false
		}
		if !wMore {
			return !nMore
		}
		if !nMore {
			return wRest == "#" // a/# covers a
		}
		wide, narrow = wRest, nRest
	}
}

// overlaps reports whether there is a Topic Name that matches both Topic Filters.
func overlaps(a, b string) bool {
	if startsWild(a) && strings.HasPrefix(b, "$") || startsWild(b) && strings.HasPrefix(a, "$") { // [MQTT-4.7.2-1]
		return false
	}
	a, b = atLeastOneByte(a), atLeastOneByte(b)
	for {
		x, aRest, aMore := strings.Cut(a, "/")
		y, bRest, bMore := strings.Cut(b, "/")
		switch {
		case x == "#" || y == "#":
			return true
		case x != "+" && y != "+" && x != y:
			return false
		case !aMore && !bMore:
			return true
		case !aMore:
			return bRest == "#"
		case !bMore:
			return aRest == "#"
		}
		a, b = aRest, bRest
	}
}

func startsWild(filter string) bool {
	return filter != "" && (filter[0] == '+' || filter[0] == '#')
}

// atLeastOneByte writes the two Topic Filters whose # would match the empty string, if it
// were a Topic Name, so that they would not. [MQTT-4.7.3-1]
func atLeastOneByte(filter string) string {
	switch filter {
	case "#":
		return "+/#"
	case "/#":
		return "/+/#"
	}
	return filter
}
