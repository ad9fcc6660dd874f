package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// answers compares what a query of a command answers, as CSV without its first line.
func (c commander) answers(want, sql string, flags ...string) {
	c.t.Helper()
	_, rows, _ := strings.Cut(c.ok(append([]string{"sql", sql, "--csv"}, flags...)...), "\n")
	if strings.TrimRight(rows, "\n") != want {
		c.t.Errorf("%s: %q, want %q", sql, rows, want)
	}
}

// TestSQL: a running broker and one that is stopped have the same answers.
func TestSQL(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	c := commander{t, s.dataDir()}
	c.add("ann", "CANARY-password")
	sub, _ := connectRaw(t, s.mqtt, codec.Version5, "sub", byUser("ann", "CANARY-password", lasting))
	sub.subscribeOne("t/+", 1)
	sub.drop()
	pub, _ := connectRaw(t, s.mqtt, codec.Version5, "pub", byUser("ann", "CANARY-password"))
	for i := range uint16(3) {
		if r := pub.publish1(1+i, "t/1", "payload"); r != codec.Success {
			t.Fatal(r)
		}
	}
	pub.publish(codec.Publish{QoS: 1, PacketID: 99, Retain: true, Topic: codec.View("kept"), Payload: codec.View("retained")})
	pub.ack(codec.TypePuback)

	c.answers("sub,ann,3,21", "SELECT s.client, s.user, count(*), sum(q.bytes) FROM sessions s JOIN queued q USING (client) WHERE s.client = 'sub' GROUP BY 1")
	c.answers("pub,1,ann", "SELECT client, connected, user FROM clients WHERE connected")
	c.answers("1", "SELECT running FROM store")
	both := func() {
		c.answers("t/1,payload", "SELECT DISTINCT topic, CAST(payload AS TEXT) FROM queued WHERE client = 'sub'")
		c.answers("kept,8,ann,retained", "SELECT topic, bytes, user, payload FROM retained")
		c.answers("ann,0,1", "SELECT name, disabled, scram FROM users")
		c.answers("sub,t/+,1", "SELECT client, filter, qos FROM subscriptions")
		c.refused("no such column: hash", "sql", "SELECT hash FROM users")
		c.refused("no such table: session", "sql", "SELECT * FROM session")
		c.refused("not authorized", "sql", "PRAGMA query_only = OFF")
		c.refused("not authorized", "sql", "ATTACH '/tmp/other.db' AS other")
		c.refused("only SELECT", "sql", "VACUUM INTO '/tmp/other.db'")
		c.refused("longer than 100ms", "sql", "SELECT sum(value) FROM generate_series(1, 9000000000000)", "--timeout", "100ms")
		c.refused("30", "sql", "SELECT 1", "--timeout", "31s")
		if out := c.ok("sql", "SELECT name, NULL AS n, x'00ff' AS b FROM users", "--json"); out != `{"name":"ann","n":null,"b":{"base64":"AP8="}}`+"\n" {
			t.Errorf("%q", out)
		}
		if r := c.withInput("", "sql", "SELECT value FROM generate_series(1, 5)", "--max-rows", "2"); r.code != 0 || r.stdout != "VALUE\n1\n2\n" || !strings.Contains(r.stderr, "more rows than these 2") {
			t.Errorf("%v", r)
		}
		for _, view := range []string{"clients", "drops", "queued", "retained", "sessions", "store", "subscriptions", "users"} {
			out := c.ok("sql", "SELECT * FROM "+view, "--json")
			if strings.Contains(out, "CANARY") || strings.Contains(out, "argon2") || strings.Contains(out, "SCRAM-SHA") {
				t.Errorf("%s: %s", view, out)
			}
		}
	}
	both()
	s.stop()
	both()
	c.answers("0,0", "SELECT running, (SELECT count(*) FROM clients) FROM store")
	if b, err := os.ReadFile(filepath.Join(s.dataDir(), "promptmq.db")); err != nil || !strings.Contains(string(b), "argon2") {
		t.Errorf("the control: no hash in the file, %v", err)
	}
}
