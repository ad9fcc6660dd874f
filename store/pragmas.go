package store

import (
	"fmt"
	"strings"

	"github.com/ncruces/go-sqlite3"
)

// connect opens a connection and gives it its settings.
func (db *DB) connect() (*sqlite3.Conn, error) {
	c, err := sqlite3.OpenFlags(db.uri(), sqlite3.OPEN_READWRITE|sqlite3.OPEN_URI)
	if err != nil {
		return nil, err
	}
	if err := db.configure(c); err != nil {
		_ = c.Close() // the first error says what is wrong
		return nil, err
	}
	return c, nil
}

// A setting is a PRAGMA, the value asked for, and what reading it back gives.
type setting struct{ name, value, effective string }

func (db *DB) settings() []setting {
	o := &db.o
	number := func(n int64) string { return fmt.Sprint(n) }
	s := []setting{
		{"busy_timeout", number(o.BusyTimeout.Milliseconds()), ""},
		{"journal_mode", o.JournalMode, strings.ToLower(o.JournalMode)},
		{"synchronous", o.Synchronous, map[string]string{"OFF": "0", "NORMAL": "1", "FULL": "2", "EXTRA": "3"}[o.Synchronous]},
		{"cache_size", number(int64(o.CacheSize)), ""},
		{"temp_store", o.TempStore, map[string]string{"DEFAULT": "0", "FILE": "1", "MEMORY": "2"}[o.TempStore]},
		{"mmap_size", number(o.MmapSize), ""},
		{"foreign_keys", map[bool]string{false: "0", true: "1"}[o.ForeignKeys], ""},
	}
	for i := range s {
		if s[i].effective == "" {
			s[i].effective = s[i].value
		}
	}
	return s
}

// configure sets every PRAGMA and reads it back.
func (db *DB) configure(c *sqlite3.Conn) error {
	if err := c.Exec(fmt.Sprintf("PRAGMA page_size = %d", pageSize)); err != nil {
		return err
	}
	for _, s := range db.settings() {
		if err := c.Exec(fmt.Sprintf("PRAGMA %s = %s", s.name, s.value)); err != nil {
			return fmt.Errorf("PRAGMA %s = %s: %w", s.name, s.value, err)
		}
		got, err := queryText(c, "PRAGMA "+s.name)
		if err != nil {
			return err
		}
		if got != s.effective {
			return fmt.Errorf("PRAGMA %s: asked for %s, SQLite has %s", s.name, s.value, got)
		}
	}
	return c.Exec(fmt.Sprintf("PRAGMA journal_size_limit = %d", walBytesKept))
}

// Pragmas returns the settings as SQLite has them.
func (db *DB) Pragmas() (map[string]string, error) {
	all := make(map[string]string)
	for _, name := range []string{"cache_size", "temp_store", "mmap_size", "busy_timeout", "synchronous",
		"journal_mode", "foreign_keys", "page_size"} {
		v, err := queryText(db.w, "PRAGMA "+name)
		if err != nil {
			return nil, err
		}
		all[name] = v
	}
	return all, nil
}
