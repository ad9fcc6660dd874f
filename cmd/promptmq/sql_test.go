package main

import (
	"net/http"
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
		if out := c.ok("sql", "SELECT 1e999 AS a, -1e999 AS b, 1e999 - 1e999 AS c, CAST(x'61ff' AS TEXT) AS d, 1.5 AS e", "--json"); out != `{"a":"Infinity","b":"-Infinity","c":null,"d":{"base64":"Yf8="},"e":1.5}`+"\n" {
			t.Errorf("%q", out)
		}
		c.answers("Infinity,-Infinity,,x'61ff'", "SELECT 1e999, -1e999, 1e999 - 1e999, CAST(x'61ff' AS TEXT)")
		c.refused("from 1 to 100,000", "sql", "SELECT 1", "--max-rows", "0")
		c.answers("1\n2", "VALUES (1), (2)")
		c.ok("sql", "EXPLAIN QUERY PLAN SELECT * FROM queued")
		c.answers("kept,", "WITH texts AS (SELECT topic, CAST(payload AS TEXT) AS text FROM retained) SELECT topic, CASE WHEN json_valid(text) THEN text ->> '$.temperature' END FROM texts WHERE topic = 'kept'")
		c.answers("21.5 - - -", "WITH texts(text) AS (SELECT CAST(column1 AS TEXT) FROM (VALUES (CAST('{\"temperature\":21.5}' AS BLOB)), (x'ff00'), (CAST('7' AS BLOB)), (x''))) SELECT group_concat(coalesce(CASE WHEN json_valid(text) THEN text ->> '$.temperature' END, '-'), ' ') FROM texts")
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

// TestSQLLimitsThroughAPI: what is not said has a default, and 0 is none.
func TestSQLLimitsThroughAPI(t *testing.T) {
	t.Parallel()
	s := startAPI(t, "", new(http.Client))
	for member, want := range map[string]string{"": "", `,"max_rows":1`: "", `,"max_rows":0`: "body.max_rows", `,"max_rows":100001`: "body.max_rows", `,"timeout_seconds":0`: "body.timeout_seconds", `,"timeout_seconds":0.5`: ""} {
		code, text, _ := s.ask("POST", "/api/v1/sql", "viewer", `{"query":"SELECT 1"`+member+`}`)
		if want == "" && code != http.StatusOK || want != "" && (code != http.StatusUnprocessableEntity || !strings.Contains(text, `"location":"`+want+`"`)) {
			t.Errorf("%s: %d %s", member, code, text)
		}
	}
}

// TestNoDatabase: a file that never was a database of ours has nothing to salvage.
func TestNoDatabase(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := commander{t, filepath.Join(dir, "data")}
	for name, text := range map[string]string{"short": "no database\n", "long": strings.Repeat("no data\n", 4096), "empty": ""} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"verify", file}, {"sql", "SELECT 1", "--backup", file}, {"restore", file}} {
			r := run(t, nil, append(args, "--data-dir", c.data)...)
			if r.code == 0 || !strings.Contains(r.stderr, file) || !strings.Contains(r.stderr, "not a PromptMQ database") || strings.Contains(r.stdout+r.stderr, "salvage") {
				t.Errorf("%v: code %d\n%s%s", args, r.code, r.stdout, r.stderr)
			}
		}
	}
}

// TestSQLValuesThroughAPI: a value that JSON does not have is answered all the same, and does
// not end the request of a viewer.
func TestSQLValuesThroughAPI(t *testing.T) {
	t.Parallel()
	s := startAPI(t, "", new(http.Client))
	code, text, _ := s.ask("POST", "/api/v1/sql", "viewer", `{"query":"SELECT 1e999, -1e999, 1e999 - 1e999, CAST(x'ff' AS TEXT), 1"}`)
	if code != http.StatusOK || !strings.Contains(text, `[["Infinity","-Infinity",null,{"base64":"/w=="},1]]`) {
		t.Errorf("%d %s", code, text)
	}
}
