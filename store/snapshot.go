package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/ncruces/go-sqlite3"
)

const (
	// checkpointPages is from how many pages of the WAL on a commit copies them into the
	// database, as SQLite itself does by default.
	checkpointPages = 1000
	// checkpointTries is how often the end of a snapshot copies what was written meanwhile.
	checkpointTries = 8
	// snapshotCacheKiB is the page cache of a snapshot: each page is read about once.
	snapshotCacheKiB = 2048
)

var errNoWAL = errors.New("storage.sqlite.journal-mode is not WAL, and without a WAL nothing can be written while somebody reads: stop the broker for that")

// errWALBound is why a snapshot was ended.
var errWALBound = errors.New("meanwhile so much was written to the WAL that this had to end")

// A snapshot is a connection that reads the database as it was when it began. While it is
// open what is written stays in the WAL; nobody waits for it.
type snapshot struct {
	db *DB
	c  *sqlite3.Conn
	// walBytesMax is how large the WAL may grow before the snapshot is told to end.
	walBytesMax int64
	stop        context.CancelCauseFunc
}

// snapshots are those that are open.
type snapshots struct {
	mu   sync.Mutex // guards open
	open []*snapshot
	wait sync.WaitGroup
}

// beginSnapshot opens one. stop is called when it is to end, with the cause.
func (db *DB) beginSnapshot(walBytesMax int64, stop context.CancelCauseFunc) (*snapshot, error) {
	if db.o.JournalMode != "WAL" {
		return nil, errNoWAL
	}
	c, err := db.connect()
	if err != nil {
		return nil, err
	}
	s := &snapshot{db: db, c: c, walBytesMax: walBytesMax, stop: stop}
	// Nobody truncates the WAL meanwhile, which would wait for the new reader.
	db.readMu.Lock()
	defer db.readMu.Unlock()
	if err := s.begin(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	db.snapshots.mu.Lock()
	defer db.snapshots.mu.Unlock()
	db.snapshots.open = append(db.snapshots.open, s)
	db.snapshots.wait.Add(1)
	return s, nil
}

func (s *snapshot) begin() error {
	if s.db.closed.Load() {
		return errClosed
	}
	if _, err := s.c.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, true); err != nil {
		return err
	}
	if err := s.c.Exec(fmt.Sprintf("PRAGMA query_only = ON; PRAGMA mmap_size = 0; PRAGMA cache_size = -%d; BEGIN", snapshotCacheKiB)); err != nil {
		return err
	}
	_, err := queryInt(s.c, "SELECT count(*) FROM sqlite_schema") // it begins with the first read
	return err
}

// end closes the snapshot, and copies what was written meanwhile into the database, so that
// no commit has to.
func (s *snapshot) end() error {
	defer s.db.snapshots.wait.Done()
	s.c.SetInterrupt(context.Background())
	rollback(s.c)
	var err error
	for range checkpointTries {
		log, copied, failed := s.c.WALCheckpoint("main", sqlite3.CHECKPOINT_PASSIVE)
		if failed != nil || log-copied < checkpointPages/2 || s.db.closed.Load() {
			break // a commit does the rest
		}
	}
	err = s.c.Close()
	s.db.snapshots.mu.Lock()
	defer s.db.snapshots.mu.Unlock()
	s.db.snapshots.open = slices.DeleteFunc(s.db.snapshots.open, func(o *snapshot) bool { return o == s })
	return err
}

// none reports whether no snapshot is open. It stays so while db.readMu is held.
func (s *snapshots) none() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open) == 0
}

// endAll tells all to end, and waits until they have.
func (s *snapshots) endAll(cause error) {
	s.mu.Lock()
	for _, o := range s.open {
		o.stop(cause)
	}
	s.mu.Unlock()
	s.wait.Wait()
}

// checkpoint follows each commit, as SQLite's own hook does, with the size of the WAL. While
// there is a snapshot its end does the work: much has gathered then, and a commit would wait.
func (db *DB) checkpoint(c *sqlite3.Conn, schema string, pages int) error {
	if pages < checkpointPages {
		return nil
	}
	db.snapshots.mu.Lock()
	for _, o := range db.snapshots.open {
		if int64(pages)*pageSize > o.walBytesMax {
			o.stop(errWALBound)
		}
	}
	none := len(db.snapshots.open) == 0
	db.snapshots.mu.Unlock()
	if none {
		_, _, _ = c.WALCheckpoint(schema, sqlite3.CHECKPOINT_PASSIVE) // the next commit tries again
	}
	return nil
}
