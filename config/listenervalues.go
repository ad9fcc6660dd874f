package config

import (
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// This file has the kinds of values that only an entry of server.listeners has.

// choice is one of a few words that stand for values.
type choice[T comparable] struct {
	words  []string
	values []T
}

func (c choice[T]) parse(field any, text string) error {
	for i, word := range c.words {
		if strings.EqualFold(word, text) {
			*field.(*T) = c.values[i]
			return nil
		}
	}
	return refuse(c, text)
}

func (c choice[T]) format(field any) string {
	return c.words[slices.Index(c.values, *field.(*T))]
}
func (c choice[T]) allowed() string { return "one of " + strings.Join(c.words, ", ") }
func (choice[T]) scalar() scalar    { return stringScalar }

// isBare reports whether what YAML takes for a number is a value of this kind too.
func isBare(k kind) bool {
	switch k.(type) {
	case choice[uint16], octal:
		return true
	}
	return false
}

// wordList is a list of some of a few words, none twice.
type wordList []string

func (w wordList) parse(field any, text string) error {
	words := strings.Split(text, ",")
	for i, word := range words {
		words[i] = strings.TrimSpace(word)
		if !slices.Contains(w, words[i]) || slices.Contains(words[:i], words[i]) {
			return refuse(w, text)
		}
	}
	*field.(*[]string) = words
	return nil
}

func (wordList) format(field any) string { return strings.Join(*field.(*[]string), ",") }
func (wordList) scalar() scalar          { return stringScalar }
func (w wordList) allowed() string       { return "a list of some of " + strings.Join(w, ", ") }

// prefixes is a list of networks.
type prefixes struct{}

func (p prefixes) parse(field any, text string) error {
	var list []netip.Prefix
	if text != "" {
		for entry := range strings.SplitSeq(text, ",") {
			prefix, err := parsePrefix(strings.TrimSpace(entry))
			if err != nil {
				return fmt.Errorf("%w; %w", refuse(p, text), err)
			}
			list = append(list, prefix)
		}
	}
	*field.(*[]netip.Prefix) = list
	return nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	switch {
	case err != nil || prefix.Addr().Is4In6():
		return prefix, fmt.Errorf("%q is none", text)
	case prefix != prefix.Masked():
		return prefix, fmt.Errorf("%q has bits behind its length: %v is the network, %v the address", text, prefix.Masked(), prefix.Addr())
	case prefix.Bits() == 0:
		return prefix, fmt.Errorf("%q is everybody, who could then claim any address", text)
	}
	return prefix, nil
}

func (prefixes) format(field any) string {
	list := *field.(*[]netip.Prefix)
	texts := make([]string, len(list))
	for i, p := range list {
		texts[i] = p.String()
	}
	return strings.Join(texts, ",")
}
func (prefixes) scalar() scalar { return stringScalar }
func (prefixes) allowed() string {
	return `a list of addresses and networks, such as [127.0.0.1, 10.1.0.0/16, "fd00::/8"] or "127.0.0.1, 10.1.0.0/16"`
}

// octal is the mode of a file.
type octal struct{}

func (o octal) parse(field any, text string) error {
	mode, err := strconv.ParseUint(strings.TrimPrefix(text, "0o"), 8, 32)
	if err != nil || mode == 0 || mode > 0o777 || !strings.HasPrefix(text, "0") {
		return refuse(o, text)
	}
	*field.(*fs.FileMode) = fs.FileMode(mode)
	return nil
}

func (octal) format(field any) string { return fmt.Sprintf("%04o", *field.(*fs.FileMode)) }
func (octal) scalar() scalar          { return stringScalar }
func (octal) allowed() string {
	return `three octal digits behind a 0: "0600" is the user of the broker alone, "0660" its group too, "0666" everybody`
}

// offOr is a duration, or 0s for off where the key's text says so.
type offOr struct{ duration }

func (o offOr) parse(field any, text string) error {
	if v, err := time.ParseDuration(text); err == nil && v == 0 {
		*field.(*time.Duration) = 0
		return nil
	}
	if err := o.duration.parse(field, text); err != nil {
		return refuse(o, text)
	}
	return nil
}

func (o offOr) allowed() string { return "0s, or " + o.duration.allowed() }

// filePath is the path of a file, or empty.
type filePath struct{}

func (f filePath) parse(field any, text string) error {
	if strings.ContainsFunc(text, unicode.IsControl) || !utf8.ValidString(text) {
		return refuse(f, text)
	}
	*field.(*string) = text
	return nil
}

func (filePath) format(field any) string { return *field.(*string) }
func (filePath) scalar() scalar          { return stringScalar }
func (filePath) allowed() string {
	return "the path of a file, in UTF-8 and without control characters, or empty"
}

// webPath is where a listener for WebSocket answers, or empty.
type webPath struct{}

func (p webPath) parse(field any, text string) error {
	if text != "" && (!strings.HasPrefix(text, "/") || strings.ContainsFunc(text, notInPath)) {
		return refuse(p, text)
	}
	*field.(*string) = text
	return nil
}

func (webPath) format(field any) string { return *field.(*string) }
func (webPath) scalar() scalar          { return stringScalar }
func (webPath) allowed() string {
	return `a path that begins with "/" and has only ASCII without space, "?", "#" and "%", or empty`
}

const listenerNameMax = 64

// reservedNames are those of the listeners that have keys of their own, and of connections
// that no listener accepted.
var reservedNames = []string{"mqtt", "websocket", "metrics", "none"}

type listenerName struct{}

func (n listenerName) parse(field any, text string) error {
	other := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.", r)
	}
	if text == "" || len(text) > listenerNameMax || strings.ContainsFunc(text, other) || slices.Contains(reservedNames, text) {
		return refuse(n, text)
	}
	*field.(*string) = text
	return nil
}

func (listenerName) format(field any) string { return *field.(*string) }
func (listenerName) scalar() scalar          { return stringScalar }
func (listenerName) allowed() string {
	return fmt.Sprintf(`1 to %d letters, digits, "-", "_" and ".", other than %s, which are taken`, listenerNameMax, strings.Join(reservedNames, ", "))
}

// listenerAddress is what one of the kinds takes; checkAddress knows which.
type listenerAddress struct{}

func (listenerAddress) parse(field any, text string) error {
	*field.(*string) = text
	return nil
}

func (listenerAddress) format(field any) string { return *field.(*string) }
func (listenerAddress) scalar() scalar          { return stringScalar }
func (listenerAddress) allowed() string {
	return address{required: true}.allowed() + "; for the kind unix " + socketPath{}.allowed()
}

// socketPathMax is the longest path with which what the socket is made with, "/s" in a directory
// with ".new" behind its name, fits into the address of a Unix socket on all systems: 103 bytes.
const socketPathMax = 103 - len(".new/s")

// socketPath is where a Unix socket is. Those that are no files, with "@", could have no mode.
type socketPath struct{}

func (p socketPath) parse(field any, text string) error {
	if text == "" || len(text) > socketPathMax || strings.HasPrefix(text, "@") || strings.ContainsFunc(text, unicode.IsControl) || !utf8.ValidString(text) {
		return refuse(p, text)
	}
	*field.(*string) = text
	return nil
}

func (socketPath) format(field any) string { return *field.(*string) }
func (socketPath) scalar() scalar          { return stringScalar }
func (socketPath) allowed() string {
	return fmt.Sprintf(`the path of the socket, such as "/run/promptmq/mqtt.sock", of at most %d bytes, in UTF-8 and without control characters`, socketPathMax)
}
