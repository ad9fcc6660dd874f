package store

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// A User is somebody who may connect. What its texts mean is known to others; none has
// control characters, or a comma in a group.
type User struct {
	Name string
	// Hash is of the password, Scram what SCRAM proves it against; "": none.
	Hash, Scram string
	Groups      []string
	// Role is what it may do with the broker itself; "": nothing.
	Role     string
	Disabled bool
	Changed  time.Time // to the millisecond
}

const groupsSeparator = ","

func userSum(u *User) int64 {
	columns := []uint64{kindUser, textKey(u.Name), textKey(u.Hash), textKey(u.Scram), textKey(strings.Join(u.Groups, groupsSeparator)),
		uint64(boolInt(u.Disabled)), uint64(unixMilli(u.Changed))}
	if u.Role != "" { // else it is that of a version without roles
		columns = append(columns, textKey(u.Role))
	}
	return columnSum(columns...)
}

// userOf reads a row from this column on, and reports whether it is what was written.
func userOf(s *sqlite3.Stmt, column int) (u User, sound bool) {
	text := func(i int) string { return string(s.ColumnRawBlob(column + i)) }
	u = User{Name: text(0), Hash: text(1), Scram: text(2), Disabled: s.ColumnInt64(column+4) != 0, Changed: timeOf(s.ColumnInt64(column + 5)), Role: text(7)}
	if groups := text(3); groups != "" {
		u.Groups = strings.Split(groups, groupsSeparator)
	}
	return u, s.ColumnInt64(column+6) == userSum(&u) || broken("checksums")
}

func userArgs(u *User) []any {
	return []any{[]byte(u.Name), []byte(u.Hash), []byte(u.Scram), []byte(strings.Join(u.Groups, groupsSeparator)),
		boolInt(u.Disabled), unixMilli(u.Changed), userSum(u), []byte(u.Role)}
}

func ruleSum(position int64, text string) int64 {
	return columnSum(kindRule, uint64(position), textKey(text))
}

// Users returns all, by name. It is for the goroutine of Apply, as all that reads or
// changes users and rules.
func (db *DB) Users() (users []User, err error) {
	err = db.query("SELECT name, hash, scram, groups, disabled, changed, sum, role FROM user ORDER BY name", func(s *sqlite3.Stmt) error {
		u, sound := userOf(s, 0)
		if !sound {
			return damaged(fmt.Errorf("the user %q", u.Name))
		}
		users = append(users, u)
		return nil
	})
	return users, db.counted(err, usersKey, len(users))
}

// Rules returns the lines of all, in order.
func (db *DB) Rules() (lines []string, err error) {
	err = db.query("SELECT position, text, sum FROM rule ORDER BY position", func(s *sqlite3.Stmt) error {
		position, text := s.ColumnInt64(0), string(s.ColumnRawBlob(1))
		lines = append(lines, text)
		if position != int64(len(lines)) || s.ColumnInt64(2) != ruleSum(position, text) && !broken("checksums") {
			return damaged(fmt.Errorf("rule %d", len(lines)))
		}
		return nil
	})
	return lines, db.counted(err, rulesKey, len(lines))
}

// counted compares how many rows were read with how many there are to be.
func (db *DB) counted(err error, key string, n int) error {
	if err != nil {
		return ifDamage(err)
	}
	noted, found, err := readMeta(db.w, key)
	if err == nil && (!found || noted != int64(n)) {
		err = damaged(fmt.Errorf("there are %d %s, and %d were stored", n, key, noted))
	}
	return ifDamage(err)
}

// PutUser stores a user, in place of one with its name. When it returns nil the change
// survives a power cut, whatever the setting of synchronous; after an error nothing is
// changed. The same goes for all that changes users and rules.
func (db *DB) PutUser(u *User) error {
	return db.changeAccess(func() error {
		err := db.execOnce(`INSERT INTO user VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO UPDATE SET hash = excluded.hash,
			scram = excluded.scram, groups = excluded.groups, disabled = excluded.disabled, changed = excluded.changed, sum = excluded.sum, role = excluded.role`, userArgs(u)...)
		if err != nil {
			return err
		}
		return db.countUsers()
	})
}

// DeleteUser removes a user, if there is one of that name.
func (db *DB) DeleteUser(name string) error {
	return db.changeAccess(func() error {
		if err := db.execOnce("DELETE FROM user WHERE name = ?1", []byte(name)); err != nil {
			return err
		}
		return db.countUsers()
	})
}

func (db *DB) countUsers() error {
	n, err := queryInt(db.w, "SELECT count(*) FROM user")
	if err != nil {
		return err
	}
	return db.putMeta(usersKey, n)
}

// SetRules stores the lines of all rules, in place of those that there are.
func (db *DB) SetRules(lines []string) error {
	return db.changeAccess(func() error { return db.putRules(lines) })
}

func (db *DB) putRules(lines []string) error {
	if err := db.w.Exec("DELETE FROM rule"); err != nil {
		return err
	}
	for i, text := range lines {
		position := int64(i + 1)
		if err := db.execOnce("INSERT INTO rule VALUES (?1, ?2, ?3)", position, []byte(text), ruleSum(position, text)); err != nil {
			return err
		}
	}
	return db.putMeta(rulesKey, int64(len(lines)))
}

// AccessLost reports whether a salvage may have lost users or rules, and nobody has called
// KeepAccess since: what is left may allow more than was meant.
func (db *DB) AccessLost() (bool, error) {
	lost, _, err := readMeta(db.w, accessLostKey)
	return lost != 0, ifDamage(err)
}

// KeepAccess notes that the users and rules that there are may stand.
func (db *DB) KeepAccess() error {
	return db.changeAccess(func() error { return db.putMeta(accessLostKey, 0) })
}

// changeAccess makes a change of users or rules.
func (db *DB) changeAccess(change func() error) error {
	if db.closed.Load() {
		return errClosed
	}
	if broken("access-not-stored") {
		return nil
	}
	if lax := db.o.Synchronous == "NORMAL" || db.o.Synchronous == "OFF"; lax {
		if err := db.w.Exec("PRAGMA synchronous = FULL"); err != nil {
			return err
		}
		defer func() { _ = db.w.Exec("PRAGMA synchronous = " + db.o.Synchronous) }() // FULL is no harm
	}
	return ifDamage(db.transact(change))
}

// execOnce runs a statement that is used too seldom to be kept.
func (db *DB) execOnce(sql string, args ...any) error {
	s, _, err := db.w.Prepare(sql)
	if err != nil {
		return err
	}
	return errors.Join(exec(s, args...), s.Close())
}
