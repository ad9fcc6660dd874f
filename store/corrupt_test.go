package store

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/session"
)

var mutationsFlag = flag.Int("mutations", 120, "how many damaged stores TestCorruptStart opens")

// dump returns everything that is stored as text, the same for equal stores.
func dump(db *DB) (string, error) {
	var lines []string
	var ids []session.ID
	err := db.Load(func(l *session.Loaded) error {
		ids = append(ids, l.Record.ID)
		slices.SortFunc(l.Subscriptions, func(a, b session.Subscription) int { return strings.Compare(a.Filter, b.Filter) })
		line := fmt.Sprintf("session %+v %+v %x owed %v queue %d-%d %d", l.Record, l.Subscriptions, l.State, l.Owed, l.FirstSeq, l.NextSeq, l.QueuedBytes)
		lines = append(lines, strings.ReplaceAll(line, "\n", `\n`)) // in a User Name
		if l.Will != nil {
			lines = append(lines, fmt.Sprintf("will of %d: %d %v %d %v %s", l.Record.ID, l.Will.DelaySeconds, l.Will.HasMessageExpiry,
				l.Will.MessageExpirySeconds, l.Will.DueAt.UnixMilli(), messageText(l.Will.Message)))
		}
		return nil
	}, func(topic string, r *session.RetainedWrite) error {
		lines = append(lines, fmt.Sprintf("retained %q %d of %q %s", topic, r.Version, r.UserName, messageText(r.Message)))
		return nil
	})
	if err != nil {
		return "", err
	}
	for _, id := range ids {
		for from := uint64(1); ; {
			page, err := db.Page(id, from, 100, 1<<20)
			if err != nil {
				return "", err
			}
			if len(page) == 0 {
				break
			}
			for _, e := range page {
				lines = append(lines, fmt.Sprintf("entry %d/%d %d %v %v %q %s", id, e.Seq, e.QoS, e.Retain, e.SubscriptionIDs, e.Share, messageText(e.Message)))
				from = e.Seq + 1
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n"), nil
}

func messageText(m *session.Message) string {
	return fmt.Sprintf("%q %x %x %d %v %d", m.Topic, sha256.Sum256(m.Payload), m.Forward, m.QoS, m.Retain, m.ExpiresAt.UnixMilli())
}

// walFixtureBytes keeps the WAL of a fixture below what makes SQLite checkpoint.
const walFixtureBytes = 5 << 20

// A corruptFixture is a store with sessions, subscriptions, queues, wills and
// retained messages: one that was closed, or one as a process that died leaves
// it, with the last changes in the WAL only.
type corruptFixture struct {
	dir string
	// now is what is stored; before are the states since the last checkpoint,
	// which a WAL without its end may bring back: its end is no different from
	// a commit that a power cut tore.
	now    string
	before map[string]bool
	// commits are the sizes that the WAL had after each commit.
	commits []int64
}

// mustBeTold reports whether a mutation of the WAL is before the last frame of
// the last but one commit, the length being the same: the commit behind it shows
// that what it changes had been synced.
func (f *corruptFixture) mustBeTold(t *testing.T, m mutation) bool {
	t.Helper()
	if m.victim == fileName || len(f.commits) < 2 {
		return false
	}
	was, err := os.ReadFile(filepath.Join(f.dir, m.victim))
	if err != nil {
		t.Fatal(err)
	}
	is := m.change(slices.Clone(was))
	if len(is) != len(was) {
		return false
	}
	last := -1 // byte that differs
	for i := range is {
		if is[i] != was[i] {
			last = i
		}
	}
	return last >= 0 && int64(last) < f.commits[len(f.commits)-2]-frameHeaderBytes-pageSize
}

// holdsAll says whether the store has something of every kind.
func holdsAll(t *testing.T, db *DB) bool {
	t.Helper()
	text, err := dump(db)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"session ", "will ", "retained ", "entry ", "Filter:", "owed map[filter"} {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}

func newCorruptFixture(t *testing.T, r *rand.Rand, died bool) *corruptFixture {
	t.Helper()
	o := testOptions(t.TempDir())
	o.Synchronous = "FULL"
	db := openTest(t, o)
	m := newModel(r, db.NextID())
	for i := 0; i < 40 || !holdsAll(t, db); i++ { // chance may have ended all sessions
		apply(t, db, m.batch())
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openTest(t, o)
	f := &corruptFixture{dir: t.TempDir(), before: map[string]bool{}}
	note := func() {
		var err error
		if f.now, err = dump(db); err != nil {
			t.Fatal(err)
		}
		f.before[f.now] = true
		if size := db.Stats().WALBytes; len(f.commits) == 0 || size > f.commits[len(f.commits)-1] {
			f.commits = append(f.commits, size)
		}
	}
	note()
	for i := 0; died && i < 8 && db.Stats().WALBytes < walFixtureBytes; i++ {
		apply(t, db, m.batch())
		note()
	}
	if !died {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, suffix := range f.files() {
		b, err := os.ReadFile(db.path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(f.dir, fileName+suffix), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// files are the suffixes of the files.
func (f *corruptFixture) files() []string {
	if len(f.before) > 1 {
		return []string{"", "-wal"}
	}
	return []string{""}
}

// A mutation changes the bytes of a file; nil removes the file.
type mutation struct {
	what   string
	victim string // fileName and "-wal"
	change func([]byte) []byte
}

func zeros(b []byte) []byte { return make([]byte, len(b)) }

// fixedMutations are those that chance may miss.
var fixedMutations = []mutation{
	{"all NUL", fileName, zeros},
	{"empty", fileName, func([]byte) []byte { return []byte{} }},
	{"gone", fileName, func([]byte) []byte { return nil }},
	{"first page NUL", fileName, func(b []byte) []byte { clear(b[:pageSize]); return b }},
	{"all but the first page NUL", fileName, func(b []byte) []byte { clear(b[pageSize:]); return b }},
	{"first page only", fileName, func(b []byte) []byte { return b[:pageSize] }},
	{"negative schema version", fileName, func(b []byte) []byte { b[60] |= 0x80; return b }},
	{"all NUL", fileName + "-wal", zeros},
	{"empty", fileName + "-wal", func([]byte) []byte { return []byte{} }},
	{"gone", fileName + "-wal", func([]byte) []byte { return nil }},
}

// randomMutation damages from one byte to one page of a file.
func randomMutation(r *rand.Rand, f *corruptFixture) mutation {
	victim := fileName
	if len(f.files()) > 1 && r.IntN(2) == 0 {
		victim += "-wal"
	}
	info, err := os.Stat(filepath.Join(f.dir, victim))
	if err != nil {
		panic(err)
	}
	size := int(info.Size())
	at, long := r.IntN(size), 1+r.IntN(pageSize)
	if r.IntN(2) == 0 {
		long = 1 + r.IntN(8)
	}
	switch r.IntN(5) {
	case 0:
		bit := r.IntN(8)
		return mutation{fmt.Sprintf("bit %d of byte %d", bit, at), victim, func(b []byte) []byte { b[at] ^= 1 << bit; return b }}
	case 1:
		return mutation{fmt.Sprintf("%d zeros at %d", long, at), victim, func(b []byte) []byte { clear(b[at:min(len(b), at+long)]); return b }}
	case 2:
		return mutation{fmt.Sprintf("cut at %d", at), victim, func(b []byte) []byte { return b[:at] }}
	case 3:
		at = size - long%size
		return mutation{fmt.Sprintf("cut at %d of %d", at, size), victim, func(b []byte) []byte { return b[:at] }}
	}
	noise := make([]byte, long)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	return mutation{fmt.Sprintf("%d bytes of noise at %d", long, at), victim, func(b []byte) []byte { copy(b[at:], noise); return b }}
}

// apply makes a copy of the fixture with the mutation.
func (f *corruptFixture) apply(t *testing.T, m mutation) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, suffix := range f.files() {
		name := fileName + suffix
		b, err := os.ReadFile(filepath.Join(f.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if name == m.victim {
			b = m.change(b)
		}
		if b == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestCorruptStart: a damaged store is an error that says so, or loads exactly
// what was stored: no panic, no wrong payload, nothing missing without a word.
// Only the end of a damaged WAL may be missing, if that is no different from a
// commit that a power cut tore.
func TestCorruptStart(t *testing.T) {
	r := newRand(t)
	fixtures := []*corruptFixture{newCorruptFixture(t, r, true), newCorruptFixture(t, r, false)}
	refused, same, earlier, told := 0, 0, 0, 0
	for i := range 2*len(fixedMutations) + *mutationsFlag {
		f := fixtures[i%2]
		m := randomMutation(r, f)
		if i/2 < len(fixedMutations) {
			m = fixedMutations[i/2]
		}
		if m.victim == fileName && m.what == "gone" && len(f.files()) == 1 {
			continue // a new store, as it should be
		}
		o := testOptions(f.apply(t, m))
		o.MmapSize = int64(i/2%2) * (256 << 20)
		got, err := dumpDamaged(o)
		wal := m.victim != fileName
		if f.mustBeTold(t, m) {
			told++
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("mutation %d of %s (%s), before a later commit: %v", i, m.victim, m.what, err)
			}
		}
		switch {
		case err == nil && got == f.now:
			same++
		case err == nil && wal && f.before[got]:
			earlier++
		case err == nil:
			t.Fatalf("mutation %d of %s (%s), mmap %d: loaded something else without an error:\n%s", i, m.victim, m.what, o.MmapSize, difference(f.now, got))
		case errors.Is(err, errPanic):
			t.Fatalf("mutation %d of %s (%s), mmap %d: %v", i, m.victim, m.what, o.MmapSize, err)
		case !errors.Is(err, ErrDamaged) && !strings.Contains(err.Error(), "use a newer promptmq"):
			t.Errorf("mutation %d of %s (%s): the error does not say that it is damage: %v", i, m.victim, m.what, err)
		default:
			refused++
		}
	}
	t.Logf("%d refused, %d of them as commits stand behind damage of the WAL, %d loaded whole, %d without the end of the WAL", refused, told, same, earlier)
	if refused == 0 || same == 0 || earlier == 0 || told == 0 {
		t.Error("one of the outcomes never took place")
	}
}

var errPanic = errors.New("panic")

// dumpDamaged opens and reads a damaged store, whole.
func dumpDamaged(o Options) (text string, err error) {
	debug.SetPanicOnFault(true) // of this goroutine: a fault in a mapped file
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v\n%s", errPanic, p, debug.Stack())
		}
	}()
	db, err := Open(o)
	if err != nil {
		return "", err
	}
	defer func() { _ = db.Close() }()
	return dump(db)
}

// difference lists the lines that only one of two dumps has.
func difference(want, got string) string {
	var out strings.Builder
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for _, line := range a {
		if !slices.Contains(b, line) {
			fmt.Fprintf(&out, "missing: %.200s\n", line)
		}
	}
	for _, line := range b {
		if !slices.Contains(a, line) {
			fmt.Fprintf(&out, "new: %.200s\n", line)
		}
	}
	return out.String()
}

// An index that says something else than its table would lose messages without a
// word: a queue is found by it.
func TestDamagedIndexIsRefused(t *testing.T) {
	o := testOptions(t.TempDir())
	db := openTest(t, o)
	apply(t, db, oneSession(1, "m"))
	for seq := uint64(2); seq < 20; seq++ {
		apply(t, db, oneMessage(1, seq, "m"))
	}
	root, err := queryInt(db.w, "SELECT rootpage FROM sqlite_schema WHERE name = 'run_of_session'")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(db.path)
	if err != nil {
		t.Fatal(err)
	}
	page := b[(root-1)*pageSize : root*pageSize]
	if page[0] != 0x0a {
		t.Fatalf("page %d has type %#x, expected a leaf of an index", root, page[0])
	}
	page[pageSize-2]++ // in the first row of the index: the low byte of its total
	if err := os.WriteFile(db.path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := refused(t, o.DataDir, o); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "run_of_session") {
		t.Errorf("the error is %v", err)
	}
	report, err := Salvage(o, salvageTime)
	if err != nil || !slices.Contains(report.Tables, SalvagedTable{"run", 19, 0, 0}) {
		t.Errorf("salvaged %+v, %v", report, err)
	}
}
