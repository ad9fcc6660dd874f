package mosquitto

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/x0a1b/promptmq/broker/access"
)

// A User is one that may log in.
type User struct {
	Place
	Name     string
	Hash     string // as access.ParseHash reads it
	Groups   []string
	Disabled bool
}

// An Access is who may log in, and do what.
type Access struct {
	Users []User
	Rules []access.Rule // in the order in which they are asked
}

// maxRules is how many a store has.
const maxRules = 10_000

// ReadAccess reads the files that say who may do what, and reports on them. salts returns
// random bytes.
func (c *Conf) ReadAccess(salts func(n int) []byte) *Access {
	a := new(Access)
	if c.Passwords.Path != "" {
		c.readPasswords(a)
	}
	if c.ACL.Path != "" {
		c.readACL(a)
	}
	if c.DynamicSecurity.Path != "" {
		c.readDynamicSecurity(a, salts)
	}
	return a
}

// open reads a file that is named. ok is false if that is refused.
func (c *Conf) open(f NamedFile, most int64) (text []byte, ok bool) {
	info, err := os.Stat(f.Path)
	if err == nil && info.Size() > most {
		err = fmt.Errorf("it has more than %d bytes", most)
	}
	if err == nil {
		text, err = os.ReadFile(f.Path)
	}
	if err != nil {
		c.Report.Add(f.File, f.Line, f.Path, Refused, "it cannot be read: %v", reasonOf(err))
		return nil, false
	}
	return text, true
}

// refuse reports an error that begins with the name of the file, and may go on with a line.
func (c *Conf) refuse(file string, err error) {
	text, line := strings.TrimPrefix(err.Error(), file+":"), 0
	if number, rest, found := strings.Cut(text, ":"); found {
		if n, err := strconv.Atoi(number); err == nil {
			text, line = rest, n
		}
	}
	c.Report.Add(file, line, "the file", Refused, "%s", strings.TrimSpace(text))
}

func (c *Conf) readPasswords(a *Access) {
	text, ok := c.open(c.Passwords, access.PasswordFileBytes)
	if !ok {
		return
	}
	entries, err := access.ParsePasswordFile(c.Passwords.Path, text)
	if err != nil {
		c.refuse(c.Passwords.Path, err)
		return
	}
	for _, e := range entries {
		a.Users = append(a.Users, User{Place: Place{c.Passwords.Path, e.Line}, Name: e.User, Hash: e.Hash.String()})
		c.Report.Add(c.Passwords.Path, e.Line, "user "+e.User, Taken, "a user of the store, with the same password")
	}
	c.Report.Add(c.Passwords.File, c.Passwords.Line, "password_file "+c.Passwords.Path, Taken, "users of the store: %d", len(entries))
	if len(entries) == 0 {
		c.noUsers()
	}
}

// noUsers says what it means that there are passwords, and of nobody.
func (c *Conf) noUsers() {
	if c.anonymous {
		c.Report.Add(c.Passwords.File, c.Passwords.Line, "password_file", Changed, "there is no user in it: a client with a user name counts for nobody, where Mosquitto refuses it")
	}
}

func (c *Conf) readACL(a *Access) {
	text, ok := c.open(c.ACL, access.RulesFileBytes)
	if !ok {
		return
	}
	rules, err := access.ParseMosquitto(c.ACL.Path, text)
	if err != nil {
		c.refuse(c.ACL.Path, err)
		return
	}
	if len(rules) > maxRules {
		c.Settings = append(c.Settings, Value{c.ACL.Place, "auth.acl-file", c.ACL.Path})
		c.Report.Add(c.ACL.File, c.ACL.Line, "acl_file "+c.ACL.Path, Changed, "auth.acl-file: it has more rules than the %d of the store, and stays where it is", maxRules)
		return
	}
	lines := strings.Split(string(text), "\n")
	for i := range rules {
		if n, err := lineOf(rules[i].Where, c.ACL.Path); err == nil {
			c.Report.Add(c.ACL.Path, n, strings.TrimSpace(lines[n-1]), Taken, "%s", rules[i])
		}
	}
	if last := len(rules) - 1; last > 0 {
		rules = rules[:last] // what no rule allows is denied anyway, and a rule that is added behind it would have no effect
	}
	a.Rules = rules
	c.Report.Add(c.ACL.File, c.ACL.Line, "acl_file "+c.ACL.Path, Taken, "rules of the store: %d; what none allows is denied", len(rules))
}

var errNoLine = errors.New("it is no line of the file")

func lineOf(where, file string) (int, error) {
	number, found := strings.CutPrefix(where, file+":")
	if !found {
		return 0, errNoLine
	}
	return strconv.Atoi(number)
}
