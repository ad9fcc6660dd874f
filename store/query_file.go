package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ncruces/go-sqlite3"
)

// QueryStopped answers a query as DB.Query does, on the data directory of a broker that does
// not run, and keeps one from starting meanwhile. It writes nothing. Its error is ErrInUse if
// another process has the directory.
func QueryStopped(ctx context.Context, dir, sql string, l QueryLimits) (*QueryResult, error) {
	if !Exists(dir) {
		return nil, fmt.Errorf("there is no database in %s", dir)
	}
	lock, err := lockFile(filepath.Join(dir, lockName))
	if err != nil {
		return nil, err
	}
	defer func() { _ = lock.Close() }() // only ever read
	return queryFile(ctx, filepath.Join(dir, fileName), sql, l)
}

// QueryFile answers a query on a database that nobody writes to, such as a backup.
func QueryFile(ctx context.Context, path, sql string, l QueryLimits) (*QueryResult, error) {
	if err := mayBeDatabase(path); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return queryFile(ctx, path, sql, l)
}

func queryFile(ctx context.Context, path, sql string, l QueryLimits) (*QueryResult, error) {
	l, err := l.check()
	if err != nil {
		return nil, err
	}
	c, err := openReadOnly(path)
	if err == nil {
		err = newest(c)
	}
	if err != nil {
		if c != nil {
			_ = c.Close() // the first error says what is wrong
		}
		return nil, fmt.Errorf("%s: %w", path, ifDamage(err))
	}
	ctx, stop := context.WithCancelCause(ctx)
	stats := func() Stats { return filesOf(path) }
	return runQuery(stop, newReading(ctx, c, c.Close, stats), sql, l, func() {})
}

// newest returns an error unless a database has the tables of this version.
func newest(c *sqlite3.Conn) error {
	version, err := identify(c)
	if err == nil && version != int64(len(migrations)) {
		err = fmt.Errorf("the schema has version %d, and the views are on version %d: a start of the broker brings it there", version, len(migrations))
	}
	return err
}

// openReadOnly opens a database that nobody writes to, for reading. What its WAL has is read
// too, and stays there.
func openReadOnly(path string) (*sqlite3.Conn, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() == 0 {
		return nil, damaged(errors.New("the file is empty"))
	}
	beside := filesOf(path).WALBytes
	if journal, err := os.Stat(path + "-journal"); err == nil {
		beside += journal.Size()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if beside > 0 {
		c, err := openDamaged(path)
		if err == nil {
			err = checkWAL(c)
		}
		return c, err
	}
	// So SQLite makes no files beside it, as it would of a database that had a WAL.
	return sqlite3.OpenFlags(fileURI(path)+"?immutable=1", sqlite3.OPEN_READONLY|sqlite3.OPEN_URI)
}

// filesOf returns the sizes of a database and of its WAL.
func filesOf(path string) (s Stats) {
	if info, err := os.Stat(path); err == nil {
		s.FileBytes = info.Size()
	}
	if info, err := os.Stat(path + "-wal"); err == nil {
		s.WALBytes = info.Size()
	}
	return s
}
