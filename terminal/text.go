// Package terminal writes for a person who looks at a terminal: tables that fit, texts of
// strangers that cannot do anything to it, and a screen that is drawn again and again.
package terminal

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// Escape returns s as it can be shown: what is not printable, and what changes the direction
// or the place of other characters, is written as in a Go string, and a backslash as two.
func Escape(s string) string {
	if !strings.ContainsFunc(s, needsEscape) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			b.WriteString(`\x` + strconv.FormatUint(uint64(s[0])|1<<8, 16)[1:])
		case r == '\\':
			b.WriteString(`\\`)
		case needsEscape(r):
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.WriteRune(r)
		}
		s = s[n:]
	}
	return b.String()
}

// needsEscape reports whether a character is shown as another. A space that is none to
// look at is one of them, and a mark, which would sit on the character before it.
func needsEscape(r rune) bool {
	return r == '\\' || r == utf8.RuneError || !unicode.IsPrint(r) || unicode.Is(unicode.M, r)
}

// Width is how many columns a text takes that Escape has returned.
func Width(s string) (n int) {
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

func runeWidth(r rune) int {
	if r < 0x1100 { // the first wide one
		return 1
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// Cut returns as much of a text, which Escape has returned, as fits into so many columns,
// with an ellipsis at its end if that is not all.
func Cut(s string, columns int) string {
	if Width(s) <= columns {
		return s
	}
	used := 1 // the ellipsis
	for i, r := range s {
		if used += runeWidth(r); used > columns {
			if columns < 1 {
				return ""
			}
			return s[:i] + "…"
		}
	}
	return s
}
