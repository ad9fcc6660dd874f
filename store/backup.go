package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ncruces/go-sqlite3"
)

const (
	// copyPages is how many pages one step of a copy takes, and copyPause how long the next
	// one waits in proportion to it, so that those who write have the disk and a processor.
	copyPages = 32
	copyPause = 4
	// copySyncEvery is after how many bytes a copy is synced: a sync of all at the end would
	// hold up those of the store.
	copySyncEvery = 1 << 20
	// backupWALMin is the least that the WAL may grow to while a backup reads, in bytes.
	backupWALMin = 1 << 30
)

// headerWAL are the bytes of SQLite's file header that say whether a database has a WAL, and
// headerNoWAL what they are if it has none.
const (
	headerWAL   = 18
	headerNoWAL = 1
)

// Backup copies the store as it is when it is called, with all that was committed, to a new
// file that only this user can read. progress is told how many bytes of how many are copied.
// When it returns nil the file is on disk, but not its name; after an error there is none.
// Any goroutine may call it. It does not hold up who writes.
func (db *DB) Backup(ctx context.Context, path string, progress func(done, total int64)) error {
	if err := CheckTarget(db.o.DataDir, path); err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	snap, err := db.beginSnapshot(max(backupWALMin, db.Stats().FileBytes), stop)
	if err != nil {
		return err
	}
	err = copyDatabase(ctx, snap.c, path, copyPause, progress)
	return errors.Join(err, snap.end())
}

// BackupStopped is DB.Backup for the data directory of a broker that does not run. Its error
// is ErrInUse if another process has the directory.
func BackupStopped(ctx context.Context, dir, path string, progress func(done, total int64)) error {
	if !Exists(dir) {
		return fmt.Errorf("there is no database in %s", dir)
	}
	if err := CheckTarget(dir, path); err != nil {
		return err
	}
	lock, err := lockFile(filepath.Join(dir, lockName))
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }() // only ever read
	return copyFrom(ctx, filepath.Join(dir, fileName), path, progress)
}

// copyFrom copies a database that nobody writes to, with what its WAL has.
func copyFrom(ctx context.Context, from, to string, progress func(done, total int64)) error {
	c, err := openReadOnly(from)
	if err == nil {
		_, err = identify(c)
	}
	if err == nil {
		err = copyDatabase(ctx, c, to, 0, progress)
	}
	if c != nil {
		err = errors.Join(err, c.Close())
	}
	if err != nil {
		return fmt.Errorf("%s: %w", from, ifDamage(err))
	}
	return nil
}

// copyDatabase copies what a connection reads to a new file, which has no WAL. pause is how
// long it waits after each step, in proportion to that.
func copyDatabase(ctx context.Context, c *sqlite3.Conn, path string, pause int, progress func(done, total int64)) (err error) {
	if err := roomFor(c, path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			_ = os.Remove(path) // half a copy is none
		}
	}()
	if err := copyPagesOf(ctx, c, f, pause, progress); err != nil {
		return err
	}
	if _, err := f.WriteAt([]byte{headerNoWAL, headerNoWAL}, headerWAL); err != nil {
		return err
	}
	return f.Sync()
}

// roomFor returns an error if there is no room for a copy.
func roomFor(c *sqlite3.Conn, path string) error {
	pages, err := queryInt(c, "PRAGMA page_count")
	if err != nil {
		return err
	}
	size, err := queryInt(c, "PRAGMA page_size")
	if err != nil {
		return err
	}
	if free := freeBytes(filepath.Dir(path)); free > 0 && free < pages*size {
		return fmt.Errorf("%s: the copy has %d bytes, and there are %d free: %w", filepath.Dir(path), pages*size, free, noSpace{errors.New("no space left on the disk")})
	}
	return nil
}

// copyPagesOf copies all pages to f. The file that SQLite writes has no journal: nobody reads
// it before it is whole.
func copyPagesOf(ctx context.Context, c *sqlite3.Conn, f *os.File, pause int, progress func(done, total int64)) error {
	size, err := queryInt(c, "PRAGMA page_size")
	if err != nil {
		return err
	}
	b, err := c.BackupInit("main", fileURI(f.Name())+"?_pragma=journal_mode(off)&_pragma=synchronous(off)")
	if err != nil {
		return err
	}
	synced := int64(0)
	for done := false; !done; {
		if ctx.Err() != nil {
			return errors.Join(context.Cause(ctx), b.Close())
		}
		began := time.Now()
		if done, err = b.Step(copyPages); err != nil {
			return errors.Join(err, b.Close())
		}
		total := int64(b.PageCount()) * size
		copied := total - int64(b.Remaining())*size
		if copied-synced >= copySyncEvery {
			synced = copied
			if err := f.Sync(); err != nil {
				return errors.Join(err, b.Close())
			}
		}
		progress(copied, total)
		if pause > 0 && !done {
			time.Sleep(time.Duration(pause) * time.Since(began))
		}
	}
	return b.Close()
}

// restoreSuffix ends the name of a copy that takes the place of a database when it is whole.
const restoreSuffix = ".restore"

// Restore puts a copy of a database in a data directory whose broker does not run. With force
// a database that is there is set aside, and its new name returned; else it is an error.
// What is not sound is not restored. An error that is ErrTarget is about the files that were named. A restore that is cut short leaves what was there.
func Restore(ctx context.Context, from, dir string, force bool, now time.Time, progress func(done, total int64)) (aside string, err error) {
	if err := checkSource(from, dir); err != nil {
		return "", err
	}
	if err := mayBeDatabase(from); err != nil {
		return "", badTarget{fmt.Errorf("%s: %w", from, err)}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	lock, err := lockFile(filepath.Join(dir, lockName))
	if err != nil {
		return "", err
	}
	defer func() { _ = lock.Close() }() // only ever read
	path := filepath.Join(dir, fileName)
	if err := finishSalvage(path); err != nil {
		return "", err
	}
	there := false
	for _, suffix := range []string{"", "-wal", "-journal"} {
		_, err := os.Lstat(path + suffix)
		there = there || !errors.Is(err, fs.ErrNotExist)
	}
	if there && !force {
		return "", badTarget{fmt.Errorf("there is a database in %s already: it is set aside if you say --force", dir)}
	}
	next := path + restoreSuffix
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err // of a restore that was cut short
	}
	if err := copyFrom(ctx, from, next, progress); err != nil {
		return "", err
	}
	if v, err := VerifyFile(next); err != nil || v.Damage != nil {
		_ = os.Remove(next)
		return "", errors.Join(err, v.Damage)
	}
	if !there {
		return "", PutInPlace(next, path)
	}
	// As after a salvage: from this name on any start puts it in its place.
	stamp := freeStamp(path, now)
	if err := os.Rename(next, path+salvagedMark+stamp); err != nil {
		return "", err
	}
	return path + asideMark + stamp, errors.Join(syncDir(dir), finishSalvage(path))
}

// TakeBack undoes a Restore that has set a database aside, with the lock of the directory free.
func TakeBack(dir, aside string) error {
	path := filepath.Join(dir, fileName)
	if err := os.Remove(path); err != nil {
		return err
	}
	// The database last: until then a start says that it is missing.
	for _, suffix := range []string{"-shm", "-wal", "-journal", ""} {
		if err := os.Rename(aside+suffix, path+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return syncDir(dir)
}

// PutInPlace gives a copy its name, durably, in place of a file that has it.
func PutInPlace(partial, path string) error {
	if err := os.Rename(partial, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
