package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// TestExportImport: what a running broker exports another one has after an import: it comes to
// the clients as it would have.
func TestExportImport(t *testing.T) {
	unraced(t)
	t.Parallel()
	s := start(t, "")
	c := commander{t, s.dataDir()}
	c.add("ann", "CANARY-password", "--group", "g")
	c.ok("acl", "add", "allow user ann all topic #")
	sub, _ := connectRaw(t, s.mqtt, codec.Version5, "sub", byUser("ann", "CANARY-password", lasting))
	sub.subscribeOne("t/+", 1)
	sub.subscribeOne("$share/g/u", 2)
	sub.drop()
	pub, _ := connectRaw(t, s.mqtt, codec.Version5, "pub", byUser("ann", "CANARY-password"))
	for i := range uint16(3) {
		pub.publish1(1+i, "t/1", "payload")
	}
	pub.publish(codec.Publish{QoS: 1, PacketID: 99, Retain: true, Topic: codec.View("kept"), Payload: codec.View("retained")})
	pub.ack(codec.TypePuback)
	plain, secret := filepath.Join(t.TempDir(), "plain.ndjson"), filepath.Join(t.TempDir(), "secret.ndjson")
	if out := c.ok("export", plain); !strings.Contains(out, "exported 1 session with 3 queued messages, 1 retained message, 1 user, 1 rule\n") || !strings.Contains(out, "1 user has no password") {
		t.Errorf("%s", out)
	}
	c.refused("--force replaces it", "export", plain)
	if out := c.ok("export", secret, "--with-secrets"); strings.Contains(out, "no password") {
		t.Errorf("%s", out)
	}
	c.ok("export", secret, "--with-secrets", "--force")
	if info, err := os.Stat(plain); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	text := func(path string) string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if strings.Contains(text(plain), "argon2") || strings.Contains(text(plain), "SCRAM") || !strings.Contains(text(secret), "argon2") {
		t.Error("hashes are where they are not asked for, or are not where they are")
	}
	c.fails(exitFailure, "stop the broker first", "import", secret)

	other := commander{t, filepath.Join(t.TempDir(), "other")}
	filled := commander{t, filepath.Join(t.TempDir(), "filled")}
	filled.add("bob", "secret")
	broken := filepath.Join(t.TempDir(), "broken.ndjson")
	for _, fault := range []struct{ line, want string }{
		{`{"session":{"client":"sub","protocol":5,"session_expiry_seconds":1}}`, "there is a session of client"},
		{`{"session":{"client":"x","protocol":9,"session_expiry_seconds":1}}`, "protocol"},
		{`{"session":{"client":"x","protocol":5,"subscriptions":[{"filter":"a/#/b","qos":1}]}}`, "filter"},
		{`{"queued":{"topic":"a/+","payload":"","qos":1,"deliver_qos":1}}`, "topic"},
		{`{"queued":{"topic":"a","payload":"","qos":1,"deliver_qos":2}}`, "deliver_qos"},
		{`{"session":{"client":"x","protocol":5,"subscriptions":[{"filter":"a","qos":1,"identifier":268435456}]}}`, "identifier: it is at most"},
		{`{"queued":{"topic":"a","payload":"","qos":1,"deliver_qos":1,"subscription_identifiers":[268435456]}}`, "subscription_identifiers"},
		{`{"queued":{"topic":"a","payload":"","qos":1,"deliver_qos":1,"subscription_identifiers":[1,0]}}`, "subscription_identifiers"},
		{`{"queued":{"topic":"a","payload":"","qos":1,"deliver_qos":1,"share":"a/b"}}`, "share"},
		{`{"queued":{"topic":"a","payload":"","qos":1,"deliver_qos":1,"share":"$share/g"}}`, "share"},
		{`{"retained":{"topic":"$SYS/broker/uptime","payload":"","qos":0}}`, "$SYS/"},
		{`{"retained":{"topic":"a","payload":"!","qos":1}}`, "no line of an export"},
		{`{"retained":{"topic":"a","payload":"","qos":1,"properties":"/w=="}}`, "properties"},
		{`{"session":{"client":"x","protocol":5,"session_expiry_seconds":1,"received":[1,1]}}`, "received message is 0 or there twice"},
		{`{"session":{"client":"x","protocol":5,"session_expiry_seconds":1,"released":[0]}}`, "sent message is 0 or there twice"},
		{`{"queued":{"topic":"a","payload":"","qos":1,"deliver_qos":1}}` + "\n" + `{"queued":{"topic":"a","payload":"","qos":1,"deliver_qos":1,"sent":1}}`, "sent: a message before it"},
		{`{"rule":"user ann may all"}`, "line"},
		{`{"user":{"name":"eve","hash":"x","changed_at":"2026-01-01T00:00:00Z"}}`, "hash"},
		{`{"user":{"name":"eve","role":"root","changed_at":"2026-01-01T00:00:00Z"}}`, "role"},
		{`{"unknown":1}`, "no line of an export"},
		{`{"promptmq_export":{"version":1,"at":"2026-01-01T00:00:00Z"}}`, "the first line"},
		{`{}`, "says nothing"},
	} {
		if err := os.WriteFile(broken, []byte(text(secret)+fault.line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		other.refused(fault.want, "import", broken)
		if left, err := filepath.Glob(filepath.Join(other.data, "promptmq.db*")); err != nil || len(left) > 0 {
			t.Errorf("%s has left %q, %v", fault.line, left, err)
		}
		filled.refused(fault.want, "import", broken)
		filled.answers("0,0,1,0", "SELECT sessions, retained, users, rules FROM store")
	}
	other.refused("no such file", "import", broken+"x")
	if out := other.ok("import", secret); !strings.Contains(out, "1 session with 3 queued messages, 1 retained message, 1 user, 1 rule") {
		t.Errorf("%s", out)
	}
	other.ok("verify")
	other.refused("already", "import", secret)
	other.answers("ann,g", "SELECT name, groups FROM users")
	other.answers("sub,ann,3,2", "SELECT client, user, queued, subscriptions FROM sessions")
	again := filepath.Join(t.TempDir(), "again.ndjson")
	other.ok("export", again, "--with-secrets")
	_, first, _ := strings.Cut(text(secret), "\n")
	if _, second, _ := strings.Cut(text(again), "\n"); first != second {
		t.Errorf("exported again:\n%s\nwant\n%s", second, first)
	}

	s.stop()
	s2 := start(t, "", "--data-dir", other.data)
	back, _ := connectRaw(t, s2.mqtt, codec.Version5, "sub", byUser("ann", "CANARY-password", lasting, func(c *codec.Connect) { c.CleanStart = false }))
	for range 3 {
		if p := back.receive(); string(p.Topic) != "t/1" || string(p.Payload) != "payload" {
			t.Errorf("%s: %s", p.Topic, p.Payload)
		}
	}
	without := commander{t, filepath.Join(t.TempDir(), "without")}
	if out := without.ok("import", plain); !strings.Contains(out, "0 users, 1 rule\n") || !strings.Contains(out, "1 user was left out") {
		t.Errorf("%s", out)
	}
}

// TestExportImportUnderWay: what was under way to and from a client goes on in the other
// broker, under the same Packet Identifiers.
func TestExportImportUnderWay(t *testing.T) {
	t.Parallel()
	unraced(t)
	s := start(t, "")
	sub, _ := connectRaw(t, s.mqtt, codec.Version5, "sub", lasting)
	sub.subscribeOne("t", 2)
	pub, _ := connectRaw(t, s.mqtt, codec.Version5, "pub", nil)
	for id, qos := range []codec.QoS{1, 2, 2} {
		pub.publish(codec.Publish{QoS: qos, PacketID: uint16(id + 1), Topic: codec.View("t"), Payload: codec.View{'1' + byte(id)}})
		sub.receive()
	}
	sub.sendAck(codec.TypePubrec, 2)
	sub.ack(codec.TypePubrel)
	sub.publish2(7, "u", "from the client", false)
	sub.drop()
	pub.publish1(9, "t", "new")
	file := filepath.Join(t.TempDir(), "export.ndjson")
	commander{t, s.dataDir()}.ok("export", file)
	other := commander{t, filepath.Join(t.TempDir(), "other")}
	other.ok("import", file)
	other.ok("verify")
	s.stop()

	s2 := start(t, "", "--data-dir", other.data)
	back, ack := connectRaw(t, s2.mqtt, codec.Version5, "sub", resumed)
	if !ack.SessionPresent {
		t.Error("the session is not there")
	}
	if id := back.ack(codec.TypePubrel).PacketID; id != 2 {
		t.Errorf("PUBREL %d", id)
	}
	for _, want := range []struct {
		id      uint16
		dup     bool
		payload string
	}{{1, true, "1"}, {3, true, "3"}, {4, false, "new"}} {
		p := back.receive()
		if p.PacketID != want.id || p.Dup != want.dup || string(p.Payload) != want.payload {
			t.Errorf("%d, DUP %v, %s, want %v", p.PacketID, p.Dup, p.Payload, want)
		}
	}
	watcher, _ := connectRaw(t, s2.mqtt, codec.Version5, "other", nil)
	watcher.subscribeOne("u", 0)
	if reason := back.publish2(7, "u", "from the client", true); reason != codec.Success {
		t.Errorf("PUBREC %v", reason)
	}
	back.sendAck(codec.TypePubrel, 7)
	if done := back.ack(codec.TypePubcomp); done.Reason != codec.Success {
		t.Errorf("PUBCOMP %v", done.Reason)
	}
	watcher.quiet() // it was not routed again
	back.sendAck(codec.TypePubcomp, 2)
	back.quiet()
}
