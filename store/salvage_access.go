package store

import "github.com/ncruces/go-sqlite3"

func (s *salvager) takeUser(row *sqlite3.Stmt) (ok bool, err error) {
	u, sound := userOf(row, 1)
	if !sound {
		return false, nil
	}
	s.users++
	return true, s.insert("INSERT INTO user VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)", userArgs(&u)...)
}

// roleOf names the column with the roles of users, or what a version without them has.
func (s *salvager) roleOf() string {
	if s.from != nil {
		if stmt, _, err := s.from.Prepare("SELECT role FROM user"); err == nil {
			_ = stmt.Close() // never run
			return "role"
		}
	}
	return "x''"
}

// takeRule gives a rule the next position, for one before it may be lost.
func (s *salvager) takeRule(row *sqlite3.Stmt) (ok bool, err error) {
	position, text := row.ColumnInt64(0), string(row.ColumnRawBlob(1))
	if row.ColumnInt64(2) != ruleSum(position, text) {
		return false, nil
	}
	s.rules++
	return true, s.insert("INSERT INTO rule VALUES (?1, ?2, ?3)", s.rules, []byte(text), ruleSum(s.rules, text))
}

// countAccess counts the recovered users and rules, and notes whether some may be lost:
// without a rule that denies, the rest would allow too much.
func (s *salvager) countAccess() error {
	if s.to == nil {
		return nil
	}
	lost := int64(0)
	for _, t := range s.tables {
		if (t.Name == "user" || t.Name == "rule") && (t.Lost > 0 || t.Unreadable > 0) {
			lost = 1
		}
	}
	for key, n := range map[string]int64{usersKey: s.users, rulesKey: s.rules} {
		if s.from != nil && !s.predates("user") {
			if noted, found, err := readMeta(s.from, key); err != nil || !found || noted != n {
				lost = 1
			}
		}
		if err := s.putMeta(key, n); err != nil {
			return err
		}
	}
	if s.from != nil && !s.predates("user") {
		if was, _, err := readMeta(s.from, accessLostKey); err != nil || was != 0 {
			lost = 1
		}
	}
	return s.putMeta(accessLostKey, lost)
}

func (s *salvager) putMeta(key string, value int64) error {
	stmt, _, err := s.to.Prepare(putMetaSQL)
	if err != nil {
		return err
	}
	defer func() { _ = stmt.Close() }() // its error is that of its execution
	if err := stmt.BindText(1, key); err != nil {
		return err
	}
	if err := stmt.BindInt64(2, value); err != nil {
		return err
	}
	if err := stmt.BindInt64(3, metaSum(key, value)); err != nil {
		return err
	}
	return stmt.Exec()
}
