package config

import (
	"bytes"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// This file is about what editors put into a text and do not show: byte order
// marks, other encodings than UTF-8, carriage returns, no-break spaces.

// asUTF8 returns the text of a file without a byte order mark.
func asUTF8(name string, text []byte) ([]byte, *Error) {
	text = bytes.TrimPrefix(text, []byte("\uFEFF"))
	fail := func(line int, text string) ([]byte, *Error) {
		return nil, &Error{Origin: Origin{Name: name, Line: line}, Text: text}
	}
	if bytes.HasPrefix(text, []byte{0xFE, 0xFF}) || bytes.HasPrefix(text, []byte{0xFF, 0xFE}) {
		return fail(0, "is UTF-16; save it as UTF-8")
	}
	if bytes.IndexByte(text, 0) >= 0 {
		return fail(0, "has zero bytes, as UTF-16 has; save it as UTF-8")
	}
	line := 0
	for l := range bytes.Lines(text) {
		if line++; !utf8.Valid(l) {
			return fail(line, "is not UTF-8; save the file as UTF-8")
		}
	}
	return text, nil
}

// atTheEdge says which blank a text begins with or ends in; empty: none.
func atTheEdge(text string) string {
	if last, _ := utf8.DecodeLastRuneInString(text); text != "" && isBlank(last) {
		return "ends in " + blankName(last)
	}
	if first, _ := utf8.DecodeRuneInString(text); text != "" && isBlank(first) {
		return "begins with " + blankName(first)
	}
	return ""
}

// pointOut adds to faults whose line has a blank that is not what it looks like.
func pointOut(errs Errors, text []byte) Errors {
	lines := bytes.Split(text, []byte("\n"))
	for _, err := range errs {
		if err.Origin.Line == 0 || err.Origin.Line > len(lines) {
			continue
		}
		for _, r := range string(lines[err.Origin.Line-1]) {
			if isBlank(r) && r > unicode.MaxASCII && !err.edge {
				err.Text += "; the line has " + blankName(r)
				break
			}
		}
	}
	return errs
}

// isBlank tells what takes room in a text, or none, and cannot be seen.
func isBlank(r rune) bool {
	return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r)
}

func blankName(r rune) string {
	switch r {
	case ' ':
		return "a blank"
	case '\t':
		return "a tab"
	case '\n':
		return "a line break"
	case '\r':
		return "a carriage return, as lines of files made on Windows do"
	case '\u00A0':
		return "a no-break space (U+00A0)"
	}
	return fmt.Sprintf("an invisible character (%U)", r)
}
