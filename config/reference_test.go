package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	environ := []string{"A=first", "A=a", "EMPTY=", "URL=file:/x"}
	for text, want := range map[string]string{
		"${A}": "a", "x${A}y${A}": "xaya", "${EMPTY}": "", "${EMPTY:-d}": "d", "${NONE:-d}": "d", "${NONE:-}": "", "${A:-d}": "a",
		"$${A}": "${A}", "$$${A}": "$${A}", "$A": "$A", "$": "$", "${NONE:-:-}": ":-", "${URL}": "file:/x",
	} {
		if got, err := expand(text, environ); got != want || err != nil {
			t.Errorf("%s: %q, %v", text, got, err)
		}
		if back, err := expand(escaped(text), environ); back != text || err != nil {
			t.Errorf("%s, escaped: %q, %v", text, back, err)
		}
	}
	for text, want := range map[string]string{
		"${NONE}": "the variable NONE is not set; set it, or write ${NONE:-default}", "${": `"${" is no reference; it must be ${NAME}`, "${A": `"${A" is no reference`,
		"${}": `"${}" is no reference`, "${A-d}": `"${A-d}" is no reference`, "${1}": `"${1}" is no reference`, "${ A}": `"${ A}" is no reference`,
	} {
		if _, err := expand(text, environ); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

const withReferences = `log: {level: "${LEVEL}"}
mqtt:
  max-qos: ${QOS}
  retain-available: ${RETAIN:-false}
server:
  ws-origins: [same, "${ORIGIN}"]
  listeners: [{kind: tcp, address: "${HOST:-127.0.0.1}:1", max-connections: "${MAX}"}]
auth: {http: {url: "file:${DIR}/url"}, jwt: {jwks-url: "${KEYS}", issuer: "$${issuer}"}}
`

// What a value stands for is taken over, and what is printed is what was written.
func TestReferences(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "url"), []byte("https://a.example/?key=canary\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	name := write(t, withReferences)
	sources := Sources{File: name, Variables: []string{"LEVEL=warn", "QOS=1", "ORIGIN=https://b.example", "MAX=5", "DIR=" + dir, "KEYS=https://b.example/canary?key=canary"}}
	c, err := Load(sources)
	if err != nil {
		t.Fatal(err)
	}
	l := c.Broker.Listeners[0]
	if c.Log.Level != "warn" || c.Broker.MaxQoS != 1 || c.Broker.RetainAvailable || c.Broker.WSOrigins != "same,https://b.example" || l.Address != "127.0.0.1:1" || l.MaxConnections != 5 {
		t.Errorf("%+v", c)
	}
	if c.Callback.URL != "https://a.example/?key=canary" || c.Tokens.KeysURL != "https://b.example/canary?key=canary" || c.Tokens.Issuer != "${issuer}" {
		t.Errorf("%q, %q, %q", c.Callback.URL, c.Tokens.KeysURL, c.Tokens.Issuer)
	}
	var printed strings.Builder
	if err := c.WriteYAML(&printed); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`level: "${LEVEL}"`, `max-qos: "${QOS}"`, `retain-available: "${RETAIN:-false}"`, `ws-origins: "same,${ORIGIN}"`, `address: "${HOST:-127.0.0.1}:1"`,
		`max-connections: "${MAX}"`, `url: "file:${DIR}/url"`, `jwks-url: "${KEYS}"`, `issuer: "$${issuer}"`,
	} {
		if !strings.Contains(printed.String(), line+"\n") {
			t.Errorf("no %s in\n%s", line, printed.String())
		}
	}
	shown := printed.String()
	for _, s := range c.Settings() {
		shown += s.Value + "\n"
	}
	if strings.Contains(shown, "canary") || !strings.Contains(shown, "\nwarn\n") {
		t.Errorf("is shown:\n%s", shown)
	}
	again, err := Load(Sources{File: write(t, printed.String()), Variables: sources.Variables})
	if err != nil {
		t.Fatal(err)
	}
	if changed, restart := again.Take(c); len(changed)+len(restart) > 0 {
		t.Errorf("read back: %v %v", changed, restart)
	}
	// The file behind a reference is read again, and what is another reference is one afterwards.
	if err := os.WriteFile(filepath.Join(dir, "url"), []byte("https://a.example/?key=canary2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	next, err := Load(sources)
	if err != nil {
		t.Fatal(err)
	}
	if changed, _ := c.Take(next); len(changed) != 1 || changed[0] != "auth.http.url" || c.Callback.URL != "https://a.example/?key=canary2" {
		t.Errorf("%v, %q", changed, c.Callback.URL)
	}
	c.Take(Default())
	if len(c.references) > 0 { // those of what needs a restart
		t.Logf("%v", c.references)
	}
	if _, left := c.references["auth.http.url"]; left {
		t.Error("a reference is left")
	}
}

// A literal that may have a secret is shown without it, but for print, whose file is to be read back.
func TestSecretOfURL(t *testing.T) {
	c, err := Load(Sources{Environ: []string{"PROMPTMQ_AUTH_HTTP_URL=https://a.example/login?key=canary"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Settings() {
		if s.Key == "auth.http.url" && (s.Value != "https://a.example/login?(hidden)" || s.Source != "PROMPTMQ_AUTH_HTTP_URL") {
			t.Errorf("%+v", s)
		}
	}
}

func TestReferenceFaults(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"empty": " \n", "two": "https://canary.example\nhttps://canary.example\n", "no-url": "canary", "long": "https://canary.example/" + strings.Repeat("x", secretBytesMax)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	variables := []string{"SECRET=canary", "DIR=" + dir, "BLANK=https://canary.example "}
	for text, want := range map[string]string{
		"mqtt: {max-qos: '${NONE}'}":                                           "F:1: mqtt.max-qos: the variable NONE is not set",
		"\nmqtt: {max-qos: '${SECRET}'}":                                       `F:2: mqtt.max-qos: what "${SECRET}" stands for is not allowed; it must be an integer from 0 to 2`,
		"log: {level: '${SECRET}'}":                                            `F:1: log.level: what "${SECRET}" stands for is not allowed; it must be one of trace`,
		"log: {level: '${SECRET'}":                                             `F:1: log.level: "${SECRET" is no reference`,
		"storage: {data-dir: '${BLANK}'}":                                      "F:1: storage.data-dir: ends in a blank; remove it",
		"server: {listeners: [{kind: tcp, address: '${NONE}:1'}]}":             "F:1: server.listeners[0].address: the variable NONE is not set",
		"server: {listeners: [{kind: tcp, address: '${SECRET}'}]}":             "F:1: server.listeners[0].address: ",
		"auth: {http: {url: 'file:${DIR}/none'}}":                              "F:1: auth.http.url: " + dir + "/none: no such file or directory",
		"auth: {http: {url: 'file:${DIR}/empty'}}":                             "F:1: auth.http.url: " + dir + "/empty must have one line",
		"auth: {http: {url: 'file:${DIR}/two'}}":                               "F:1: auth.http.url: " + dir + "/two must have one line",
		"auth: {http: {url: 'file:${DIR}/no-url'}}":                            "F:1: auth.http.url: it is no URL with a host; it must be a URL",
		"auth: {http: {url: 'file:${DIR}/long'}}":                              "F:1: auth.http.url: " + dir + "/long is longer than the 16384 bytes",
		"auth: {http: {url: 'file:${DIR}'}}":                                   "F:1: auth.http.url: " + dir + " is not a regular file",
		"auth: {http: {url: 'file:url'}}":                                      `F:1: auth.http.url: "file:url" is not allowed; behind "file:" there must be an absolute path`,
		"auth: {http: {url: '${BLANK}'}}":                                      "F:1: auth.http.url: ends in a blank; remove it",
		"auth: {http: {url: 'https://canary.example '}}":                       "F:1: auth.http.url: ends in a blank; remove it",
		"auth: {jwt: {secret-file: 'file:/x'}}":                                `F:1: auth.jwt.secret-file: "file:/x" is not allowed; it must be the path alone, without "file:"`,
		"server: {listeners: [{kind: tls, address: ':1', key-file: file:/x}]}": `F:1: server.listeners[0].key-file: "file:/x" is not allowed; it must be the path alone`,
	} {
		name := write(t, text)
		_, err := Load(Sources{File: name, Variables: variables})
		if err == nil {
			t.Errorf("%s: accepted", text)
			continue
		}
		if got := strings.ReplaceAll(err.Error(), name, "F"); !strings.HasPrefix(got, want) || strings.Contains(got, "canary") {
			t.Errorf("%s:\n%s\nwant:\n%s", text, got, want)
		}
	}
}
