package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// A format is -F, taken apart: each piece appends what it stands for.
type format []func(dst []byte, p *codec.Publish, at time.Time) []byte

// A field is a letter behind %, with its flags.
type field struct {
	letter     byte
	zero, left bool
	width      int
	most       int // -1: any
}

const formatLetters = "ACDEFIJPRSUXjlmpqrtx"

var escapes = map[byte]string{'\\': "\\", '0': "\x00", 'a': "\a", 'e': "\x1b", 'n': "\n", 'r': "\r", 't': "\t", 'v': "\v"}

// dateLetters are those behind @, as in strftime of the C locale.
var dateLetters = map[byte]string{'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05", 'z': "-0700", 'Z': "MST", 'y': "06",
	'b': "Jan", 'B': "January", 'a': "Mon", 'A': "Monday", 'I': "03", 'p': "PM", 'j': "002", 'e': "_2", 'F': "2006-01-02", 'T': "15:04:05",
	'D': "01/02/06", 'R': "15:04", 'c': "Mon Jan _2 15:04:05 2006", 'x': "01/02/06", 'X': "15:04:05"}

// parseFormat takes -F apart. raw reports whether the payload is to be JSON: there is a %J.
func parseFormat(s string) (f format, raw bool, err error) {
	text := func(s string) {
		f = append(f, func(dst []byte, _ *codec.Publish, _ time.Time) []byte { return append(dst, s...) })
	}
	for len(s) > 0 {
		i := strings.IndexAny(s, `%@\`)
		if i != 0 {
			if i < 0 {
				i = len(s)
			}
			text(s[:i])
			s = s[i:]
			continue
		}
		if len(s) == 1 {
			return nil, false, fmt.Errorf("-F ends with %q: what is to follow is missing", s)
		}
		switch c := s[1]; s[0] {
		case '\\':
			e, known := escapes[c]
			if !known {
				return nil, false, fmt.Errorf(`-F: \%c is not known: \\, \0, \a, \e, \n, \r, \t and \v are`, c)
			}
			text(e)
			s = s[2:]
		case '@':
			date, err := parseDate(c)
			if err != nil {
				return nil, false, err
			}
			f = append(f, date)
			s = s[2:]
		case '%':
			if c == '%' {
				text("%")
				s = s[2:]
				continue
			}
			one, rest, err := parseField(s[1:])
			if err != nil {
				return nil, false, err
			}
			f, s, raw = append(f, one.append), rest, raw || one.letter == 'J'
		}
	}
	return f, raw, nil
}

func parseDate(c byte) (func([]byte, *codec.Publish, time.Time) []byte, error) {
	switch layout, known := dateLetters[c]; {
	case known:
		return func(dst []byte, _ *codec.Publish, at time.Time) []byte { return at.AppendFormat(dst, layout) }, nil
	case c == '@':
		return func(dst []byte, _ *codec.Publish, _ time.Time) []byte { return append(dst, '@') }, nil
	case c == 'N':
		return func(dst []byte, _ *codec.Publish, at time.Time) []byte {
			return fmt.Appendf(dst, "%09d", at.Nanosecond())
		}, nil
	case c == 's':
		return func(dst []byte, _ *codec.Publish, at time.Time) []byte { return strconv.AppendInt(dst, at.Unix(), 10) }, nil
	}
	return nil, fmt.Errorf("-F: @%c is not known: @@, @N, @s and Y m d H M S z Z y b B a A I p j e F T D R c x X are", c)
}

func parseField(s string) (f field, rest string, err error) {
	f.most = -1
	number := func() (n int) {
		for len(s) > 0 && s[0] >= '0' && s[0] <= '9' && n < 10000 {
			n = 10*n + int(s[0]-'0')
			s = s[1:]
		}
		return n
	}
	for len(s) > 0 && (s[0] == '0' || s[0] == '-') {
		f.zero, f.left = f.zero || s[0] == '0', f.left || s[0] == '-'
		s = s[1:]
	}
	f.width = number()
	if len(s) > 0 && s[0] == '.' {
		s = s[1:]
		f.most = number()
	}
	if s == "" || strings.IndexByte(formatLetters, s[0]) < 0 {
		return f, "", errors.New("-F: behind % stand a 0 or -, a width, a point with a maximum, and one of " + formatLetters)
	}
	f.letter = s[0]
	return f, s[1:], nil
}

// append appends the value of the field, as wide as it is to be.
func (f field) append(dst []byte, p *codec.Publish, at time.Time) []byte {
	v := f.value(p, at)
	if f.most >= 0 && strings.IndexByte("CIRt", f.letter) >= 0 {
		v = v[:min(len(v), f.most)]
	}
	pad := bytes.Repeat([]byte(" "), max(0, f.width-len(v)))
	if f.left {
		return append(append(dst, v...), pad...)
	}
	if f.zero && strings.IndexByte("AEFlmSXx", f.letter) >= 0 {
		pad = bytes.ReplaceAll(pad, []byte(" "), []byte("0"))
	}
	return append(append(dst, pad...), v...)
}

func (f field) value(p *codec.Publish, at time.Time) []byte {
	number := func(n int, is bool) []byte {
		if !is {
			return nil
		}
		return strconv.AppendInt(nil, int64(n), 10)
	}
	view := func(v codec.View, _ bool) []byte { return v }
	switch f.letter {
	case 'A':
		return number(int(p.TopicAlias), p.TopicAlias > 0)
	case 'C':
		return view(p.Forward.ContentType())
	case 'D':
		return view(p.Forward.CorrelationData())
	case 'E':
		return number(int(p.MessageExpirySeconds), p.HasMessageExpiry)
	case 'F':
		n, is := p.Forward.PayloadFormat()
		return number(int(n), is)
	case 'I':
		return at.AppendFormat(nil, "2006-01-02T15:04:05-0700")
	case 'J', 'j':
		return messageJSON(p, at, f.letter == 'J')
	case 'P':
		var pairs []string
		p.Forward.EachUserProperty(func(name, value codec.View) bool {
			pairs = append(pairs, name.String()+":"+value.String())
			return true
		})
		return []byte(strings.Join(pairs, " "))
	case 'R':
		return view(p.Forward.ResponseTopic())
	case 'S':
		var ids []string
		for _, id := range p.SubscriptionIDs {
			ids = append(ids, strconv.Itoa(int(id)))
		}
		return []byte(strings.Join(ids, " "))
	case 'U':
		return fmt.Appendf(nil, "%d.%09d", at.Unix(), at.Nanosecond())
	case 'X':
		return fmt.Appendf(nil, "%X", []byte(p.Payload))
	case 'x':
		return hex.AppendEncode(nil, p.Payload)
	case 'l':
		return number(len(p.Payload), true)
	case 'm':
		return number(int(p.PacketID), true)
	case 'p':
		return p.Payload
	case 'q':
		return number(int(p.QoS), true)
	case 'r':
		if p.Retain {
			return []byte("1")
		}
		return []byte("0")
	}
	return p.Topic
}

// receivedMessage is a message as %j, %J and --json show it: the names are Mosquitto's, and so is it that
// User Properties of one name are one.
type receivedMessage struct {
	Time       string              `json:"tst"`
	Topic      string              `json:"topic"`
	QoS        int                 `json:"qos"`
	Retain     int                 `json:"retain"`
	Bytes      int                 `json:"payloadlen"`
	ID         uint16              `json:"mid,omitempty"`
	Properties *receivedProperties `json:"properties,omitempty"`
	Payload    any                 `json:"payload"`
}

type receivedProperties struct {
	SubscriptionID  uint32            `json:"subscription-identifier,omitempty"`
	ContentType     string            `json:"content-type,omitempty"`
	User            map[string]string `json:"user-properties,omitempty"`
	CorrelationData string            `json:"correlation-data,omitempty"`
	ResponseTopic   string            `json:"response-topic,omitempty"`
	PayloadFormat   *byte             `json:"payload-format-indicator,omitempty"`
	Expiry          *uint32           `json:"message-expiry-interval,omitempty"`
}

func messageJSON(p *codec.Publish, at time.Time, raw bool) []byte {
	m := receivedMessage{Time: at.Format("2006-01-02T15:04:05.000000-0700"), Topic: p.Topic.String(), QoS: int(p.QoS), Bytes: len(p.Payload), ID: p.PacketID, Payload: string(p.Payload)}
	if p.Retain {
		m.Retain = 1
	}
	if raw {
		m.Payload = json.RawMessage(p.Payload)
	}
	var r receivedProperties
	if len(p.SubscriptionIDs) > 0 {
		r.SubscriptionID = p.SubscriptionIDs[0]
	}
	text := func(v codec.View, _ bool) string { return v.String() }
	r.ContentType, r.CorrelationData, r.ResponseTopic = text(p.Forward.ContentType()), text(p.Forward.CorrelationData()), text(p.Forward.ResponseTopic())
	if n, has := p.Forward.PayloadFormat(); has {
		r.PayloadFormat = &n
	}
	if p.HasMessageExpiry {
		r.Expiry = &p.MessageExpirySeconds
	}
	p.Forward.EachUserProperty(func(name, value codec.View) bool {
		if r.User == nil {
			r.User = map[string]string{}
		}
		r.User[name.String()] = value.String()
		return true
	})
	if p.Forward.Len() > 0 || r.Expiry != nil || r.SubscriptionID > 0 {
		m.Properties = &r
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if e.Encode(m) != nil { // raw, and not JSON
		return nil
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}
