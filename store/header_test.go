package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Offsets in the first page of what PRAGMA user_version and application_id say.
const (
	headerUserVersion   = 60
	headerApplicationID = 68
)

// closedStore returns the database of a store that has 20 messages and was closed.
func closedStore(t *testing.T) []byte {
	t.Helper()
	db := openTest(t, testOptions(t.TempDir()))
	apply(t, db, oneSession(1, payloadOf(1)))
	for seq := uint64(2); seq <= 20; seq++ {
		apply(t, db, oneMessage(1, seq, payloadOf(seq)))
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(db.path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func storeOf(t *testing.T, file []byte) Options {
	t.Helper()
	o := testOptions(t.TempDir())
	if err := os.WriteFile(filepath.Join(o.DataDir, fileName), file, 0o600); err != nil {
		t.Fatal(err)
	}
	return o
}

// A version or an application_id that our tables do not fit is damage, which a
// salvage makes good. Only a version that a later program may have is not.
func TestDamagedIdentity(t *testing.T) {
	file := closedStore(t)
	for _, at := range []int{headerUserVersion, headerApplicationID} {
		was := binary.BigEndian.Uint32(file[at:])
		values := []uint32{0, 1, 2, 3, uint32(len(migrations)) + 1, 99, 1_000_000}
		for bit := range 32 {
			values = append(values, was^1<<bit)
		}
		for _, value := range values {
			b := append([]byte(nil), file...)
			binary.BigEndian.PutUint32(b[at:], value)
			o := storeOf(t, b)
			err := refused(t, o.DataDir, o)
			if newer := at == headerUserVersion && int(value) > len(migrations) && value <= versionsMax; newer {
				if errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "use a newer promptmq") {
					t.Errorf("version %d: %v", value, err)
				}
				continue
			}
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("%d at %d is not damage: %v", value, at, err)
			}
			if report, err := Salvage(o, salvageTime); err != nil || report.Tables[4] != (SalvagedTable{"run", 20, 0, 0}) {
				t.Errorf("%d at %d: salvaged %+v, %v", value, at, report, err)
			}
		}
	}
}

// A schema in which a bit turned over is damage, or still means the same.
func TestDamagedSchema(t *testing.T) {
	file := closedStore(t)
	first := bytes.Index(file, []byte("CREATE TABLE"))
	last := bytes.LastIndex(file, []byte("STRICT"))
	seed := rand.Uint64()
	t.Logf("seed %d, schema at %d to %d", seed, first, last)
	r, refusals := rand.New(rand.NewPCG(seed, 0)), 0
	for range 60 {
		b := append([]byte(nil), file...)
		at, bit := first+r.IntN(last-first), r.IntN(8)
		b[at] ^= 1 << bit
		db, err := Open(storeOf(t, b))
		if err == nil {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
			continue
		}
		if refusals++; !errors.Is(err, ErrDamaged) {
			t.Errorf("bit %d at %d, near %q, is not damage: %v", bit, at, b[max(first, at-10):at+10], err)
		}
	}
	if refusals == 0 {
		t.Error("no start was refused")
	}
}

// Our application_id on tables that are not ours is damage too; a database of
// another program never is.
func TestForeignTables(t *testing.T) {
	newer := fmt.Sprintf("PRAGMA application_id = 1347244337; PRAGMA user_version = %d; CREATE TABLE newer (a)", len(migrations)+1)
	for script, want := range map[string]bool{
		"PRAGMA application_id = 1347244337; PRAGMA user_version = 3; CREATE TABLE t (a)":    true,
		"PRAGMA application_id = 1347244337; PRAGMA user_version = 3; CREATE TABLE meta (a)": true,
		"PRAGMA user_version = 3; CREATE TABLE meta (sum); CREATE TABLE session (a)":         false,
		"PRAGMA application_id = 1196444487; CREATE TABLE t (a); CREATE TABLE session (id)":  false,
		"PRAGMA application_id = 1347244337; PRAGMA user_version = 2000; CREATE TABLE t (a)": true,
		newer: false,
	} {
		dir := t.TempDir()
		makeDB(t, dir, script)
		err := refused(t, dir, testOptions(dir))
		if errors.Is(err, ErrDamaged) != want {
			t.Errorf("%s: %v", script, err)
		}
		if !want && !strings.Contains(err.Error(), "not a PromptMQ database") && !strings.Contains(err.Error(), "newer promptmq") {
			t.Errorf("%s: %v", script, err)
		}
	}
}
