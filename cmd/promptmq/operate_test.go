package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/codec"
)

// page runs a command with --json and reads the rows of its list.
func page[T any](c commander, args ...string) []T {
	c.t.Helper()
	p := new(inspect.Page[T])
	if err := json.Unmarshal([]byte(c.ok(append(args, "--json")...)), p); err != nil {
		c.t.Fatal(err)
	}
	return p.Items
}

func has(t *testing.T, out string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// hostileID does something to a terminal that shows it.
const hostileID = "evil\x1b]0;owned\u2028\u202e\\"

// TestClientsCommands sees and ends connections and sessions of a running broker.
func TestClientsCommands(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	c := commander{t, s.dataDir()}
	away := v5Of(t, s, "away", lasting)
	away.subscribeOne("a/#", 1)
	away.drop()
	v5Of(t, s, hostileID, nil)
	device := v5Of(t, s, "device", lasting)
	device.subscribeOne("$share/g/b/+", 2)
	if reason := device.publish1(1, "a/\x7f", "12345"); reason != codec.Success {
		t.Fatal(reason)
	}
	out := c.ok("clients", "list", "--sort", "queued", "--desc")
	has(t, out, "CLIENT", "away", "device", `evil\x1b]0;owned\u2028\u202e\\`)
	if strings.ContainsAny(out, "\x1b\u2028\u202e") {
		t.Errorf("%q", out)
	}
	rows := page[inspect.Client](c, "clients", "list", "--sort", "queued", "--desc", "--limit", "1")
	if len(rows) != 1 || rows[0].ID != "away" || rows[0].Queued != 1 || rows[0].Connected {
		t.Errorf("%+v", rows)
	}
	has(t, c.ok("clients", "list", "--limit", "2"), "and more: these are 2 of 3")
	if rows = page[inspect.Client](c, "clients", "list", "--search", "\x1b"); len(rows) != 1 || rows[0].ID != hostileID {
		t.Errorf("%+v", rows)
	}
	if rows = page[inspect.Client](c, "clients", "list", "--search", "127.0.0.1:"); len(rows) != 2 {
		t.Errorf("a search of an address: %v, expected the two that are connected", rows)
	}
	if rows = page[inspect.Client](c, "clients", "list", "--search", "127.0.0.1:0"); len(rows) != 0 {
		t.Errorf("a search of an address that nobody has: %v", rows)
	}
	if rows = page[inspect.Client](c, "clients", "list", "--away"); len(rows) != 1 || rows[0].ID != "away" {
		t.Errorf("%+v", rows)
	}
	has(t, c.ok("clients", "show", "device"), "connected", "MQTT 5", "ends 1 h after its connection", "$share/g/b/+")
	has(t, c.ok("clients", "queue", "away"), "waiting", `a/\x7f`)
	c.refused(`there is no client "nobody", with a connection or a session: see promptmq clients list`, "clients", "show", "nobody")
	c.refused("clients are not sorted by nonsense; they are by address, bytes_in, ", "clients", "list", "--sort", "nonsense")
	c.refused("--limit is 0 or more", "clients", "list", "--limit=-1")

	has(t, c.ok("clients", "disconnect", "device", "--reason", "maintenance"), "client device: disconnected; it may connect again")
	device.closed(codec.AdministrativeAction)
	c.refused(`client "device" is not connected; to end its session too, promptmq sessions end`, "clients", "disconnect", "device")
	c.refused(`there is no client "nobody"`, "clients", "disconnect", "nobody")

	has(t, c.ok("sessions", "list"), "away", "device", "in 59 min")
	has(t, c.ok("sessions", "purge", "--older-than", "1h"), "ended: 0 sessions")
	has(t, c.ok("sessions", "purge", "--older-than", "0d", "--dry-run"), "would end: 2 sessions")
	c.refused("it is such as 30d, 12h or 90m", "sessions", "purge", "--older-than", "30")
	has(t, c.ok("sessions", "end", "away"), "session of away: ended")
	c.refused("there is no client", "session", "delete", "away")
	has(t, c.ok("sessions", "purge", "--older-than", "0d"), "ended: 1 session\n")
	if rows = page[inspect.Client](c, "sessions", "list"); len(rows) != 0 {
		t.Errorf("%+v", rows)
	}
	s.stop()
	c.fails(exitFailure, "say where one does with --data-dir, --config or --url", "clients", "list")
}

// TestSubscriptionsCommands subscribes and unsubscribes a client of a running broker.
func TestSubscriptionsCommands(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	c := commander{t, s.dataDir()}
	device := v5Of(t, s, "device", lasting)
	device.subscribeOne("own/#", 1)
	has(t, c.ok("subscriptions", "add", "device", "given/+", "--qos", "1"), "client device: subscribed to given/+ with QoS 1")
	if reason := v5Of(t, s, "p", nil).publish1(7, "given/x", "1"); reason != codec.Success {
		t.Fatal(reason)
	}
	if m := device.receive(); string(m.Topic) != "given/x" || m.QoS != 1 {
		t.Errorf("%s QoS %d", m.Topic, m.QoS)
	}
	for _, test := range []struct{ flag, value, want string }{
		{"--client", "device", "given/+ own/#"}, {"--topic", "given/y", "given/+"}, {"--filter", "own/#", "own/#"}, {"--search", "iv", "given/+"}, {"--client", "other", ""},
	} {
		var filters []string
		for _, r := range page[inspect.Subscription](c, "subscriptions", "list", test.flag, test.value) {
			filters = append(filters, r.Filter)
		}
		slices.Sort(filters)
		if got := strings.Join(filters, " "); got != test.want {
			t.Errorf("%s %s: %s, expected %s", test.flag, test.value, got, test.want)
		}
	}
	has(t, c.ok("subscriptions", "list"), "FILTER", "own/#")
	has(t, c.ok("subscriptions", "remove", "device", "given/+"), "unsubscribed from given/+")
	c.refused(`client "device" has no subscription with the filter "given/+"`, "subscriptions", "remove", "device", "given/+")
	c.refused(`there is no client "nobody"`, "subscription", "delete", "nobody", "given/+")
	c.refused("", "subscriptions", "add", "device", "#/a")
	c.refused("there is no client", "subscriptions", "add", "nobody", "a")
}

// TestRetainedCommands sees, exports and deletes retained messages.
func TestRetainedCommands(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	c := commander{t, s.dataDir()}
	p := v5Of(t, s, "p", nil)
	for i, payload := range []string{"21.5", "\xff\x00", "a\n\x1b[2J"} {
		p.publish(codec.Publish{Topic: codec.View("r/" + string(rune('a'+i))), Payload: codec.View(payload), QoS: 1, PacketID: uint16(i + 1), Retain: true})
		p.ack(codec.TypePuback)
	}
	rows := page[inspect.Retained](c, "retained", "list", "r/#")
	if len(rows) != 3 || rows[0].Topic != "r/a" || rows[0].Bytes != 4 {
		t.Errorf("%+v", rows)
	}
	has(t, c.ok("retained", "list"), "TOPIC", "r/a", "r/c")
	has(t, c.ok("retained", "show", "r/a"), "4 bytes\n21.5\n")
	has(t, c.ok("retained", "show", "r/b"), "ff 00")
	has(t, c.ok("retained", "show", "r/c"), "a\n"+`\x1b[2J`)
	if out := c.ok("retained", "show", "r/b", "--raw"); out != "\xff\x00" {
		t.Errorf("%q", out)
	}
	c.refused(`no message is retained on "r/x": see promptmq retained list`, "retained", "show", "r/x")
	exported := c.ok("retained", "export", "r/+")
	for line := range strings.Lines(exported) {
		if m := new(inspect.Message); json.Unmarshal([]byte(line), m) != nil || !strings.HasPrefix(m.Topic, "r/") {
			t.Errorf("line %q", line)
		}
	}
	if n := strings.Count(exported, "\n"); n != 3 {
		t.Errorf("%d lines\n%s", n, exported)
	}
	has(t, c.ok("retained", "delete", "r/#", "--dry-run"), "would be deleted: 3 retained messages")
	has(t, c.ok("retained", "delete", "r/#"), "deleted: 3 retained messages")
	has(t, c.ok("retained", "remove", "r/#"), "deleted: 0 retained messages")
	c.refused("", "retained", "delete", "r/#/x")
}

// TestLogLevelCommand sets the level of the log of a running broker.
func TestLogLevelCommand(t *testing.T) {
	t.Parallel()
	c := commander{t, start(t, "").dataDir()}
	for _, test := range [][2]string{{"", "info\n"}, {"debug", "debug, set at run time; log.level is info\n"}, {"", "debug, set at run time; log.level is info\n"}, {"configured", "info\n"}} {
		if out := c.ok(slices.DeleteFunc([]string{"log", "level", test[0]}, func(s string) bool { return s == "" })...); out != test[1] {
			t.Errorf("%q: %q, expected %q", test[0], out, test[1])
		}
	}
	c.refused("", "log", "level", "loud")
}

// TestElsewhere: what says where a broker is, and what is refused before it is asked.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, test := range []struct {
		env  []string
		args string
		code int
		want string
	}{
		{nil, "--url http://broker.example", exitUsage, "use https, or http on the machine of the broker"},
		{nil, "--url ftp://broker.example", exitUsage, "is such as https://broker.example:8443"},
		{nil, "--url https://user:canary@broker.example", exitUsage, "is such as https://broker.example:8443"},
		{nil, "--url https://127.0.0.1:1 --data-dir " + dir, exitUsage, "can't be used together"},
		{nil, "--url https://127.0.0.1:1 --token canary --token-file x", exitUsage, "can't be used together"},
		{nil, "--token canary", exitUsage, "say --url too"},
		{nil, "--url https://127.0.0.1:1 --token-file " + file("two", "a\nb"), exitUsage, "one line, which is the token"},
		{nil, "--url https://127.0.0.1:1 --ca-file " + file("ca", "none"), exitUsage, "has no certificate in PEM"},
		{nil, "--url 127.0.0.1:1", exitUsage, "say https://127.0.0.1:1"},
		{nil, "--url broker.example:8443", exitUsage, "say https://broker.example:8443"},
		{nil, "--url https://127.0.0.1:1/page", exitUsage, "without a path: say https://127.0.0.1:1\n"},
		{nil, "--url https://127.0.0.1:1:1/", exitUsage, "this is no URL"},
		{nil, "--url https://127.0.0.1:1 --token-file " + dir + "/none", exitUsage, "--token-file: open"},
		{nil, "--url https://127.0.0.1:1 --ca-file " + dir + "/none", exitUsage, "--ca-file: open"},
		{[]string{"PROMPTMQ_URL=http://127.0.0.1:1", "PROMPTMQ_TOKEN=canary"}, "", exitFailure, "127.0.0.1:1"},
		{[]string{"PROMPTMQ_URL=http://127.0.0.1:1"}, "--data-dir " + dir, exitFailure, "no broker runs on"},
	} {
		r := run(t, test.env, append([]string{"clients", "list"}, strings.Fields(test.args)...)...)
		if r.code != test.code || !strings.Contains(r.stderr, test.want) || strings.Contains(r.stderr, "canary") {
			t.Errorf("%v %s: code %d\n%s", test.env, test.args, r.code, r.stderr)
		}
	}
	// A file whose variables this shell does not have.
	if r := run(t, nil, "status", "--config", file("p.yaml", "mqtt: {max-qos: '${QOS_IS_NOT_SET}'}")); r.code != exitUsage || !strings.Contains(r.stderr, "the variable QOS_IS_NOT_SET is not set") || !strings.Contains(r.stderr, "--data-dir: say the data directory of the broker with it") {
		t.Errorf("code %d\n%s", r.code, r.stderr)
	}
	if r := run(t, nil, "status", "--url", "http://127.0.0.1:1"); r.code != exitFailure || !strings.Contains(r.stderr, "http://127.0.0.1:1: dial tcp") || strings.Contains(r.stderr, "/api/") {
		t.Errorf("code %d\n%s", r.code, r.stderr)
	}
	// A server does not mind them.
	if r := run(t, []string{"PROMPTMQ_URL=x", "PROMPTMQ_TOKEN=canary"}, "config", "print"); r.code != 0 || bytes.Contains([]byte(r.stdout+r.stderr), []byte("canary")) {
		t.Errorf("code %d\n%s", r.code, r.stderr)
	}
}

// TestElsewhereAnswers: what a broker elsewhere answers, or its certificate, and what to do about it.
func TestElsewhereAnswers(t *testing.T) {
	t.Parallel()
	certificates := t.TempDir()
	if r := run(t, nil, "cert", "self-signed", "--out", certificates, "--host", "127.0.0.1"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	cert := filepath.Join(certificates, certFile)
	plain := startAPI(t, "", new(http.Client))
	secure := startAPI(t, fmt.Sprintf(", tls-cert: %q, tls-key: %q", cert, filepath.Join(certificates, keyFile)), new(http.Client))
	trusting := secure.base + " --ca-file " + cert
	for _, test := range []struct {
		args, token string
		code        int
		want        string
	}{
		{"clients list --url " + trusting, canaryViewer, 0, ""},
		{"status --url " + trusting, canaryViewer, 0, ""},
		{"status --url " + secure.base, canaryViewer, exitFailure, "say with --ca-file which authorities to trust"},
		{"status --url " + strings.Replace(trusting, "127.0.0.1", "localhost", 1), canaryViewer, exitFailure, "say a name in the URL that the certificate has"},
		{"status --url " + strings.Replace(secure.base, "https", "http", 1), canaryViewer, exitUsage, "this port speaks TLS: say https://"},
		{"status --url " + strings.Replace(plain.base, "http", "https", 1), canaryViewer, exitUsage, "this port speaks no TLS: say http://"},
		{"status --url " + plain.base, "", exitUsage, "say --token-file FILE, or set $PROMPTMQ_TOKEN"},
		{"clients list --url " + plain.base, "", exitUsage, "say --token-file FILE, or set $PROMPTMQ_TOKEN"},
		{"clients list --url " + plain.base, "canary-of-nobody-who-is-there", exitUsage, "there is no such token"},
		{"reload --url " + plain.base, canaryViewer, exitUsage, "this needs the role admin, and yours is viewer"},
	} {
		r := run(t, []string{"PROMPTMQ_TOKEN=" + test.token}, strings.Fields(test.args)...)
		if r.code != test.code || !strings.Contains(r.stderr, test.want) || strings.Contains(r.stderr, "/api/") || strings.Contains(r.stderr, "canary") {
			t.Errorf("%s: code %d\n%s", test.args, r.code, r.stderr)
		}
	}
	plain.stop()
	secure.stop()
}
