package store

import (
	"errors"
	"time"

	"github.com/x0a1b/promptmq/session"
)

// Options say where the database is and how SQLite is set.
type Options struct {
	// DataDir is the directory of the database; it is created when missing.
	DataDir string
	// CacheSize is PRAGMA cache_size: pages, or KiB when negative.
	CacheSize int
	// TempStore is DEFAULT, FILE or MEMORY.
	TempStore string
	// MmapSize is so many bytes of the file to map instead of read.
	MmapSize int64
	// BusyTimeout is how long to wait for a lock of another process.
	BusyTimeout time.Duration
	// Synchronous is OFF, NORMAL, FULL or EXTRA.
	Synchronous string
	// JournalMode is WAL, DELETE, TRUNCATE, PERSIST, MEMORY or OFF.
	JournalMode string
	ForeignKeys bool
	// VFS is the name of a registered go-sqlite3 VFS; empty: the operating system's.
	VFS string
}

// DefaultOptions returns the options of a broker that nobody configured.
func DefaultOptions() Options {
	return Options{
		DataDir: "./data", CacheSize: 75000, TempStore: "MEMORY", MmapSize: 256 << 20,
		BusyTimeout: 30 * time.Second, Synchronous: "FULL", JournalMode: "WAL", ForeignKeys: true,
	}
}

// Stats are counters of a DB since Open and the sizes of its files.
type Stats struct {
	FileBytes, WALBytes  int64
	Commits, RowsWritten uint64
	CheckpointFailures   uint64
}

// A DB is an open database.
type DB struct{}

var errSkeleton = errors.New("store: not written yet")

// ErrFull says that the disk or the database is full.
var ErrFull = errors.New("store: full")

// IsFull reports whether err says that the disk or the database is full.
func IsFull(err error) bool { return errors.Is(err, ErrFull) }

// Open opens the database, or creates it.
func Open(o Options) (*DB, error) { return nil, errSkeleton }

// Load reads everything but the queues.
func (db *DB) Load(eachSession func(*session.Loaded) error, eachRetained func(topic string, version uint64, m *session.Message) error) error {
	return errSkeleton
}

// NextID is the first incarnation number never used before.
func (db *DB) NextID() session.ID { return 0 }

// Apply writes b in one transaction.
func (db *DB) Apply(b *session.Batch) error { return errSkeleton }

// Page reads entries with from <= Seq in order.
func (db *DB) Page(id session.ID, from uint64, entriesMax, bytesMax int) ([]session.Entry, error) {
	return nil, errSkeleton
}

// Pragmas returns the settings as SQLite reports them.
func (db *DB) Pragmas() (map[string]string, error) { return nil, errSkeleton }

// Stats returns counters and sizes.
func (db *DB) Stats() Stats { return Stats{} }

// Close closes the database.
func (db *DB) Close() error { return nil }
