package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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

// walBytesKept is what a WAL, or a journal, that grew larger is cut to when it
// begins anew.
const walBytesKept = 16 << 20

// sessionsPerOpen Session IDs are noted as used each time a store is opened:
// those given out need no write, and are not given out again.
const sessionsPerOpen = 1 << 32

// Options are the settings of a store.
type Options struct {
	DataDir string
	// Handed says that another process had the store open until now, and has closed it in good order:
	// it has compared the indexes at its start, and that is not done again.
	Handed bool
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
	// RemoveRows is the most rows that one transaction removes of queues and Sessions;
	// 0: as many as it can in a short time. For tests.
	RemoveRows int
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
	// exposed is static after Open.
	exposed []ExposedFile

	// Owned by the caller of Load, Apply and Close.
	w        *sqlite3.Conn
	stmts    statements
	tx       transaction
	packer   packer
	reserved int64 // Session IDs below it are noted as used
	// clock is the stored time, last what it was when the store was opened.
	clock, last clockReading
	limit       sizeLimit
	tidy        tidying
	removing    removing
	removals    map[int64]int64 // see removing.pending

	// Static after Open.
	nextID session.ID
	files  []openFile

	// readMu guards the following. Without a WAL, readers and the writer lock
	// each other out, so Apply holds it too.
	readMu turn
	r      *sqlite3.Conn
	page   *sqlite3.Stmt
	body   *sqlite3.Stmt

	commits, rows atomic.Uint64
	removedMost   atomic.Uint64
	removalsLeft  atomic.Int64
	room          atomic.Int64
	closed        atomic.Bool

	snapshots snapshots
	queries   queries
}

// A turn is a mutex that is a channel: SQLite may sleep while somebody has it, and in virtual
// time (testing/synctest) no sleep ends while another waits for a sync.Mutex.
type turn chan struct{}

func (t turn) Lock()   { t <- struct{}{} }
func (t turn) Unlock() { <-t }

// Stats are figures of a store since it was opened.
type Stats struct {
	FileBytes, WALBytes  int64
	FreeBytes            int64 // that the process may still write to the file system; -1: not known
	Commits, RowsWritten uint64
	// RemovedMost is the most rows of queues and of Sessions that one transaction
	// removed, RemovalsLeft the number of Sessions of which something is still to be.
	RemovedMost  uint64
	RemovalsLeft int64
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
	db := &DB{o: o, path: filepath.Join(dir, fileName), removals: make(map[int64]int64), readMu: make(turn, 1), queries: newQueries()}
	if err := db.open(); err != nil {
		_ = db.release()                                                  // the first error says what is wrong
		if errors.Is(err, sqlite3.ERROR) && !errors.Is(err, ErrDamaged) { // a table or a column that is not there
			err = damaged(fmt.Errorf("the schema: %w", err))
		}
		return nil, fmt.Errorf("%s: %w", db.path, db.hint(ifDamage(err)))
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
	if err := db.readClock(); err != nil {
		return err
	}
	if err := db.w.Exec("DELETE FROM unsummed WHERE NOT EXISTS (SELECT 1 FROM run WHERE run.session = unsummed.session)"); err != nil {
		return err
	}
	if err := db.limitSize(); err != nil {
		return err
	}
	if err := db.prepareTidy(); err != nil {
		return err
	}
	if err := db.openReader(); err != nil {
		return err
	}
	db.w.WALHook(db.checkpoint)
	if err := db.secureFiles(); err != nil {
		return err
	}
	return db.noteFiles()
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
	if err := checkWAL(c); err != nil {
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
	if err := db.noteSynced(c); err != nil {
		return err
	}
	return db.configure(c)
}

// Stats may be called by any goroutine.
func (db *DB) Stats() Stats {
	s := filesOf(db.path)
	s.FreeBytes = freeBytes(db.o.DataDir)
	s.Commits, s.RowsWritten = db.commits.Load(), db.rows.Load()
	s.RemovedMost, s.RemovalsLeft = db.removedMost.Load(), db.removalsLeft.Load()
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
	noted, _, err := readMeta(db.w, nextSessionKey)
	if err != nil {
		return err
	}
	next = max(next, noted)
	db.nextID, db.reserved = session.ID(next), next+sessionsPerOpen
	return db.putMeta(nextSessionKey, db.reserved)
}

// Close checkpoints and closes the store. If other files are in the place of its
// own, they are left alone.
func (db *DB) Close() error {
	if db.closed.Swap(true) {
		return nil
	}
	db.readMu.Lock() // who begins a snapshot has it in the list, or finds the store closed
	reading := !db.snapshots.none()
	db.readMu.Unlock()
	if reading {
		db.snapshots.endAll(errClosed)
	}
	if gone := db.Gone(); gone != nil {
		_, err := db.w.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, true) // else it removes a WAL by its name
		return errors.Join(gone, err, db.release())
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
