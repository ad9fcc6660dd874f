package store

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	osexec "os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/x0a1b/promptmq/session"
)

// A faultVFS is the operating system's, with writes and syncs that fail on order.
type faultVFS struct {
	vfs.VFSFilename
	// The next writes or syncs succeed so many times before those that fail;
	// failing counts what is left to fail.
	writesUntil, syncsUntil, failing atomic.Int64
	fault                            atomic.Pointer[error]
	hits                             atomic.Int64
	read                             atomic.Int64 // bytes
}

func newFaultVFS(t *testing.T) *faultVFS {
	v := &faultVFS{VFSFilename: vfs.Find("os").(vfs.VFSFilename)}
	vfs.Register(t.Name(), v)
	t.Cleanup(func() { vfs.Unregister(t.Name()) })
	return v
}

// fail makes times operations fail, after so many more writes or syncs (-1: never).
func (v *faultVFS) fail(err error, writes, syncs, times int64) {
	v.fault.Store(&err)
	v.failing.Store(times)
	v.writesUntil.Store(writes)
	v.syncsUntil.Store(syncs)
}

func (v *faultVFS) hit(until *atomic.Int64) error {
	n := until.Load()
	if n < 0 {
		return nil
	}
	if n > 0 {
		until.Store(n - 1)
		return nil
	}
	if v.failing.Add(-1) < 0 {
		return nil
	}
	v.hits.Add(1)
	return *v.fault.Load()
}

func (v *faultVFS) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, flags, err := v.VFSFilename.OpenFilename(name, flags)
	if err != nil {
		return nil, flags, err
	}
	return &faultFile{File: f, v: v}, flags, nil
}

type faultFile struct {
	vfs.File
	v *faultVFS
}

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	f.v.read.Add(int64(n))
	return n, err
}

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.v.hit(&f.v.writesUntil); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

func (f *faultFile) Sync(flags vfs.SyncFlag) error {
	if err := f.v.hit(&f.v.syncsUntil); err != nil {
		return err
	}
	return f.File.Sync(flags)
}

func (f *faultFile) SharedMemory() vfs.SharedMemory {
	return f.File.(vfs.FileSharedMemory).SharedMemory()
}

func (f *faultFile) MemoryMapper() vfs.MemoryMapper {
	if m, ok := f.File.(vfs.FileMemoryMapper); ok {
		return m.MemoryMapper()
	}
	return nil
}

// A batch whose commit failed, in whatever way and place, can be applied again
// on the same connection, and is then there once.
func TestApplyAgainAfterFault(t *testing.T) {
	r := newRand(t)
	for _, mode := range []string{"WAL", "DELETE", "TRUNCATE"} {
		t.Run(mode, func(t *testing.T) {
			v := newFaultVFS(t)
			o := testOptions(t.TempDir())
			o.VFS, o.Synchronous, o.JournalMode = t.Name(), "FULL", mode
			db := openTest(t, o)
			m := newModel(r, db.NextID())
			for i := range 45 / raceSlowdown {
				b := m.batch()
				fault := []error{sqlite3.FULL, sqlite3.IOERR_WRITE, sqlite3.IOERR_FSYNC}[i%3]
				if i%3 == 2 {
					v.fail(fault, -1, r.Int64N(2), 1+r.Int64N(3))
				} else {
					v.fail(fault, r.Int64N(6), -1, 1+r.Int64N(3))
				}
				for try := 0; ; try++ {
					err := db.Apply(b)
					if err == nil {
						break
					}
					if try > 10 {
						t.Fatalf("batch %d: %v", i, err)
					}
					if i%3 == 0 && !errors.Is(err, session.ErrNoSpace) {
						t.Fatalf("%v is not ErrNoSpace", err)
					}
				}
				v.fail(fault, -1, -1, 0)
			}
			if err := m.compare(db); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if err := m.compare(openTest(t, o)); err != nil {
				t.Fatal(err)
			}
			if v.hits.Load() < 10 {
				t.Errorf("only %d faults took place", v.hits.Load())
			}
		})
	}
}

// A failed batch leaves nothing behind, for Page or for the next start.
func TestFailedApplyWritesNothing(t *testing.T) {
	v := newFaultVFS(t)
	o := testOptions(t.TempDir())
	o.VFS, o.Synchronous = t.Name(), "FULL"
	db := openTest(t, o)
	apply(t, db, oneSession(1, "m"))
	v.fail(sqlite3.FULL, 0, -1, 1<<30)
	if err := db.Apply(oneMessage(1, 2, "n")); !errors.Is(err, session.ErrNoSpace) {
		t.Fatalf("Apply on a full disk: %v", err)
	}
	if page, err := db.Page(1, 1, 10, 1<<20); err != nil || len(page) != 1 {
		t.Fatalf("Page on a full disk: %d entries, %v", len(page), err)
	}
	v.fail(sqlite3.FULL, -1, -1, 0)
	apply(t, db, oneMessage(1, 2, "n"))
	if page, err := db.Page(1, 1, 10, 1<<20); err != nil || len(page) != 2 {
		t.Fatalf("Page with space again: %d entries, %v", len(page), err)
	}
}

// A batch that SQLite refuses does not leave its transaction open.
func TestApplyAfterRefusedBatch(t *testing.T) {
	db := openTest(t, testOptions(t.TempDir()))
	b := oneSession(1, "m")
	b.Sessions[2] = &session.Writes{State: []byte("no such session")}
	if err := db.Apply(b); err == nil {
		t.Fatal("a State without Session was stored")
	}
	apply(t, db, oneSession(1, "m"))
	if page, err := db.Page(1, 1, 10, 10); err != nil || len(page) != 1 {
		t.Fatalf("Page: %d entries, %v", len(page), err)
	}
}

func TestEmptyBatchDoesNotSync(t *testing.T) {
	v := newFaultVFS(t)
	o := testOptions(t.TempDir())
	o.VFS, o.Synchronous = t.Name(), "FULL"
	db := openTest(t, o)
	apply(t, db, oneSession(1, "m"))
	before := db.Stats()
	v.fail(sqlite3.IOERR, 0, 0, 1<<30)
	apply(t, db, session.NewBatch())
	acked := session.NewBatch()
	acked.Sessions[1] = &session.Writes{Entries: []session.Entry{{Seq: 2}}}
	apply(t, db, acked)
	v.fail(sqlite3.IOERR, -1, -1, 0)
	if after := db.Stats(); after.WALBytes != before.WALBytes {
		t.Errorf("the WAL grew from %d to %d bytes", before.WALBytes, after.WALBytes)
	}
}

const crashEnv = "PROMPTMQ_STORE_CRASH_DIR"

// TestMain runs the child of TestKill9 in place of the tests when asked to.
func TestMain(m *testing.M) {
	if dir := os.Getenv(crashEnv); dir != "" {
		fmt.Fprintln(os.Stderr, crashChild(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// crashChild appends numbered messages to Session 1, in batches, and prints the
// number of each after its commit, until it is killed.
func crashChild(dir string) error {
	o := DefaultOptions()
	o.DataDir = dir
	db, err := Open(o)
	if err != nil {
		return err
	}
	next := uint64(1)
	if err := db.Load(func(l *session.Loaded) error { next = max(next, l.NextSeq); return nil },
		func(string, *session.RetainedWrite) error { return nil }); err != nil {
		return err
	}
	for {
		b := session.NewBatch()
		w := &session.Writes{Record: &session.Record{ID: 1, ClientID: "c"}}
		for range 1 + next%7 {
			w.Entries = append(w.Entries, session.Entry{
				Seq: next, QoS: 1, Message: &session.Message{Topic: "a/b", Payload: []byte(payloadOf(next))},
			})
			next++
		}
		b.Sessions[1] = w
		if err := db.Apply(b); err != nil {
			return err
		}
		fmt.Println(next - 1)
	}
}

// Whatever Apply returned for is there after kill -9 at any moment.
func TestKill9(t *testing.T) {
	r := newRand(t)
	dir := t.TempDir()
	var printed uint64
	for kill := 0; kill < 35/raceSlowdown || printed < 100; kill++ { // on a slow disk each brings one commit
		last, err := killChild(dir, r)
		if err != nil {
			t.Fatalf("kill %d: %v", kill, err)
		}
		printed = max(printed, last)
		db, err := Open(testOptions(dir))
		if err != nil {
			t.Fatalf("kill %d: %v", kill, err)
		}
		n, err := readBack(db)
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatalf("kill %d: %v", kill, err)
		}
		if uint64(n) < printed {
			t.Fatalf("kill %d: %d messages, but %d were committed", kill, n, printed)
		}
	}
}

// killChild runs a child, kills it a little after its first commits, and
// returns the last number it printed.
func killChild(dir string, r *rand.Rand) (last uint64, err error) {
	cmd := osexec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashEnv+"="+dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); err == nil {
		last, _ = strconv.ParseUint(strings.TrimSpace(line), 10, 64)
	}
	timer := time.AfterFunc(time.Duration(r.Int64N(int64(40*time.Millisecond))), func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, err
		}
		if last, err = strconv.ParseUint(strings.TrimSpace(line), 10, 64); err != nil {
			return 0, err
		}
	}
	_ = cmd.Wait() // killed
	if stderr.Len() > 0 {
		return 0, errors.New(stderr.String())
	}
	return last, nil
}

func TestNoGoroutineIsLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 5 {
		db := openTest(t, testOptions(t.TempDir()))
		apply(t, db, oneSession(1, "m"))
		if _, err := db.Page(1, 1, 1, 1); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	after := 0
	for range 6000 { // the last may be about to end
		if after = runtime.NumGoroutine(); after <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", after, before)
}

// Readers and the writer work at the same time, in every journal mode.
func TestPageDuringApply(t *testing.T) {
	for _, mode := range []string{"WAL", "DELETE"} {
		o := testOptions(t.TempDir())
		o.JournalMode = mode
		o.BusyTimeout = 0
		db := openTest(t, o)
		apply(t, db, oneSession(1, payloadOf(1)))
		done := make(chan error, 1)
		stop := make(chan struct{})
		go func() {
			for {
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
				if _, err := readQueue(db); err != nil {
					done <- err
					return
				}
			}
		}()
		for seq := uint64(2); seq < 150; seq++ {
			apply(t, db, oneMessage(1, seq, payloadOf(seq)))
		}
		close(stop)
		if err := <-done; err != nil {
			t.Errorf("%s: %v", mode, err)
		}
	}
}

// readQueue reads the queue of Session 1 alone: Load is for the goroutine that applies.
func readQueue(db *DB) (n int, err error) {
	for from := uint64(1); ; {
		page, err := db.Page(1, from, 100, 1<<20)
		if err != nil || len(page) == 0 {
			return n, err
		}
		n, from = n+len(page), page[len(page)-1].Seq+1
	}
}

// What another program has locked is busy and not broken: what was to be written can be when
// the lock is gone.
func TestLockedByAnother(t *testing.T) {
	for _, mode := range []string{"WAL", "DELETE"} {
		t.Run(mode, func(t *testing.T) {
			o := testOptions(t.TempDir())
			o.JournalMode, o.BusyTimeout = mode, 10*time.Millisecond
			db := openTest(t, o)
			apply(t, db, oneSession(1, "m"))
			other, err := sqlite3.Open(db.path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = other.Close() }()
			for i, lock := range []string{"BEGIN IMMEDIATE", "BEGIN; SELECT count(*) FROM session"} {
				if err := other.Exec(lock); err != nil {
					t.Fatal(err)
				}
				b := oneMessage(1, uint64(2+i), lock)
				err := db.Apply(b)
				if hinders := i == 0 || mode != "WAL"; hinders != errors.Is(err, session.ErrStoreBusy) || !hinders && err != nil {
					t.Errorf("%s: %v", lock, err)
				}
				if err := other.Exec("ROLLBACK"); err != nil {
					t.Fatal(err)
				}
				if err != nil {
					apply(t, db, b)
				}
			}
			if n := rowsOf(t, db, "run"); n != 3 {
				t.Errorf("%d messages, not 3", n)
			}
		})
	}
}
