package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// backupBefore is how many messages are acknowledged before a backup begins.
var backupBefore = map[bool]int{false: 500, true: 20_000}

// TestBackupUnderTraffic: a backup of a broker that messages are published to, and that is
// killed afterwards, is sound and has every message that was acknowledged before it began; a
// plain copy of the database file has not.
func TestBackupUnderTraffic(t *testing.T) {
	t.Parallel()
	s := start(t, "mqtt: {max-queued-messages: 10000000, max-queued-bytes: 10000000000}")
	c := commander{t, s.dataDir()}
	c.add("ann", "CANARY-password")
	sub, _ := connectRaw(t, s.mqtt, codec.Version5, "sub", byUser("ann", "CANARY-password", lasting))
	sub.subscribeOne("t", 1)
	sub.drop()
	var acknowledged atomic.Int64
	ended := make(chan struct{})
	pub, _ := connectRaw(t, s.mqtt, codec.Version5, "pub", byUser("ann", "CANARY-password"))
	go func() {
		defer close(ended)
		for n := int64(1); publishOne(pub, uint16(n%60_000+1), fmt.Sprintf("message %d %s", n, strings.Repeat("x", 1000))); n++ {
			acknowledged.Store(n)
		}
	}()
	eventually(t, "messages are acknowledged", func() bool { return acknowledged.Load() >= int64(backupBefore[*long]) })

	before := acknowledged.Load()
	plain := filepath.Join(t.TempDir(), "plain.db")
	copyOf(t, filepath.Join(s.dataDir(), "promptmq.db"), plain)
	backup := filepath.Join(t.TempDir(), "backup.db")
	if out := c.ok("backup", backup); !strings.Contains(out, "verified: rows of session 1") || !strings.Contains(out, " (queued messages") {
		t.Errorf("%s", out)
	}
	during := acknowledged.Load() - before
	eventually(t, "publishing goes on", func() bool { return acknowledged.Load() > before+during })
	c.refused("is there already", "backup", backup)
	s.kill()
	<-ended

	c.ok("verify", backup)
	if got := oldestMessages(t, backup); got < before {
		t.Errorf("the backup has %d messages, %d were acknowledged before it", got, before)
	}
	if got := oldestMessages(t, plain); got >= before {
		t.Errorf("the control: a copy without its WAL has all %d messages", got)
	}
	t.Logf("%d messages before, %d during the backup", before, during)
	if info, err := os.Stat(backup); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}

	c.refused("--force", "restore", backup)
	c.ok("verify") // what the killed broker left
	c.ok("restore", backup, "--force")
	c.ok("verify")
	s.restart()
	c.answers("ann", "SELECT name FROM users")
	c.fails(exitFailure, "stop the broker first", "restore", backup, "--force")
	if out := c.ok("verify", "--json"); !strings.Contains(out, `"sound": true`) {
		t.Errorf("of a running broker: %s", out)
	}
	if _, err := os.Stat(filepath.Join(s.dataDir(), "verify.partial")); err == nil {
		t.Error("verify has left a copy")
	}
}

// publishOne publishes at QoS 1, and reports whether it was acknowledged.
func publishOne(p *raw, id uint16, payload string) bool {
	packet, err := codec.AppendPublish(nil, &codec.Publish{QoS: 1, PacketID: id, Topic: codec.View("t"), Payload: codec.View(payload)}, p.v)
	if err != nil {
		return false
	}
	if _, err := p.Write(packet); err != nil {
		return false
	}
	_, err = p.next()
	return err == nil
}

// oldestMessages returns up to which one a database has every message; 0: none, or it cannot
// be read.
func oldestMessages(t *testing.T, path string) int64 {
	t.Helper()
	r := run(t, nil, "sql", "--backup", path, "--csv", "--timeout", "30s",
		"SELECT count(*), max(CAST(substr(CAST(payload AS TEXT), 9, instr(substr(CAST(payload AS TEXT), 9), ' ')) AS INTEGER)) FROM queued")
	_, row, _ := strings.Cut(strings.TrimSpace(r.stdout), "\n")
	count, last, _ := strings.Cut(row, ",")
	if r.code != 0 || count != last {
		t.Logf("%s: %v", path, r)
		return 0
	}
	n, err := strconv.ParseInt(count, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func copyOf(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestVerifyTellsDamage: code 1, and what a salvage would keep.
func TestVerifyTellsDamage(t *testing.T) {
	unraced(t)
	t.Parallel()
	s := damagedServer(t, func(db []byte) []byte {
		at := strings.Index(string(db), "message 007")
		db[at] ^= 1
		return db
	})
	r := run(t, nil, "verify", "--data-dir", s.dataDir())
	if r.code != exitFailure || !strings.Contains(r.stdout, "rows of run are damaged") || !strings.Contains(r.stdout, "--salvage") {
		t.Errorf("%v", r)
	}
	c := commander{t, s.dataDir()}
	c.fails(exitFailure, "not sound", "backup", filepath.Join(t.TempDir(), "b.db"))
}
