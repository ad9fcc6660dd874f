package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/x0a1b/promptmq/session"
)

// fileName is the database in the data directory.
const fileName = "promptmq.db"

// lockName is the file whose lock keeps a second process out.
const lockName = "promptmq.lock"

// pageSize is that of new databases, in bytes: docs/decisions.md has the
// figures that chose it.
const pageSize = 8192

// indexCheckMax is the largest file, in bytes, that is checked whole at start,
// its indexes against their tables; up to fullCheckMax every page is. Of a larger
// file the header, the size and the schema are checked. Of the smallest rows, 1 GB
// takes 26 seconds and 7 seconds.
const (
	indexCheckMax = 128 << 20
	fullCheckMax  = 512 << 20
)

// walBytesKept is what a WAL, or a journal, that grew larger is cut to when it
// begins anew.
const walBytesKept = 16 << 20

// sessionsPerOpen Session IDs are noted as used each time a store is opened:
// those given out need no write, and are not given out again.
const sessionsPerOpen = 1 << 32

// Options are the settings of a store.
type Options struct {
	DataDir string
	// CacheSize is PRAGMA cache_size: pages, or KiB if negative.
	CacheSize   int
	TempStore   string // DEFAULT, FILE or MEMORY
	MmapSize    int64  // bytes
	BusyTimeout time.Duration
	Synchronous string // OFF, NORMAL, FULL or EXTRA
	JournalMode string // WAL, DELETE, TRUNCATE, PERSIST or MEMORY
	ForeignKeys bool
	// MaxSize is how large the database file may grow, in bytes, apart from its
	// WAL; 0: as large as the disk allows.
	MaxSize int64
	// VFS is the name of a registered go-sqlite3 VFS over the operating
	// system's files, which tests inject faults by; empty: none.
	VFS string
}

// DefaultOptions returns the settings a store has when nothing is said: nothing
// that was acknowledged is lost in a power cut, and caches stay moderate.
func DefaultOptions() Options {
	return Options{
		DataDir:     "./data",
		CacheSize:   -65536, // 64 MiB
		TempStore:   "MEMORY",
		MmapSize:    256 << 20,
		BusyTimeout: 30 * time.Second,
		Synchronous: "FULL",
		JournalMode: "WAL",
		ForeignKeys: true,
	}
}

// A DB is an open store. Apply is for one goroutine at a time, Page for any.
type DB struct {
	o    Options
	path string
	lock *os.File

	// Owned by the caller of Load, Apply and Close.
	w        *sqlite3.Conn
	stmts    statements
	packer   packer
	reserved int64 // Session IDs below it are noted as used
	limit    sizeLimit
	tidy     tidying

	// Static after Open.
	nextID session.ID

	// readMu guards the following. Without a WAL, readers and the writer lock
	// each other out, so Apply holds it too.
	readMu sync.Mutex
	r      *sqlite3.Conn
	page   *sqlite3.Stmt
	body   *sqlite3.Stmt

	commits, rows atomic.Uint64
	room          atomic.Int64
	closed        atomic.Bool
}

// Stats are figures of a store since it was opened.
type Stats struct {
	FileBytes, WALBytes  int64
	Commits, RowsWritten uint64
}

// Open opens the store in o.DataDir, or makes one if there is no file. It
// returns only when what the last process left is checked and checkpointed. A
// file that is damaged, newer than this program or not a store is an error,
// and stays as it is.
func Open(o Options) (*DB, error) {
	dir, err := filepath.Abs(o.DataDir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.DataDir, err)
	}
	o.DataDir = dir
	if o.VFS == "" {
		registerVFS()
		o.VFS = spaceVFS
	}
	db := &DB{o: o, path: filepath.Join(dir, fileName)}
	if err := db.open(); err != nil {
		_ = db.release() // the first error is the one that tells
		return nil, fmt.Errorf("%s: %w", db.path, ifDamage(err))
	}
	return db, nil
}

func (db *DB) open() error {
	if err := db.prepareFiles(); err != nil {
		return err
	}
	if err := db.openWriter(); err != nil {
		return err
	}
	if err := migrate(db.w); err != nil {
		return err
	}
	if err := db.stmts.prepare(db.w); err != nil {
		return err
	}
	if err := db.reserveIDs(); err != nil {
		return err
	}
	if err := db.limitSize(); err != nil {
		return err
	}
	if err := db.prepareTidy(); err != nil {
		return err
	}
	return db.secureFiles()
}

// openWriter opens the connection that writes. Until the file is known to be
// sound and ours nothing is written to it, a WAL is left where it is, and
// nothing is mapped: a mapped file that is too short is a fault, not an error.
func (db *DB) openWriter() error {
	c, err := sqlite3.OpenFlags(db.uri(), sqlite3.OPEN_READWRITE|sqlite3.OPEN_URI)
	if err != nil {
		return err
	}
	db.w = c
	if _, err := c.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, true); err != nil {
		return err
	}
	if err := c.BusyTimeout(db.o.BusyTimeout); err != nil {
		return err
	}
	if _, err := identify(c); err != nil {
		return err
	}
	if err := db.check(); err != nil {
		return err
	}
	if !broken("wal-not-rewritten-at-start") {
		if err := rewriteWAL(c); err != nil {
			return fmt.Errorf("the WAL: %w", err)
		}
	}
	if _, err := c.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, false); err != nil {
		return err
	}
	if broken("no-checkpoint-at-start") {
		return db.configure(c)
	}
	// Without this checkpoint, what a dying process wrote and failed to sync
	// could be read, acknowledged upon, and lost by the next power cut.
	if _, _, err := c.WALCheckpoint("main", sqlite3.CHECKPOINT_TRUNCATE); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if err := db.checkSize(); err != nil {
		return err
	}
	return db.configure(c)
}

// prepareFiles makes the directory, takes the lock, and makes a new database
// beside its place if there is none: a file at that place is never half made.
func (db *DB) prepareFiles() error {
	if err := os.MkdirAll(db.o.DataDir, 0o700); err != nil {
		return err
	}
	lock, err := lockFile(filepath.Join(db.o.DataDir, lockName))
	if err != nil {
		return err
	}
	db.lock = lock
	if err := finishSalvage(db.path); err != nil {
		return err
	}
	info, err := os.Stat(db.path)
	switch {
	case err == nil && info.Size() == 0:
		return damaged(errors.New("the file is empty"))
	case err == nil:
		return db.secureFiles()
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	for _, suffix := range []string{"-wal", "-journal"} {
		if info, err := os.Stat(db.path + suffix); err == nil && info.Size() > 0 {
			return damaged(fmt.Errorf("the file is missing, but %s has %d bytes, which belong to it", db.path+suffix, info.Size()))
		}
	}
	return createDatabase(db.path)
}

func createDatabase(path string) error {
	next := path + ".new"
	for _, leftover := range []string{next, next + "-journal"} {
		if err := os.Remove(leftover); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	f, err := os.OpenFile(next, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	c, err := sqlite3.OpenFlags(fileURI(next), sqlite3.OPEN_READWRITE|sqlite3.OPEN_URI)
	if err != nil {
		return err
	}
	err = c.Exec(fmt.Sprintf("PRAGMA page_size = %d; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA synchronous = FULL", pageSize))
	if err == nil {
		err = migrate(c)
	}
	if err := errors.Join(err, c.Close()); err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// secureFiles keeps others from reading what SQLite made, and makes the names
// of those files durable.
func (db *DB) secureFiles() error {
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		if err := os.Chmod(db.path+suffix, 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return syncDir(db.o.DataDir)
}

// uri names the database. Files that SQLite makes beside it get its mode.
func (db *DB) uri() string {
	uri := fileURI(db.path) + "?modeof=" + escape.Replace(filepath.ToSlash(db.path))
	return uri + "&vfs=" + escape.Replace(db.o.VFS)
}

var escape = strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23", "&", "%26", "=", "%3d", "+", "%2b")

// fileURI escapes what means something in a URI.
func fileURI(path string) string {
	return "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(filepath.ToSlash(path))
}

// connect opens a connection and gives it its settings.
func (db *DB) connect() (*sqlite3.Conn, error) {
	c, err := sqlite3.OpenFlags(db.uri(), sqlite3.OPEN_READWRITE|sqlite3.OPEN_URI)
	if err != nil {
		return nil, err
	}
	if err := db.configure(c); err != nil {
		_ = c.Close() // the first error is the one that tells
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

// checkSize compares the size of the file with what its header says. With a WAL
// the file may be shorter, so that is for after the checkpoint.
func (db *DB) checkSize() error {
	pages, err := queryInt(db.w, "PRAGMA page_count")
	if err != nil {
		return err
	}
	size, err := queryInt(db.w, "PRAGMA page_size")
	if err != nil {
		return err
	}
	if got := db.Stats().FileBytes; got != pages*size {
		return damaged(fmt.Errorf("the file has %d bytes, and %d pages of %d bytes are %d", got, pages, size, pages*size))
	}
	return nil
}

// check looks for damage before anything is acknowledged on top of it.
func (db *DB) check() error {
	if db.Stats().WALBytes == 0 {
		if err := db.checkSize(); err != nil {
			return err
		}
	}
	bytes := db.Stats().FileBytes
	if bytes > fullCheckMax {
		_, err := queryInt(db.w, "SELECT count(*) FROM sqlite_schema")
		return err
	}
	pragma := "integrity_check"
	if bytes > indexCheckMax {
		pragma = "quick_check"
	}
	result, err := queryText(db.w, "PRAGMA "+pragma+"(1)")
	if err != nil {
		return fmt.Errorf("%s: %w", pragma, err)
	}
	if result != "ok" {
		return damaged(fmt.Errorf("%s: %s", pragma, result))
	}
	return nil
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

// Stats may be called by any goroutine.
func (db *DB) Stats() Stats {
	s := Stats{Commits: db.commits.Load(), RowsWritten: db.rows.Load()}
	if info, err := os.Stat(db.path); err == nil {
		s.FileBytes = info.Size()
	}
	if info, err := os.Stat(db.path + "-wal"); err == nil {
		s.WALBytes = info.Size()
	}
	return s
}

// NextID returns the first Session ID that no process has given out.
func (db *DB) NextID() session.ID { return db.nextID }

// reserveIDs sets Session IDs aside for this process.
func (db *DB) reserveIDs() error {
	next, err := queryInt(db.w, "SELECT coalesce((SELECT max(id) + 1 FROM session), 1)")
	if err != nil {
		return err
	}
	err = db.query("SELECT value, sum FROM meta WHERE key = 'next_session'", func(s *sqlite3.Stmt) error {
		value := s.ColumnInt64(0)
		if s.ColumnInt64(1) != metaSum("next_session", value) {
			return damaged(errors.New("the next Session ID"))
		}
		next = max(next, value)
		return nil
	})
	if err != nil {
		return err
	}
	db.nextID, db.reserved = session.ID(next), next+sessionsPerOpen
	return db.putNextSession(db.reserved)
}

// Close checkpoints and closes the store.
func (db *DB) Close() error {
	if db.closed.Swap(true) {
		return nil
	}
	_, _, err := db.w.WALCheckpoint("main", sqlite3.CHECKPOINT_TRUNCATE)
	return errors.Join(err, db.release())
}

// release closes what is open.
func (db *DB) release() error {
	var errs []error
	db.closed.Store(true)
	db.readMu.Lock()
	defer db.readMu.Unlock()
	for _, c := range []*sqlite3.Conn{db.r, db.w} {
		if c != nil {
			for _, s := range slices.Collect(c.Stmts()) {
				_ = s.Close() // its error is that of its last execution
			}
			errs = append(errs, c.Close())
		}
	}
	if db.lock != nil {
		errs = append(errs, db.lock.Close())
	}
	return errors.Join(errs...)
}

var errClosed = errors.New("the store is closed")
