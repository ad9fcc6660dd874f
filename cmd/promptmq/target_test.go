package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// TestTargetsSpareTheStore: no backup and no export replaces or makes a file of a store, of a
// broker that runs or one that is stopped; what is refused leaves nothing.
func TestTargetsSpareTheStore(t *testing.T) {
	unraced(t)
	t.Parallel()
	s := start(t, "")
	c := commander{t, s.dataDir()}
	sub, _ := connectRaw(t, s.mqtt, codec.Version5, "sub", lasting)
	sub.subscribeOne("t", 1)
	sub.drop()
	pub, _ := connectRaw(t, s.mqtt, codec.Version5, "pub", lasting)
	pub.publish1(1, "t", "before")

	elsewhere := t.TempDir()
	symlink, hardLink, dirLink := filepath.Join(elsewhere, "symlink"), filepath.Join(elsewhere, "hard"), filepath.Join(elsewhere, "dir")
	for _, err := range []error{
		os.Symlink(filepath.Join(s.dataDir(), "promptmq.db"), symlink),
		os.Link(filepath.Join(s.dataDir(), "promptmq.db"), hardLink),
		os.Symlink(s.dataDir(), dirLink),
		os.Mkdir(filepath.Join(elsewhere, "taken"), 0o700),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	targets := []string{symlink, hardLink, dirLink, filepath.Join(elsewhere, "taken"), filepath.Join(dirLink, "promptmq.db-wal"), filepath.Join(elsewhere, "none", "b.db")}
	for _, name := range []string{"promptmq.db", "promptmq.db-wal", "promptmq.db-shm", "promptmq.db-journal", "promptmq.lock", "admin.sock", "promptmq.db.corrupt-1"} {
		targets = append(targets, filepath.Join(s.dataDir(), name))
	}
	other := commander{t, filepath.Join(t.TempDir(), "other")}
	other.add("ann", "secret")
	refusesAll := func() {
		t.Helper()
		for _, path := range targets {
			c.refused(path, "backup", path, "--force")
			c.refused(path, "export", path, "--force")
		}
		other.refused("in a data directory", "backup", filepath.Join(s.dataDir(), "promptmq.db"), "--force")
	}
	refusesAll()
	pub.publish1(2, "t", "after")
	c.answers("2", "SELECT count(*) FROM queued")
	s.stop()
	refusesAll()
	c.refused("what would be replaced", "restore", filepath.Join(s.dataDir(), "promptmq.db"), "--force")
	c.answers("2", "SELECT count(*) FROM queued")
	c.ok("verify")
	for _, dir := range []string{s.dataDir(), elsewhere} {
		left, err := filepath.Glob(filepath.Join(dir, "*.partial"))
		if err != nil || len(left) > 0 {
			t.Errorf("left: %q, %v", left, err)
		}
	}
	c.ok("backup", filepath.Join(s.dataDir(), "backup.db")) // the control: it may be in there
	c.ok("backup", filepath.Join(elsewhere, "promptmq.db")) // or have that name
}

// TestHereOnly: what works on files of this machine is refused where a broker elsewhere is meant.
func TestHereOnly(t *testing.T) {
	unraced(t)
	t.Parallel()
	c := commander{t, filepath.Join(t.TempDir(), "data")}
	c.add("ann", "secret")
	backup := filepath.Join(t.TempDir(), "b.db")
	c.ok("backup", backup)
	env := []string{"PROMPTMQ_URL=https://broker.example", "PROMPTMQ_DATA_DIR=" + c.data}
	made := filepath.Join(t.TempDir(), "made")
	for _, args := range []string{"backup " + made, "verify", "export " + made, "import " + backup, "restore --force " + backup} {
		words := strings.Fields(args)
		for _, r := range []result{run(t, env, words...), run(t, nil, append(words, "--url", "https://broker.example")...)} {
			if r.code != exitUsage || r.stdout != "" || !strings.Contains(r.stderr, "this machine only") {
				t.Errorf("%s: %v", args, r)
			}
		}
	}
	for _, args := range []string{"verify " + backup, "sql SELECT(1) --backup " + backup} {
		words := strings.Fields(args)
		if r := run(t, env, words...); r.code != 0 {
			t.Errorf("%s: a file is named: %v", args, r)
		}
		if r := run(t, nil, append(words, "--url", "https://broker.example")...); r.code != exitUsage {
			t.Errorf("%s: %v", args, r)
		}
	}
	if _, err := os.Lstat(made); err == nil {
		t.Error("a file was made")
	}
	if r := run(t, env, "backup", made, "--data-dir", c.data); r.code != 0 {
		t.Errorf("a data directory is named: %v", r)
	}
}
