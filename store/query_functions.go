package store

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/ncruces/go-sqlite3"
)

// How many bytes a second argument may have, where the time may be the product of the two.
const (
	trimmedMax  = 100   // trim, ltrim, rtrim
	searchedMax = 1_000 // instr, replace
	patternMax  = 200   // like, glob
)

// addFunctions takes the place of those functions of SQLite that may take the product of the
// lengths of two values, in one step that nobody can interrupt.
func addFunctions(c *sqlite3.Conn, r *reading) error {
	for _, f := range []struct {
		name string
		args int
		fn   sqlite3.ScalarFunction
	}{
		{"instr", 2, sqlInstr}, {"replace", 3, sqlReplace}, {"unhex", 2, sqlUnhex},
		{"like", 2, sqlMatch(r, likeParts)}, {"like", 3, sqlMatch(r, likeParts)}, {"glob", 2, sqlMatch(r, globParts)},
		{"trim", 2, sqlTrim(strings.Trim)}, {"ltrim", 2, sqlTrim(strings.TrimLeft)}, {"rtrim", 2, sqlTrim(strings.TrimRight)},
	} {
		if err := c.CreateFunction(f.name, f.args, sqlite3.DETERMINISTIC|sqlite3.INNOCUOUS, func(ctx sqlite3.Context, args ...sqlite3.Value) {
			if r.ctx.Err() != nil {
				ctx.ResultError(sqlite3.INTERRUPT)
				return
			}
			f.fn(ctx, args...)
		}); err != nil {
			return err
		}
	}
	return nil
}

func anyNull(args []sqlite3.Value) bool {
	for _, a := range args {
		if a.Type() == sqlite3.NULL {
			return true
		}
	}
	return false
}

func sqlInstr(ctx sqlite3.Context, args ...sqlite3.Value) {
	if anyNull(args) {
		return
	}
	binary := args[0].Type() == sqlite3.BLOB && args[1].Type() == sqlite3.BLOB
	text, searched := args[0].RawText(), args[1].RawText()
	if len(searched) > searchedMax {
		ctx.ResultError(fmt.Errorf("instr looks for at most %d bytes", searchedMax))
		return
	}
	at := bytes.Index(text, searched)
	if at >= 0 && !binary {
		at = utf8.RuneCount(text[:at])
	}
	ctx.ResultInt64(int64(at + 1))
}

func sqlReplace(ctx sqlite3.Context, args ...sqlite3.Value) {
	if anyNull(args) {
		return
	}
	text, from, to := args[0].Text(), args[1].Text(), args[2].Text()
	switch {
	case from == "":
		ctx.ResultText(text)
		return
	case len(from) > searchedMax:
		ctx.ResultError(fmt.Errorf("replace looks for at most %d bytes", searchedMax))
		return
	}
	if n := strings.Count(text, from); len(text)+n*(len(to)-len(from)) > queryValueMax {
		ctx.ResultError(sqlite3.TOOBIG)
		return
	}
	ctx.ResultText(strings.ReplaceAll(text, from, to))
}

func sqlTrim(trim func(s, cutset string) string) sqlite3.ScalarFunction {
	return func(ctx sqlite3.Context, args ...sqlite3.Value) {
		if anyNull(args) {
			return
		}
		cutset := args[1].Text()
		if len(cutset) > trimmedMax {
			ctx.ResultError(fmt.Errorf("trim takes characters of at most %d bytes", trimmedMax))
			return
		}
		ctx.ResultText(trim(args[0].Text(), cutset))
	}
}

func sqlUnhex(ctx sqlite3.Context, _ ...sqlite3.Value) {
	ctx.ResultError(errors.New("unhex takes one argument"))
}

// A patternPart is a character of a pattern of LIKE or GLOB, or what stands for characters.
type patternPart struct {
	many bool // any characters
	fold bool // of ASCII, both cases are the same
	not  bool // any character but those of ranges
	// ranges have the first and last of the characters that one character may be.
	ranges [][2]rune
}

var anyOne = patternPart{not: true}

func (p *patternPart) is(c rune) bool {
	if p.fold {
		c = lowerASCII(c)
	}
	for _, r := range p.ranges {
		if r[0] <= c && c <= r[1] {
			return !p.not
		}
	}
	return p.not
}

func lowerASCII(c rune) rune {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func exactly(c rune) patternPart { return patternPart{ranges: [][2]rune{{c, c}}} }

// likeParts reads a pattern of LIKE; escape is "" or one character. An escape at the end, which
// is followed by nothing, matches nothing.
func likeParts(pattern, escape string) (parts []patternPart, ok bool) {
	escaped := false
	for _, c := range pattern {
		switch {
		case !escaped && escape != "" && string(c) == escape:
			escaped = true
			continue
		case !escaped && c == '%':
			parts = append(parts, patternPart{many: true})
		case !escaped && c == '_':
			parts = append(parts, anyOne)
		default:
			p := exactly(lowerASCII(c))
			p.fold = true
			parts = append(parts, p)
		}
		escaped = false
	}
	return parts, !escaped
}

// globParts reads a pattern of GLOB. A set without its end matches nothing.
func globParts(pattern, _ string) (parts []patternPart, ok bool) {
	text := []rune(pattern)
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '*':
			parts = append(parts, patternPart{many: true})
		case '?':
			parts = append(parts, anyOne)
		case '[':
			set, n := globSet(text[i+1:])
			if n == 0 {
				return nil, false
			}
			parts = append(parts, set)
			i += n
		default:
			parts = append(parts, exactly(text[i]))
		}
	}
	return parts, true
}

// globSet reads a set after its bracket, and tells how many characters it has with the other
// one; 0: that is missing.
func globSet(text []rune) (set patternPart, n int) {
	i := 0
	if i < len(text) && text[i] == '^' {
		set.not = true
		i++
	}
	for first := i; i < len(text); i++ {
		switch {
		case text[i] == ']' && i > first:
			return set, i + 1
		case i+2 < len(text) && text[i+1] == '-' && text[i+2] != ']':
			set.ranges = append(set.ranges, [2]rune{text[i], text[i+2]})
			i += 2
		default:
			set.ranges = append(set.ranges, [2]rune{text[i], text[i]})
		}
	}
	return set, 0
}

// sqlMatch is LIKE or GLOB, whose first argument is the pattern.
func sqlMatch(r *reading, read func(pattern, escape string) ([]patternPart, bool)) sqlite3.ScalarFunction {
	return func(ctx sqlite3.Context, args ...sqlite3.Value) {
		if args[0].Type() == sqlite3.BLOB || args[1].Type() == sqlite3.BLOB {
			ctx.ResultBool(false)
			return
		}
		if anyNull(args) {
			return
		}
		pattern, escape := args[0].Text(), ""
		if len(pattern) > patternMax {
			ctx.ResultError(fmt.Errorf("a pattern of LIKE or GLOB has at most %d bytes", patternMax))
			return
		}
		if len(args) == 3 {
			if escape = args[2].Text(); utf8.RuneCountInString(escape) != 1 {
				ctx.ResultError(errors.New("ESCAPE expression must be a single character"))
				return
			}
		}
		parts, ok := read(pattern, escape)
		if !ok {
			ctx.ResultBool(false)
			return
		}
		matches, err := r.matches(args[1].RawText(), parts)
		if err != nil {
			ctx.ResultError(sqlite3.INTERRUPT)
			return
		}
		ctx.ResultBool(matches)
	}
}

// matchSteps is how many characters are compared until the time is looked at again.
const matchSteps = 1 << 16

// matches tells whether a text is as a pattern, or the error of the context of the query when
// its time is over.
func (r *reading) matches(text []byte, parts []patternPart) (bool, error) {
	at, part := 0, 0
	many, from := -1, 0 // the last part that is any characters, and what follows them
	for steps := 1; at < len(text); steps++ {
		if steps%matchSteps == 0 && r.ctx.Err() != nil {
			return false, r.ctx.Err()
		}
		if part < len(parts) && parts[part].many {
			many, from = part, at
			if part++; part == len(parts) {
				return true, nil
			}
			continue
		}
		c, n := utf8.DecodeRune(text[at:])
		if part < len(parts) && parts[part].is(c) {
			at, part = at+n, part+1
			continue
		}
		if many < 0 {
			return false, nil
		}
		_, n = utf8.DecodeRune(text[from:])
		from += n
		at, part = from, many+1
	}
	for part < len(parts) && parts[part].many {
		part++
	}
	return part == len(parts), nil
}
