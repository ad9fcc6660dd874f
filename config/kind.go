package config

import (
	"errors"
	"fmt"
	"net"
	"path"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/x0a1b/promptmq/broker"
)

// kind is a type of value: how it is written, what is allowed.
type kind interface {
	// parse stores text in *field, a pointer, or says what is allowed.
	parse(field any, text string) error
	// format is the inverse of parse.
	format(field any) string
	// allowed completes the sentence "must be ...".
	allowed() string
	// scalar is how YAML writes a value of this kind.
	scalar() scalar
}

type scalar int

const (
	stringScalar scalar = iota
	integerScalar
	booleanScalar
	listScalar
)

func (s scalar) String() string {
	return [...]string{"a string", "an integer", "true or false", "a list"}[s]
}

func refuse(k kind, text string) error {
	return fmt.Errorf("%q is not allowed; it must be %s", text, k.allowed())
}

// enum is one of a few words, in any case.
type enum []string

func oneOf(words ...string) enum { return words }

func (e enum) parse(field any, text string) error {
	for _, word := range e {
		if strings.EqualFold(word, text) {
			*field.(*string) = word
			return nil
		}
	}
	if word := nearest(text, e); word != "" {
		return fmt.Errorf("%w; did you mean %s?", refuse(e, text), word)
	}
	return refuse(e, text)
}

func (e enum) format(field any) string { return *field.(*string) }
func (e enum) allowed() string         { return "one of " + strings.Join(e, ", ") }
func (e enum) scalar() scalar          { return stringScalar }

// integer fills a field of any integer type.
type integer struct{ min, max int64 }

func (i integer) parse(field any, text string) error {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < i.min || n > i.max {
		return refuse(i, text)
	}
	if v := reflect.ValueOf(field).Elem(); v.CanUint() {
		v.SetUint(uint64(n))
	} else {
		v.SetInt(n)
	}
	return nil
}

func (i integer) format(field any) string {
	v := reflect.ValueOf(field).Elem()
	if v.CanUint() {
		return strconv.FormatUint(v.Uint(), 10)
	}
	return strconv.FormatInt(v.Int(), 10)
}

func (i integer) allowed() string { return fmt.Sprintf("an integer from %d to %d", i.min, i.max) }
func (i integer) scalar() scalar  { return integerScalar }

// orOff is an integer, or 0 for off where the key's text says so.
type orOff struct{ integer }

func (o orOff) parse(field any, text string) error {
	if text == "0" {
		return integer{0, 0}.parse(field, text)
	}
	if err := o.integer.parse(field, text); err != nil {
		return refuse(o, text)
	}
	return nil
}

func (o orOff) allowed() string { return "0, or " + o.integer.allowed() }

// milliseconds is an integer that fills a time.Duration.
type milliseconds struct{ integer }

func (m milliseconds) parse(field any, text string) error {
	var n int64
	if err := m.integer.parse(&n, text); err != nil {
		return err
	}
	*field.(*time.Duration) = time.Duration(n) * time.Millisecond
	return nil
}

func (m milliseconds) format(field any) string {
	return strconv.FormatInt(field.(*time.Duration).Milliseconds(), 10)
}

type duration struct{ min, max time.Duration }

func (d duration) parse(field any, text string) error {
	v, err := time.ParseDuration(text)
	if err != nil || v < d.min || v > d.max {
		return refuse(d, text)
	}
	*field.(*time.Duration) = v
	return nil
}

func (d duration) format(field any) string { return field.(*time.Duration).String() }
func (d duration) scalar() scalar          { return stringScalar }
func (d duration) allowed() string {
	return fmt.Sprintf(`a duration from %v to %v, such as "1m30s"`, d.min, d.max)
}

type boolean struct{}

func (b boolean) parse(field any, text string) error {
	if text != "true" && text != "false" {
		return refuse(b, text)
	}
	*field.(*bool) = text == "true"
	return nil
}

func (boolean) format(field any) string { return strconv.FormatBool(*field.(*bool)) }
func (boolean) allowed() string         { return "true or false" }
func (boolean) scalar() scalar          { return booleanScalar }

// address is host:port to listen on.
type address struct{ required bool }

func (a address) parse(field any, text string) error {
	if text != "" || a.required {
		host, port, err := net.SplitHostPort(text)
		n, portErr := strconv.Atoi(port)
		if err != nil || portErr != nil || n < 0 || n > 65535 || strings.ContainsFunc(host, notInHost) {
			return refuse(a, text)
		}
	}
	*field.(*string) = text
	return nil
}

// notInHost tells what no host name and no IP address has, zone included.
func notInHost(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`/\"'`, r)
}

func (address) format(field any) string { return *field.(*string) }
func (address) scalar() scalar          { return stringScalar }
func (a address) allowed() string {
	s := `host:port, such as "127.0.0.1:1883" or "[::1]:1883"; ":1883" is every address of this machine, "0.0.0.0:1883" every IPv4 address, "[::]:1883" every IPv6 address; port 0 is any free one`
	if !a.required {
		s += `; or empty`
	}
	return s
}

type directory struct{}

func (d directory) parse(field any, text string) error {
	if text == "" || strings.ContainsFunc(text, unicode.IsControl) || !utf8.ValidString(text) {
		return refuse(d, text)
	}
	*field.(*string) = text
	return nil
}

func (directory) format(field any) string { return *field.(*string) }
func (directory) allowed() string {
	return "the path of a directory, in UTF-8 and without control characters"
}
func (directory) scalar() scalar { return stringScalar }

type urlPath struct{}

func (p urlPath) parse(field any, text string) error {
	if !strings.HasPrefix(text, "/") || strings.ContainsFunc(text, notInPath) {
		return refuse(p, text)
	}
	if text == "/health" || text == "/ready" {
		return errors.New(text + " is taken by a probe; choose another path")
	}
	*field.(*string) = text
	return nil
}

func notInPath(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune("?#%", r)
}

func (urlPath) format(field any) string { return *field.(*string) }
func (urlPath) scalar() scalar          { return stringScalar }
func (urlPath) allowed() string {
	return `a path that begins with "/" and has only ASCII without space, "?", "#" and "%", other than /health and /ready`
}

// webOrigins is a list of what may stand in the Origin of a request: words and
// patterns.
type webOrigins struct{}

func (o webOrigins) parse(field any, text string) error {
	entries := strings.Split(text, ",")
	for i, entry := range entries {
		entry = strings.TrimSpace(entry)
		if !isOrigin(entry) || strings.EqualFold(entry, broker.AnyOrigin) && len(entries) > 1 {
			return refuse(o, text)
		}
		entries[i] = entry
	}
	*field.(*string) = strings.Join(entries, ",")
	return nil
}

// isListed reports whether a value of this kind may also be written as a YAML list.
func isListed(k kind) bool {
	switch k.(type) {
	case webOrigins, wordList, prefixes:
		return true
	}
	return false
}

// isOrigin reports whether s is a word or a pattern that an Origin can match:
// there is no path in one.
func isOrigin(s string) bool {
	host := s
	if scheme, rest, found := strings.Cut(s, "://"); found && scheme != "" {
		host = rest
	}
	_, err := path.Match(s, "")
	return host != "" && err == nil && !strings.ContainsFunc(host, notInHost)
}

func (webOrigins) format(field any) string { return *field.(*string) }
func (webOrigins) scalar() scalar          { return stringScalar }
func (webOrigins) allowed() string {
	return `same, any, or a list such as [same, https://app.example.com, "*.example.com"] or "same, https://app.example.com"`
}

// orDefault is an integer, 0 for off, or -1 for what the key's text says.
type orDefault struct{ orOff }

func (o orDefault) parse(field any, text string) error {
	if text == "-1" {
		return integer{-1, -1}.parse(field, text)
	}
	if err := o.orOff.parse(field, text); err != nil {
		return refuse(o, text)
	}
	return nil
}

func (o orDefault) allowed() string { return "-1, " + o.orOff.allowed() }

// measured is a number that counts something.
type measured struct {
	kind
	unit string
}

func unit(name string, k kind) kind { return measured{k, name} }
