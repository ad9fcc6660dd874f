package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/x0a1b/promptmq/session"
)

func TestPragmasTakeEffect(t *testing.T) {
	set := func(f func(*Options)) Options {
		o := DefaultOptions()
		o.DataDir = t.TempDir()
		f(&o)
		return o
	}
	for _, c := range []struct {
		name string
		o    Options
		want map[string]string
	}{
		{"defaults", set(func(*Options) {}), map[string]string{
			"cache_size": "-65536", "temp_store": "2", "mmap_size": "268435456", "busy_timeout": "30000", "synchronous": "2",
			"journal_mode": "wal", "foreign_keys": "1", "page_size": fmt.Sprint(pageSize)}},
		{"cache in pages", set(func(o *Options) { o.CacheSize = 1234 }), map[string]string{"cache_size": "1234"}},
		{"cache in KiB", set(func(o *Options) { o.CacheSize = -2000 }), map[string]string{"cache_size": "-2000"}},
		{"no map", set(func(o *Options) { o.MmapSize = 0 }), map[string]string{"mmap_size": "0"}},
		{"small map", set(func(o *Options) { o.MmapSize = 1 << 20 }), map[string]string{"mmap_size": "1048576"}},
		{"busy", set(func(o *Options) { o.BusyTimeout = 7 * time.Second }), map[string]string{"busy_timeout": "7000"}},
		{"not busy", set(func(o *Options) { o.BusyTimeout = 0 }), map[string]string{"busy_timeout": "0"}},
		{"no keys", set(func(o *Options) { o.ForeignKeys = false }), map[string]string{"foreign_keys": "0"}},
		{"temp DEFAULT", set(func(o *Options) { o.TempStore = "DEFAULT" }), map[string]string{"temp_store": "0"}},
		{"temp FILE", set(func(o *Options) { o.TempStore = "FILE" }), map[string]string{"temp_store": "1"}},
		{"OFF", set(func(o *Options) { o.Synchronous = "OFF" }), map[string]string{"synchronous": "0"}},
		{"NORMAL", set(func(o *Options) { o.Synchronous = "NORMAL" }), map[string]string{"synchronous": "1"}},
		{"EXTRA", set(func(o *Options) { o.Synchronous = "EXTRA" }), map[string]string{"synchronous": "3"}},
		{"DELETE", set(func(o *Options) { o.JournalMode = "DELETE" }), map[string]string{"journal_mode": "delete"}},
		{"TRUNCATE", set(func(o *Options) { o.JournalMode = "TRUNCATE" }), map[string]string{"journal_mode": "truncate"}},
		{"PERSIST", set(func(o *Options) { o.JournalMode = "PERSIST" }), map[string]string{"journal_mode": "persist"}},
		{"MEMORY", set(func(o *Options) { o.JournalMode = "MEMORY" }), map[string]string{"journal_mode": "memory"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := openTest(t, c.o)
			got, err := db.Pragmas()
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range c.want {
				if got[name] != want {
					t.Errorf("%s is %s, want %s", name, got[name], want)
				}
			}
			apply(t, db, oneSession(1, "m"))
			if page, err := db.Page(1, 1, 10, 1<<20); err != nil || len(page) != 1 {
				t.Errorf("Page: %d entries, %v", len(page), err)
			}
			apply(t, db, oneMessage(1, 2, "n"))
		})
	}
}

// A setting that SQLite does not take is an error that says what it took.
func TestPragmaRefused(t *testing.T) {
	o := testOptions(t.TempDir())
	o.MmapSize = 4 << 30
	_, err := Open(o)
	if err == nil || !strings.Contains(err.Error(), "mmap_size") || !strings.Contains(err.Error(), "4294967296") ||
		!strings.Contains(err.Error(), "1073741824") {
		t.Fatalf("error %v does not name the setting and both values", err)
	}
}

// The journal mode of an existing store can change between any two starts.
func TestJournalModeChanges(t *testing.T) {
	o := testOptions(t.TempDir())
	for i, mode := range []string{"WAL", "DELETE", "WAL", "MEMORY", "TRUNCATE", "PERSIST", "WAL"} {
		o.JournalMode = mode
		db := openTest(t, o)
		if i == 0 {
			apply(t, db, oneSession(1, "m"))
		}
		page, err := db.Page(1, 1, 10, 1<<20)
		if err != nil || len(page) != 1 || string(page[0].Message.Payload) != "m" {
			t.Fatalf("%s: page %v, %v", mode, page, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// oneSession returns a batch that makes a Session with one queued message.
func oneSession(id session.ID, payload string) *session.Batch {
	b := oneMessage(id, 1, payload)
	b.Sessions[id].Record = &session.Record{ID: id, ClientID: fmt.Sprint("client", id)}
	return b
}

func oneMessage(id session.ID, seq uint64, payload string) *session.Batch {
	b := session.NewBatch()
	b.Sessions[id] = &session.Writes{Entries: []session.Entry{{
		Seq: seq, QoS: 1, Message: &session.Message{Topic: "a/b", QoS: 1, Payload: []byte(payload)},
	}}}
	return b
}

func TestFilesAreTheOwnersOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "data")
	db := openTest(t, testOptions(dir))
	apply(t, db, oneSession(1, "m"))
	wantMode(t, dir, 0o700)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		wantMode(t, filepath.Join(dir, fileName+suffix), 0o600)
	}
	wantMode(t, filepath.Join(dir, "promptmq.lock"), 0o600)
}

// A rollback journal holds pages of the database, and each commit makes a new one.
func TestJournalIsTheOwnersOnly(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(dir)
	o.JournalMode = "DELETE"
	db := openTest(t, o)
	if err := db.w.Exec("BEGIN IMMEDIATE; UPDATE meta SET value = value + 1"); err != nil {
		t.Fatal(err)
	}
	wantMode(t, filepath.Join(dir, fileName+"-journal"), 0o600)
	if err := db.w.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
}

func wantMode(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != want {
		t.Errorf("%s has mode %o, want %o", path, info.Mode().Perm(), want)
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	dir := t.TempDir()
	db := openTest(t, testOptions(dir))
	if _, err := Open(testOptions(dir)); err == nil || !strings.Contains(err.Error(), dir) {
		t.Fatalf("the second Open: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatalf("the second Close: %v", err)
	}
	openTest(t, testOptions(dir))
}

func TestClosedStoreGivesErrors(t *testing.T) {
	db := openTest(t, testOptions(t.TempDir()))
	apply(t, db, oneSession(1, "m"))
	if _, err := db.Page(1, 1, 1, 1); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Page(1, 1, 1, 1); err == nil {
		t.Error("Page of a closed store gave no error")
	}
	if err := db.Apply(oneMessage(1, 2, "n")); err == nil {
		t.Error("Apply to a closed store gave no error")
	}
}

// makeDB makes a database in dir by other means than Open.
func makeDB(t *testing.T, dir, script string) {
	t.Helper()
	c, err := sqlite3.Open(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Exec(script), c.Close()); err != nil {
		t.Fatal(err)
	}
}

// refused opens the store in dir, which must fail and leave the file as it is.
func refused(t *testing.T, dir string, o Options) error {
	t.Helper()
	path := filepath.Join(dir, fileName)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	db, err := Open(o)
	if err == nil {
		_ = db.Close()
		t.Fatal("Open gave no error")
	}
	if !strings.Contains(err.Error(), path) {
		t.Errorf("error %q does not name %s", err, path)
	}
	after, rerr := os.ReadFile(path)
	if rerr != nil || !bytes.Equal(before, after) {
		t.Errorf("the refused file was changed: %d bytes before, %d after, %v", len(before), len(after), rerr)
	}
	return err
}

func TestMigratesFromAnEmptySchema(t *testing.T) {
	dir := t.TempDir()
	makeDB(t, dir, "PRAGMA page_size = 4096; VACUUM; PRAGMA user_version = 0")
	db := openTest(t, testOptions(dir))
	version, err := queryInt(db.w, "PRAGMA user_version")
	if err != nil || version != int64(len(migrations)) {
		t.Fatalf("user_version %d, %v", version, err)
	}
	apply(t, db, oneSession(1, "m"))
}

func TestRefusesWhatIsNotItsOwn(t *testing.T) {
	for name, script := range map[string]string{
		"other application": "PRAGMA application_id = 77; CREATE TABLE t (a)",
		"other schema":      "CREATE TABLE t (a); INSERT INTO t VALUES (1)",
		"newer": fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d; CREATE TABLE t (a)",
			applicationID, len(migrations)+1),
		"newer in WAL mode": fmt.Sprintf("PRAGMA journal_mode = WAL; PRAGMA application_id = %d; PRAGMA user_version = %d; CREATE TABLE t (a)",
			applicationID, len(migrations)+1),
	} {
		for _, mode := range []string{"WAL", "DELETE"} {
			t.Run(name+"/"+mode, func(t *testing.T) {
				dir := t.TempDir()
				makeDB(t, dir, script)
				o := testOptions(dir)
				o.JournalMode = mode
				refused(t, dir, o)
			})
		}
	}
}

func TestRefusesWhatIsNoDatabase(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "text": "this is no database\n", "zeros": strings.Repeat("\x00", 3*pageSize), "one byte": "S",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, fileName), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			refused(t, dir, testOptions(dir))
		})
	}
}

// A WAL without its database holds acknowledged messages.
func TestRefusesWALWithoutDatabase(t *testing.T) {
	dir := crashedCopy(t)
	if err := os.Remove(filepath.Join(dir, fileName)); err != nil {
		t.Fatal(err)
	}
	if db, err := Open(testOptions(dir)); err == nil {
		_ = db.Close()
		t.Fatal("Open made an empty store beside the WAL of a lost one")
	}
	if _, err := os.Stat(filepath.Join(dir, fileName+"-wal")); err != nil {
		t.Errorf("the WAL was touched: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, fileName)); err == nil {
		t.Error("a database was made beside the WAL of a lost one")
	}
}

// crashedCopy returns a directory as a process that died leaves it: 30
// checkpointed messages, and 30 in the WAL. Message n of Session 1 is payloadOf(n).
func crashedCopy(t *testing.T) string {
	t.Helper()
	dir, copied := t.TempDir(), t.TempDir()
	o := testOptions(dir)
	db := openTest(t, o)
	apply(t, db, oneSession(1, payloadOf(1)))
	for seq := uint64(2); seq <= 30; seq++ {
		apply(t, db, oneMessage(1, seq, payloadOf(seq)))
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openTest(t, o)
	for seq := uint64(31); seq <= 60; seq++ {
		apply(t, db, oneMessage(1, seq, payloadOf(seq)))
	}
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(filepath.Join(dir, fileName+suffix))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(copied, fileName+suffix), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return copied
}

func payloadOf(seq uint64) string {
	return strings.Repeat(fmt.Sprintf("message %d,", seq), 100)
}

func TestRecoversWhatACrashLeft(t *testing.T) {
	db := openTest(t, testOptions(crashedCopy(t)))
	if n, err := readBack(db); err != nil || n != 60 {
		t.Fatalf("%d messages, %v", n, err)
	}
}

// readBack returns how many messages of Session 1 are stored; a wrong one is errWrong.
func readBack(db *DB) (n int, err error) {
	if err := db.Load(func(*session.Loaded) error { return nil },
		func(string, *session.RetainedWrite) error { return nil }); err != nil {
		return 0, err
	}
	for from := uint64(1); ; {
		page, err := db.Page(1, from, 10, 1<<20)
		if err != nil || len(page) == 0 {
			return n, err
		}
		for _, e := range page {
			if string(e.Message.Payload) != payloadOf(e.Seq) || e.Message.Topic != "a/b" || e.Seq < from {
				return n, fmt.Errorf("%w: seq %d is %q", errWrong, e.Seq, e.Message.Payload)
			}
			n, from = n+1, e.Seq+1
		}
	}
}

var errWrong = errors.New("a wrong message")

// A row that cannot be read must not leave the reader inside a transaction.
func TestPageAfterDamagedRow(t *testing.T) {
	db := openTest(t, testOptions(t.TempDir()))
	apply(t, db, oneSession(1, "m"))
	apply(t, db, oneSession(2, "n"))
	if err := db.w.Exec("UPDATE run SET data = zeroblob(20) WHERE session = 1"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Page(1, 1, 10, 10); !errors.Is(err, ErrDamaged) {
		t.Fatalf("Page of a damaged run: %v", err)
	}
	if page, err := db.Page(2, 1, 10, 10); err != nil || len(page) != 1 {
		t.Fatalf("Page of another queue after it: %d entries, %v", len(page), err)
	}
	if _, _, err := db.w.WALCheckpoint("main", sqlite3.CHECKPOINT_TRUNCATE); err != nil {
		t.Fatalf("checkpoint after it: %v", err)
	}
}

// A row with the contents of another one is damaged.
func TestRowsAreBoundToTheirKeys(t *testing.T) {
	for _, change := range []string{
		"UPDATE run SET data = (SELECT data FROM run WHERE session = 2) WHERE session = 1",
		"UPDATE run SET session = 3 - session",
	} {
		db := openTest(t, testOptions(t.TempDir()))
		apply(t, db, oneSession(1, "m"))
		apply(t, db, oneSession(2, "n"))
		if err := db.w.Exec(change); err != nil {
			t.Fatal(err)
		}
		if page, err := db.Page(1, 1, 10, 10); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: Page gave %+v, %v", change, page, err)
		}
	}
}

// Session IDs that were given out and left no trace are not given out again.
func TestNextIDGrowsWithEachOpen(t *testing.T) {
	o := testOptions(t.TempDir())
	last := session.ID(0)
	for i := range 3 {
		db := openTest(t, o)
		next := db.NextID()
		if i > 0 && next <= last+1000 {
			t.Fatalf("NextID %d after %d ids from %d on were given out", next, 1000, last)
		}
		last = next
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// The time of the last commit outlives the process; between two commits it is
// replaced only when a second has passed or the system clock was set, and it never
// goes back.
func TestLastTime(t *testing.T) {
	o := testOptions(t.TempDir())
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	want := time.Time{}
	ahead := time.Duration(0) // of the system clock
	for i, step := range []struct {
		at   time.Duration // after began; negative: none
		want time.Duration
		set  time.Duration // ahead
	}{
		{-1, 0, 0},
		{0, 0, 0},
		{999 * time.Millisecond, 0, 0},
		{time.Second, time.Second, 0},
		{time.Second + time.Millisecond, time.Second + time.Millisecond, time.Hour}, // at once: it was set
		{1500 * time.Millisecond, time.Second + time.Millisecond, time.Hour},
		{time.Hour, time.Hour, -time.Hour},
		{time.Minute, time.Hour, -time.Hour},
	} {
		db := openTest(t, o)
		if got, system := db.LastTime(); !got.Equal(want) || !want.IsZero() && !system.Equal(want.Add(ahead)) {
			t.Errorf("step %d: %v and %v, want %v", i, got, system, want)
		}
		b := session.NewBatch()
		if step.at >= 0 {
			b.Time = began.Add(step.at)
			ahead = step.set
			b.System = b.Time.Add(ahead)
			want = began.Add(step.want)
		}
		apply(t, db, b)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
