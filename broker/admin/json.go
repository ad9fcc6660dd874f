package admin

import (
	"bytes"
	"errors"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
)

// unicodeJSON is JSON whose texts are what was written: encoding/json would put U+FFFD for what
// is no Unicode, and a topic or a user would be another one.
var unicodeJSON = huma.Format{
	Marshal: huma.DefaultJSONFormat.Marshal,
	Unmarshal: func(text []byte, v any) error {
		if !utf8.Valid(text) || hasLoneSurrogate(text) {
			return errors.New("it has text that is no Unicode")
		}
		return huma.DefaultJSONFormat.Unmarshal(text, v)
	},
}

// hasLoneSurrogate reports whether a \u of a JSON text is half of a character.
func hasLoneSurrogate(text []byte) bool {
	for {
		i := bytes.IndexByte(text, '\\')
		if i < 0 || i+1 >= len(text) {
			return false
		}
		half := escaped(text[i:])
		if !utf16.IsSurrogate(half) {
			text = text[i+2:]
			continue
		}
		if utf16.DecodeRune(half, escaped(text[i+6:])) == utf8.RuneError {
			return true
		}
		text = text[i+12:]
	}
}

// escaped returns the UTF-16 unit of a \u at the beginning of a text; 0: there is none.
func escaped(text []byte) rune {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0
	}
	unit, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	if err != nil {
		return 0
	}
	return rune(unit)
}
