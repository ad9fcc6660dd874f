package access

import (
	"errors"
	"fmt"
	"strings"
)

// A PasswordEntry is a line of a password file.
type PasswordEntry struct {
	User string
	Hash *Hash
	Line int // counted from 1
}

// PasswordFileBytes is the largest password file that is read.
const PasswordFileBytes = 64 << 20

// passwordUserBytesMax is the longest user name that CONNECT can have.
const passwordUserBytesMax = 65535

// ParsePasswordFile reads a Mosquitto password file: a line for each user, its name and the
// hash of its password, parted by a colon; lines that begin with # and empty ones mean
// nothing. name is that of the file, with which errors begin; a line follows it.
//
// It takes all of a file or nothing. One that is empty, or whose last line does not end, was
// cut off or not written whole; as was one whose first line is "# end required" and whose last
// is not "# end". No error has what stands behind a colon.
func ParsePasswordFile(name string, data []byte) ([]PasswordEntry, error) {
	lines, err := mosquittoLines(name, data, PasswordFileBytes, "a comment in it is a file without users")
	if err != nil {
		return nil, err
	}
	var entries []PasswordEntry
	known := make(map[string]int)
	for i, line := range lines {
		e, err := parsePasswordLine(line)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s:%d: %w", name, i+1, err)
		case e == nil:
			continue
		case known[e.User] > 0:
			return nil, fmt.Errorf("%s:%d: the user %s has line %d already", name, i+1, shownUser(e.User), known[e.User])
		}
		e.Line, known[e.User] = i+1, i+1
		entries = append(entries, *e)
	}
	return entries, nil
}

// parsePasswordLine returns nil for a line that means nothing.
func parsePasswordLine(line string) (*PasswordEntry, error) {
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
