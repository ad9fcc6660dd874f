package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"
)

// A walFixture is a store as a process that died leaves it.
type walFixture struct {
	db, wal []byte
	commits []int // how many frames the WAL had after each commit
}

// newWALFixture makes a store with so many messages in the WAL, some of which
// take several frames.
func newWALFixture(t *testing.T, o Options, messages uint64) *walFixture {
	t.Helper()
	o.DataDir = t.TempDir()
	db := openTest(t, o)
	apply(t, db, oneSession(1, payloadOf(1)))
	f := &walFixture{}
	for seq := uint64(2); seq <= messages; seq++ {
		apply(t, db, oneMessage(1, seq, payloadOf(seq)))
		f.commits = append(f.commits, int(db.Stats().WALBytes-walHeaderBytes)/(frameHeaderBytes+pageSize))
	}
	f.read(t, db)
	return f
}

func (f *walFixture) read(t *testing.T, db *DB) {
	t.Helper()
	var err error
	if f.db, err = os.ReadFile(db.path); err == nil {
		f.wal, err = os.ReadFile(db.path + "-wal")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// write puts the store with this WAL into a new directory.
func (f *walFixture) write(t *testing.T, wal []byte) Options {
	t.Helper()
	o := testOptions(t.TempDir())
	for name, b := range map[string][]byte{fileName: f.db, fileName + "-wal": wal} {
		if err := os.WriteFile(filepath.Join(o.DataDir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

func fullOptions() Options {
	o := testOptions("")
	o.Synchronous = "FULL"
	return o
}

func flipped(b []byte, at int) []byte {
	b = slices.Clone(b)
	b[at] ^= 1
	return b
}

// One bit anywhere in the WAL is found as damage if two commits stand behind it;
// of the last but one commit, if it is not in the header of its last frame that
// begins the next. Of the last commit it is not, for a power cut may have done it.
func TestDamagedWALIsRefused(t *testing.T) {
	f := newWALFixture(t, fullOptions(), 8)
	frameBytes := frameHeaderBytes + pageSize
	frames := (len(f.wal) - walHeaderBytes) / frameBytes
	before := f.commits[len(f.commits)-2] // frames without the last commit
	places := map[int]string{0: "page", framePages: "pages", frameSalts: "salts", frameSum: "sum", frameHeaderBytes + 4: "data"}
	for i := range frames {
		for at, what := range places {
			wal := flipped(f.wal, walHeaderBytes+i*frameBytes+at)
			if what == "pages" {
				wal = slices.Clone(f.wal) // a commit, or none
				wal[walHeaderBytes+i*frameBytes+framePages+3] ^= 0xff
			}
			_, err := dumpDamaged(f.write(t, wal))
			switch told := errors.Is(err, ErrDamaged); {
			case i < before-1 && (!told || !strings.Contains(err.Error(), "WAL")):
				t.Errorf("%s of frame %d of %d, of which %d are before the last commit: %v", what, i, frames, before, err)
			case i >= before && what != "pages" && err != nil: // "pages" makes it a commit, which no power cut does
				t.Errorf("%s of frame %d of %d, in the last commit: %v", what, i, frames, err)
			case i == before-1 && what == "data" && !told:
				t.Errorf("%s of frame %d of %d, a commit: %v", what, i, frames, err)
			}
		}
	}
	for at := range walHeaderBytes {
		if _, err := dumpDamaged(f.write(t, flipped(f.wal, at))); !errors.Is(err, ErrDamaged) {
			t.Errorf("byte %d of the header: %v", at, err)
		}
	}
}

// The header of a frame may lie in two sectors, of which a power cut may leave one
// as it was before: a frame of the last transaction with the mark of a commit. In
// one sector only damage makes it that.
func TestTornFrameHeader(t *testing.T) {
	f := newWALFixture(t, fullOptions(), 3)
	o := f.write(t, f.wal)
	o.Synchronous = "FULL"
	db := openTest(t, o)
	apply(t, db, oneMessage(1, 4, strings.Repeat("x", 80*pageSize)))
	f.read(t, db)
	torn := 0
	for i := 20; i < 70; i++ {
		at := walHeaderBytes + i*(frameHeaderBytes+pageSize)
		wal := slices.Clone(f.wal)
		wal[at+framePages] = 1
		scan, err := scanWAL(bytes.NewReader(wal), int64(len(wal)))
		twoSectors := at%diskSectorBytes > diskSectorBytes-frameHeaderBytes
		if err != nil || scan.broken != i || scan.damaged == twoSectors {
			t.Errorf("frame %d, header in two sectors %v: %+v, %v", i, twoSectors, scan, err)
		}
		if twoSectors {
			torn++
		}
	}
	if torn == 0 {
		t.Error("no header was in two sectors")
	}
}

// Without a sync of each commit the proof does not hold, whatever the setting is
// at the next start.
func TestWALThatWasNotSynced(t *testing.T) {
	for _, mode := range []string{"NORMAL", "OFF"} {
		o := testOptions("")
		o.Synchronous = mode
		f := newWALFixture(t, o, 20)
		next := f.write(t, flipped(f.wal, len(f.wal)/2))
		next.Synchronous = "FULL"
		if text, err := dumpDamaged(next); err != nil || !strings.Contains(text, "entry 1/1") {
			t.Errorf("%s: %v", mode, err)
		}
	}
}

// The note of how the WAL was synced follows the setting, and a WAL written
// after a change is judged by the new one.
func TestSyncedIsNoted(t *testing.T) {
	dir := t.TempDir()
	for i, mode := range []string{"OFF", "FULL", "EXTRA", "NORMAL", "EXTRA"} {
		o := testOptions(dir)
		o.Synchronous = mode
		db := openTest(t, o)
		for seq := uint64(1); seq < 5; seq++ {
			apply(t, db, oneSession(db.NextID()+1, payloadOf(seq)))
		}
		f := &walFixture{}
		f.read(t, db)
		_, err := dumpDamaged(f.write(t, flipped(f.wal, walHeaderBytes+frameHeaderBytes+100)))
		if synced := mode == "FULL" || mode == "EXTRA"; errors.Is(err, ErrDamaged) != synced {
			t.Errorf("start %d, %s: %v", i, mode, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Transactions whose sync failed leave frames with right checksums behind those
// of the ones that were tried after them, commits among them: no damage.
func TestFramesOfFailedSyncsAreNoDamage(t *testing.T) {
	r := newRand(t)
	behind := 0 // WALs with a verified frame behind the end
	for range 40 {
		v := newFaultVFS(t)
		o := testOptions(t.TempDir())
		o.VFS, o.Synchronous = t.Name(), "FULL"
		db := openTest(t, o)
		apply(t, db, oneSession(1, "m"))
		for seq := uint64(2); seq < 6; seq++ {
			for range 4 { // of different length
				v.fail(sqlite3.IOERR_FSYNC, -1, 0, 1)
				if err := db.Apply(oneMessage(1, seq, strings.Repeat("x", r.IntN(80_000)))); err == nil {
					t.Fatal("the sync did not fail")
				}
			}
			v.fail(sqlite3.IOERR_FSYNC, -1, -1, 0)
			apply(t, db, oneMessage(1, seq, payloadOf(seq)))
		}
		f := &walFixture{}
		f.read(t, db)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		scan, err := scanWAL(bytes.NewReader(f.wal), int64(len(f.wal)))
		if err != nil || scan.damaged || scan.broken == scan.frames {
			t.Fatalf("%+v, %v", scan, err)
		}
		if verifiedBehind(scan, f.wal) {
			behind++
		}
		if text, err := dumpDamaged(f.write(t, f.wal)); err != nil || strings.Count(text, "entry ") != 5 {
			t.Fatalf("%d entries, %v", strings.Count(text, "entry "), err)
		}
	}
	if behind < 10 {
		t.Errorf("only %d had a frame with a right checksum behind the end", behind)
	}
}

// verifiedBehind reports whether a frame that SQLite does not read follows
// another such one.
func verifiedBehind(s *walScan, wal []byte) bool {
	for i := s.broken + 1; i < s.frames; i++ {
		last, frame := wal[s.offset(i-1):], wal[s.offset(i):s.offset(i+1)]
		if binary.BigEndian.Uint32(frame) != 0 && s.sum(storedSum(last[frameSum:]), frame) == storedSum(frame[frameSum:]) {
			return true
		}
	}
	return false
}

// A salvage reads what stands behind the damage too.
func TestSalvageBehindDamageOfTheWAL(t *testing.T) {
	f := newWALFixture(t, fullOptions(), 60)
	frameBytes := frameHeaderBytes + pageSize
	frames := (len(f.wal) - walHeaderBytes) / frameBytes
	for what, at := range map[string]int{
		"header of the WAL": walSalts + 2, "an early page": walHeaderBytes + 2*frameBytes + frameHeaderBytes + 4000,
		"a checksum": walHeaderBytes + frames/2*frameBytes + frameSum, "the middle": len(f.wal) / 2,
	} {
		o := f.write(t, flipped(f.wal, at))
		report, err := Salvage(o, salvageTime)
		if err != nil || !errors.Is(report.Damage, ErrDamaged) || !strings.Contains(report.Damage.Error(), "WAL") {
			t.Fatalf("%s: %+v, %v", what, report, err)
		}
		text, err := dumpDamaged(o)
		if n := strings.Count(text, "entry "); err != nil || n < 57 {
			t.Errorf("%s: %d of 60 messages, %v", what, n, err)
		}
		if b, err := os.ReadFile(report.Aside + "-wal"); err != nil || !bytes.Equal(b, flipped(f.wal, at)) {
			t.Errorf("%s: the WAL that is set aside is another: %v", what, err)
		}
	}
}
