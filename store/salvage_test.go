package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var salvageTime = time.Date(2026, 11, 23, 19, 30, 0, 0, time.UTC)

// facts are the lines of a dump that a salvage must not change: all but what
// the loss of other rows changes.
func facts(dumps ...string) map[string]bool {
	all := make(map[string]bool)
	for _, d := range dumps {
		for line := range strings.Lines(d) {
			line = strings.TrimSpace(line)
			if !strings.HasPrefix(line, "session ") {
				all[line] = true
			}
		}
	}
	return all
}

// TestSalvage: whatever was damaged, the salvaged store opens, is sound, holds
// nothing that was not stored, and the damaged file is still there.
func TestSalvage(t *testing.T) {
	r := newRand(t)
	fixtures := []*corruptFixture{newCorruptFixture(t, r, true), newCorruptFixture(t, r, false)}
	damagedStores, kept, whole := 0, 0, 0
	for i := range 2*len(fixedMutations) + 60/raceSlowdown {
		f := fixtures[i%2]
		m := randomMutation(r, f)
		if i/2 < len(fixedMutations) {
			m = fixedMutations[i/2]
		}
		dir := f.apply(t, m)
		before, _ := os.ReadFile(filepath.Join(dir, fileName))
		o := testOptions(dir)
		o.MmapSize = 0
		report, err := Salvage(o, salvageTime)
		if err != nil {
			t.Fatalf("mutation %d of %s (%s): %v", i, m.victim, m.what, err)
		}
		text, err := dumpDamaged(o)
		if err != nil {
			t.Fatalf("mutation %d of %s (%s): after the salvage %+v: %v", i, m.victim, m.what, report, err)
		}
		if report.Damage == nil {
			continue
		}
		damagedStores++
		if spare, _ := filepath.Glob(filepath.Join(dir, "*spare*")); len(spare) > 0 {
			t.Errorf("mutation %d of %s (%s): left behind: %v", i, m.victim, m.what, spare)
		}
		aside, err := os.ReadFile(report.Aside)
		if before != nil && (err != nil || len(aside) < len(before)) {
			t.Errorf("mutation %d of %s (%s): only %d bytes are set aside of %d, %v", i, m.victim, m.what, len(aside), len(before), err)
		}
		had, has := facts(f.now), facts(text)
		if m.what == "first page NUL" && len(f.files()) == 1 && len(has) != len(had) {
			t.Errorf("without the first page, which has no rows, %d of %d are recovered", len(has), len(had))
		}
		for state := range f.before {
			for line := range facts(state) {
				had[line] = true
			}
		}
		for line := range has {
			if !had[line] {
				t.Errorf("mutation %d of %s (%s): was never stored: %.200s", i, m.victim, m.what, line)
			}
		}
		kept += len(has)
		whole += len(facts(f.now))
	}
	t.Logf("%d damaged stores; %d of %d rows recovered", damagedStores, kept, whole)
	if damagedStores < 10 || kept < whole/4 {
		t.Error("too little was damaged, or too little recovered")
	}
}

// Damage in one place costs what is there and nothing else, and is counted.
func TestSalvageCounts(t *testing.T) {
	o := testOptions(t.TempDir())
	db := openTest(t, o)
	for i := range uint64(40) {
		id := db.NextID() + 1
		if i == 0 {
			apply(t, db, oneSession(id, payloadOf(1)))
			continue
		}
		apply(t, db, oneMessage(id, i+1, payloadOf(i+1)))
	}
	if err := db.w.Exec("UPDATE run SET data = zeroblob(100) WHERE first IN (7, 8)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	report, err := Salvage(o, salvageTime)
	if err != nil || !errors.Is(report.Damage, ErrDamaged) {
		t.Fatalf("%+v, %v", report, err)
	}
	if want := filepath.Join(o.DataDir, "promptmq.db.corrupt-20261123T193000Z"); report.Aside != want {
		t.Errorf("set aside as %s, want %s", report.Aside, want)
	}
	for name, want := range map[string]SalvagedTable{"run": {"run", 38, 2, 0}, "session": {"session", 1, 0, 0}} {
		if !slices.Contains(report.Tables, want) {
			t.Errorf("no %+v for %s in %+v", want, name, report.Tables)
		}
	}
	text, err := dumpDamaged(o)
	if err != nil || strings.Count(text, "entry ") != 38 {
		t.Errorf("%d entries, %v", strings.Count(text, "entry "), err)
	}
}

func TestSalvageLeavesASoundStore(t *testing.T) {
	o := testOptions(t.TempDir())
	db := openTest(t, o)
	apply(t, db, oneSession(1, "m"))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	report, err := Salvage(o, salvageTime)
	if err != nil || report.Damage != nil || report.Aside != "" {
		t.Fatalf("%+v, %v", report, err)
	}
	names, err := filepath.Glob(filepath.Join(o.DataDir, "*"))
	if err != nil || len(names) != 2 { // the database and the lock
		t.Errorf("files %v, %v", names, err)
	}
	if text, err := dumpDamaged(o); err != nil || !strings.Contains(text, "entry ") {
		t.Errorf("%q, %v", text, err)
	}
}

// What is no damage is not salvaged: a store of a newer program, of another
// application, one that is open.
func TestSalvageRefuses(t *testing.T) {
	for _, script := range []string{
		"PRAGMA application_id = 77; CREATE TABLE t (a)",
		"PRAGMA application_id = 1347244337; PRAGMA user_version = 99; CREATE TABLE t (a)",
	} {
		dir := t.TempDir()
		makeDB(t, dir, script)
		before, _ := os.ReadFile(filepath.Join(dir, fileName))
		if report, err := Salvage(testOptions(dir), salvageTime); err == nil {
			t.Errorf("%s: %+v", script, report)
		}
		if after, err := os.ReadFile(filepath.Join(dir, fileName)); err != nil || !bytes.Equal(before, after) {
			t.Errorf("%s: the file was changed: %v", script, err)
		}
	}
	o := testOptions(t.TempDir())
	openTest(t, o)
	if report, err := Salvage(o, salvageTime); err == nil {
		t.Errorf("of an open store: %+v", report)
	}
}

// A process that dies while it swaps the files leaves what the next start completes.
func TestSalvageCutShort(t *testing.T) {
	for moved := range 3 {
		o := testOptions(t.TempDir())
		db := openTest(t, o)
		apply(t, db, oneSession(1, "new"))
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(o.DataDir, fileName)
		if err := os.Rename(path, path+salvagedMark+"T"); err != nil {
			t.Fatal(err)
		}
		for i, suffix := range []string{"-wal", ""} {
			name := path + suffix
			if i < moved {
				name = path + asideMark + "T" + suffix
			}
			if err := os.WriteFile(name, []byte("damaged"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		text, err := dumpDamaged(o)
		if err != nil || !strings.Contains(text, "entry 1/1") {
			t.Fatalf("%d moved: %q, %v", moved, text, err)
		}
		for _, suffix := range []string{"-wal", ""} {
			if b, err := os.ReadFile(path + asideMark + "T" + suffix); err != nil || string(b) != "damaged" {
				t.Errorf("%d moved: %q is set aside, %v", moved, b, err)
			}
		}
	}
}
