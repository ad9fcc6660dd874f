package access

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A PasswordEntry is a line of a password file.
type PasswordEntry struct {
	User string
	Hash *Hash
	Line int // counted from 1
}

// PasswordFileBytesMax is the largest password file that is read.
const PasswordFileBytesMax = 64 << 20

// passwordUserBytesMax is the longest user name that CONNECT can have.
const passwordUserBytesMax = 65535

// ParsePasswordFile reads a Mosquitto password file: a line for each user, its name and the
// hash of its password, parted by a colon; lines that begin with # and empty ones mean
// nothing.
//
// It takes all of a file or nothing. One that is empty, or does not end with a line break,
// was cut off or not written whole. Its errors name the line, and never what stands behind
// the colon.
func ParsePasswordFile(text []byte) ([]PasswordEntry, error) {
	text, err := plainText(text)
	if err != nil {
		return nil, err
	}
	var entries []PasswordEntry
	lines := make(map[string]int)
	for n := 1; len(text) > 0; n++ {
		line, rest, _ := bytes.Cut(text, []byte("\n"))
		text = rest
		e, err := parsePasswordLine(string(bytes.TrimSuffix(line, []byte("\r"))))
		switch {
		case err != nil:
			return nil, fmt.Errorf("line %d: %w", n, err)
		case e == nil:
			continue
		case lines[e.User] > 0:
			return nil, fmt.Errorf("line %d: the user %s has line %d already", n, shownUser(e.User), lines[e.User])
		}
		e.Line, lines[e.User] = n, n
		entries = append(entries, *e)
	}
	return entries, nil
}

// plainText returns the text of a file without a byte order mark, or says why it is not the
// whole of one.
func plainText(text []byte) ([]byte, error) {
	switch {
	case len(text) == 0:
		return nil, errors.New("it is empty; a file without users has at least a line with a comment (#)")
	case len(text) > PasswordFileBytesMax:
		return nil, fmt.Errorf("it is larger than %d MiB", PasswordFileBytesMax>>20)
	case bytes.HasPrefix(text, []byte("\xff\xfe")), bytes.HasPrefix(text, []byte("\xfe\xff")):
		return nil, errors.New("it is UTF-16; save it as UTF-8")
	}
	if i := bytes.IndexByte(text, 0); i >= 0 {
		return nil, fmt.Errorf("line %d: a NUL byte; is it a text file in UTF-8?", lineOf(text, i))
	}
	if text[len(text)-1] != '\n' {
		return nil, fmt.Errorf("line %d: it does not end with a line break, so the file may be cut off; add one if it is whole", lineOf(text, len(text)))
	}
	return bytes.TrimPrefix(text, []byte("\ufeff")), nil
}

// lineOf returns the number of the line that the byte at i is in.
func lineOf(text []byte, i int) int { return 1 + bytes.Count(text[:i], []byte("\n")) }

// parsePasswordLine returns nil for a line that means nothing.
func parsePasswordLine(line string) (*PasswordEntry, error) {
	if !utf8.ValidString(line) {
		return nil, errors.New("it is not UTF-8")
	}
	if strings.ContainsFunc(line, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }) {
		return nil, errors.New("a control character")
	}
	if strings.TrimSpace(line) == "" || line[0] == '#' {
		return nil, nil
	}
	user, hash, found := strings.Cut(line, ":")
	user, hash = strings.TrimSpace(user), strings.TrimSpace(hash)
	switch {
	case !found:
		return nil, errors.New("there is no colon between a user name and a hash")
	case user == "":
		return nil, errors.New("there is no user name before the colon")
	case len(user) > passwordUserBytesMax:
		return nil, fmt.Errorf("the user name has more than %d bytes", passwordUserBytesMax)
	case hash == "":
		return nil, fmt.Errorf("the user %s has no hash", shownUser(user))
	}
	h, err := ParseHash(hash)
	if errors.Is(err, errNoHash) {
		return nil, fmt.Errorf("the user %s: what stands behind the colon is no hash; if it is the password itself, `mosquitto_passwd -U FILE` makes hashes of all of them", shownUser(user))
	}
	if err != nil {
		return nil, fmt.Errorf("the user %s: %w", shownUser(user), err)
	}
	return &PasswordEntry{User: user, Hash: h}, nil
}

// shownUser returns how a user name stands in an error.
func shownUser(name string) string {
	const most = 64
	if len(name) <= most {
		return fmt.Sprintf("%q", name)
	}
	return fmt.Sprintf("%q…", strings.ToValidUTF8(name[:most], ""))
}
