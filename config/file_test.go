package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// write puts text into a file and returns its path.
func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "promptmq.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestFileFaults(t *testing.T) {
	const sections = "log, server, mqtt, limits, auth, storage, metrics, admin"
	tests := []struct{ name, text, want string }{
		{"misspelt key", "mqtt:\n  max-qso: 1\n", "F:2: mqtt.max-qso: unknown key; did you mean mqtt.max-qos?"},
		{"misspelt section", "sever:\n  bind: x\n", "F:1: sever: unknown key; did you mean server?"},
		{"misspelt subsection", "storage:\n  sqllite: {}\n", "F:2: storage.sqllite: unknown key; did you mean storage.sqlite?"},
		{"key of another section", "log: {}\nserver:\n  max-connections: 5\n", "F:3: server.max-connections: unknown key; did you mean mqtt.max-connections?"},
		{"unlike any", "zzzzzzzzzz: 1\n", "F:1: zzzzzzzzzz: unknown key; here are allowed " + sections},
		{"string for integer", "mqtt:\n  max-qos: \"1\"\n", "F:2: mqtt.max-qos: 1 is a string; it must be an integer from 0 to 2"},
		{"fraction", "mqtt:\n  max-qos: 1.5\n", "F:2: mqtt.max-qos: is a number with a fraction; it must be an integer from 0 to 2"},
		{"hexadecimal", "mqtt:\n  max-qos: 0x1\n", `F:2: mqtt.max-qos: "0x1" is not allowed; it must be an integer from 0 to 2`},
		{"above range", "mqtt:\n\n  max-qos: 3\n", `F:3: mqtt.max-qos: "3" is not allowed; it must be an integer from 0 to 2`},
		{"below range", "mqtt: {max-inflight: 0}\n", `F:1: mqtt.max-inflight: "0" is not allowed; it must be an integer from 1 to 65535`},
		{"beyond int64", "mqtt:\n  max-sessions: 99999999999999999999\n",
			"F:2: mqtt.max-sessions: 99999999999999999999 is a string; it must be an integer from 1 to 100000000"},
		{"word for bool", "auth:\n  allow-anonymous: yes\n", "F:2: auth.allow-anonymous: yes is a string; it must be true or false"},
		{"integer for string", "storage:\n  data-dir: 5\n", "F:2: storage.data-dir: 5 is an integer; it must be " + directory{}.allowed()},
		{"no value", "server:\n  bind:\n", `F:2: server.bind: is without a value (an empty one is written ""); it must be ` + address{}.allowed()},
		{"list", "server:\n  bind: [a]\n", "F:2: server.bind: is a list; it must be " + address{}.allowed()},
		{"list with a number", "server:\n  ws-origins: [same, 5]\n", "F:2: server.ws-origins: is a list that has something else than strings in it; it must be " + webOrigins{}.allowed()},
		{"bad entry of a list", "server:\n  ws-origins: [same, a/b]\n", `F:2: server.ws-origins: "same,a/b" is not allowed; it must be ` + webOrigins{}.allowed()},
		{"mapping for value", "log:\n  level:\n    x: 1\n", "F:3: log.level: is a mapping; it must be " + enum(levelNames).allowed()},
		{"value for section", "log: info\n", "F:1: log: must hold keys (level, format), not a value"},
		{"alias", "log:\n  level: &a info\n", "F:2: log.level: is an anchor, alias or tag; it must be " + enum(levelNames).allowed()},
		{"merge", "log:\n  <<: {level: info}\n", "F:2: log: << is not a key; one of level, format is expected"},
		{"enum", "storage:\n  sqlite:\n    synchronous: FUL\n",
			`F:3: storage.sqlite.synchronous: "FUL" is not allowed; it must be one of FULL, EXTRA, NORMAL, OFF; did you mean FULL?`},
		{"duration", "server:\n  read-timeout: 30\n", "F:2: server.read-timeout: 30 is an integer; it must be " + duration{10e6, 3600e9}.allowed()},
		{"zero duration", "server:\n  read-timeout: 0s\n", `F:2: server.read-timeout: "0s" is not allowed; it must be ` + duration{10e6, 3600e9}.allowed()},
		{"address", "server:\n  bind: localhost\n", `F:2: server.bind: "localhost" is not allowed; it must be ` + address{}.allowed()},
		{"port", "server:\n  bind: :65536\n", `F:2: server.bind: ":65536" is not allowed; it must be ` + address{}.allowed()},
		{"probe path", "metrics:\n  path: /ready\n", "F:2: metrics.path: /ready is taken by a probe; choose another path"},
		{"cluster", "cluster: {enabled: false}\n", "F:1: cluster.enabled: this version has no cluster, so that the key would have no effect; remove it"},
		{"cluster of several keys", "cluster:\n  node-id: a\n  bind: :7946\n",
			"F:2: cluster.node-id: this version has no cluster, so that the key would have no effect; remove it\n" +
				"F:3: cluster.bind: this version has no cluster, so that the key would have no effect; remove it"},
		{"empty cluster", "cluster:\n", "F:1: cluster: this version has no cluster, so that the key would have no effect; remove it"},
		{"twice", "log:\n  level: info\n  level: warn\n", "F:3: not valid YAML: mapping key \"level\" already defined at [2:3]"},
		{"tab", "log:\n\tlevel: info\n", "F:2: not valid YAML: found character '\t' that cannot start any token"},
		{"tab between", "log:\n  level: info\n\tformat: json\n", "F:3: not valid YAML: found character '\t' that cannot start any token"},
		{"UTF-16, little", "\xff\xfel\x00o\x00g\x00:\x00", "F: is UTF-16; save it as UTF-8"},
		{"UTF-16, big", "\xfe\xff\x00l\x00o\x00g\x00:", "F: is UTF-16; save it as UTF-8"},
		{"UTF-16 without a mark", "l\x00o\x00g\x00:\x00\n\x00", "F: has zero bytes, as UTF-16 has; save it as UTF-8"},
		{"Windows-1252", "log:\r\n# gr\xf6\xdfer\r\n  level: info\r\n", "F:2: is not UTF-8; save the file as UTF-8"},
		{"blank at the end", "storage:\n  data-dir: './data '\n", `F:2: storage.data-dir: "./data " ends in a blank; remove it`},
		{"blank at the beginning", "storage:\n  data-dir: ' data'\n", `F:2: storage.data-dir: " data" begins with a blank; remove it`},
		{"carriage return", "storage:\n  data-dir: \"data\\r\"\n", `F:2: storage.data-dir: "data\r" ends in a carriage return, as lines of files made on Windows do; remove it`},
		{"literal block", "storage:\n  data-dir: |\n    data\n", `F:2: storage.data-dir: "data\n" ends in a line break; remove it`},
		{"no-break space", "storage:\n  data-dir: data\u00a0\n", `F:2: storage.data-dir: "data\u00a0" ends in a no-break space (U+00A0); remove it`},
		{"zero width", "log:\n  level: info\u200b\n", `F:2: log.level: "info\u200b" ends in an invisible character (U+200B); remove it`},
		{"no-break space after an integer", "mqtt:\n  max-qos: 1\u00a0\n", "F:2: mqtt.max-qos: 1\u00a0 is a string; it must be an integer from 0 to 2; the line has a no-break space (U+00A0)"},
		{"no-break space before a value", "log:\n  level:\u00a0info\n", "F:2: log: must hold keys (level, format), not a value; the line has a no-break space (U+00A0)"},
		{"no-break space before a key", "log:\n \u00a0level: info\n", "F:2: log.\u00a0level: unknown key; did you mean log.level?; the line has a no-break space (U+00A0)"},
		{"no-break space after a section", "log:\u00a0\n  level: info\n", "F:1: not valid YAML: unexpected key name; the line has a no-break space (U+00A0)"},
		{"control character", "storage:\n  data-dir: \"a\\nb\"\n", `F:2: storage.data-dir: "a\nb" is not allowed; it must be ` + directory{}.allowed()},
		{"two documents", "log:\n  level: info\n---\nlog: {}\n", "F:4: a second YAML document; only one is allowed"},
		{"list at the top", "- log\n", "F:1: must hold keys (" + sections + "), not a value"},
		{"all faults", "log:\n  levle: info\nmqtt:\n  max-qos: 9\n  keep-alive: x\n",
			"F:2: log.levle: unknown key; did you mean log.level?\n" +
				"F:4: mqtt.max-qos: \"9\" is not allowed; it must be an integer from 0 to 2\n" +
				"F:5: mqtt.keep-alive: x is a string; it must be an integer from 0 to 65535"},
		{"no listener", "server:\n  bind: \"\"\n  ws-bind: \"\"\n", "F:2: server.bind: is empty, so is server.ws-bind, and server.listeners has none: no client could connect"},
		{"one socket twice", "server:\n  ws-bind: :1883\nmetrics:\n  bind: 0.0.0.0:1883\n",
			"F:2: server.ws-bind: is the address of server.bind too\n" +
				"F:4: metrics.bind: is the address of server.bind too\n" +
				"F:4: metrics.bind: is the address of server.ws-bind too"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			name := write(t, test.text)
			_, err := Load(Sources{File: name})
			if err == nil {
				t.Fatal("accepted")
			}
			if got := strings.ReplaceAll(err.Error(), name, "F"); got != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, test.want)
			}
		})
	}
}

func TestFileUnreadable(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "some.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(Sources{File: filepath.Join(dir, "some.yaml\r")})
	if err == nil || !strings.HasSuffix(err.Error(), `some.yaml\r": no such file or directory; the name ends in a carriage return, as lines of files made on Windows do`) {
		t.Error(err)
	}
	missing := filepath.Join(dir, "none.yaml")
	for name, want := range map[string]string{missing: "no such file", dir: "is a directory"} {
		_, err := Load(Sources{File: name})
		if err == nil || !strings.HasPrefix(err.Error(), name+": ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = Load(Sources{File: write(t, strings.Repeat("#\n", fileBytesMax/2+1))})
	if err == nil || !strings.Contains(err.Error(), "is longer than the") {
		t.Errorf("long file: %v", err)
	}
}

func TestFileAccepted(t *testing.T) {
	for name, text := range map[string]string{
		"empty":           "",
		"comment":         "# nothing\n",
		"empty section":   "log:\nserver: {}\n",
		"other case":      "storage:\n  sqlite:\n    synchronous: full\n    journal-mode: wal\n",
		"quoted key":      "\"log\": {'level': 'info'}\n",
		"listener off":    "server:\n  ws-bind: \"\"\n",
		"free ports":      "server: {bind: ':0', ws-bind: ':0'}\nmetrics: {bind: ':0'}\n",
		"byte order mark": "\ufefflog:\n  level: info\n",
		"only a mark":     "\ufeff",
		"CRLF":            "\ufefflog:\r\n  # größer\r\n  level: info # it is\r\n\r\nmqtt: {max-qos: 1}\r\nauth:\r\n  allow-anonymous: true\r\n",
		"CR":              "log:\r  level: info\r",
		"comments":        "log: # a\u00a0b\n  level: info\n",
		"metrics unused":  "metrics:\n  enabled: false\n  bind: 0.0.0.0:1883\n",
	} {
		if _, err := Load(Sources{File: write(t, text)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// No file, however malformed, makes the reader panic, and what it accepts
// prints and reads back.
func FuzzFile(f *testing.F) {
	f.Add("log:\n  level: info\nmqtt: {max-qos: 1, keep-alive: 0}\n")
	f.Add("storage:\n  sqlite:\n    cache-size: -2000\n  cleanup: {a: [1, {b: *c}]}\n")
	f.Add(oneOfEach)
	f.Add("? a\n: b\n<<: &x {y: !!str 5}\n--- |\n  text\n")
	f.Fuzz(func(t *testing.T, text string) {
		c := Default()
		if len(c.readYAML("F", []byte(text))) > 0 {
			return
		}
		var out strings.Builder
		if err := c.WriteYAML(&out); err != nil {
			t.Fatal(err)
		}
		again := Default()
		if errs := again.readYAML("F", []byte(out.String())); len(errs) > 0 {
			t.Fatalf("%v\n%s", errs, out.String())
		}
		for i := range keys {
			if a, b := c.text(&keys[i]), again.text(&keys[i]); a != b {
				t.Errorf("%s: %q, read back %q", keys[i].path, a, b)
			}
		}
	})
}
