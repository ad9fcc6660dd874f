package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// sourceFaults are faults in settings of tokens and of the directory and in the files that they
// name: the file and line, and what is said. DIR is where all files are.
var sourceFaults = map[string]struct {
	yaml string
	want []string
}{
	"no key file":      {"auth:\n  jwt:\n    key-file: DIR/none.pem\n", []string{"promptmq.yaml:3: auth.jwt.key-file: stat DIR/none.pem: no such file or directory; it must be a file with public keys, as PEM"}},
	"a directory":      {"auth:\n  jwt: {secret-file: DIR}\n", []string{"promptmq.yaml:2: auth.jwt.secret-file: DIR is not a regular file; it must be a file with a secret of 32 bytes or more"}},
	"no PEM":           {"auth: {jwt: {key-file: DIR/short}}\n", []string{"short:1: auth.jwt.key-file: there is something that is neither PEM nor a JSON Web Key Set; it must be"}},
	"a private key":    {"auth: {jwt: {key-file: DIR/private.pem}}\n", []string{"private.pem:7: auth.jwt.key-file: it is a private key, which only who signs tokens should have; give the public one; it must be"}},
	"broken JSON":      {"auth: {jwt: {key-file: DIR/broken.json}}\n", []string{"broken.json:3: auth.jwt.key-file: it is no JSON Web Key Set: its JSON is broken"}},
	"no key in JSON":   {"auth: {jwt: {key-file: DIR/empty.json}}\n", []string{"empty.json: auth.jwt.key-file: it has no key that can be used"}},
	"a short secret":   {"auth: {jwt: {secret-file: DIR/short}}\n", []string{"short: auth.jwt.secret-file: a secret of 12 bytes; HS256 needs 32 or more; it must be"}},
	"two faults":       {"auth:\n  jwt:\n    key-file: DIR/none.pem\n    secret-file: DIR/short\n", []string{"promptmq.yaml:3: auth.jwt.key-file: ", "short: auth.jwt.secret-file: "}},
	"no key for it":    {"auth:\n  jwt:\n    secret-file: DIR/secret\n    algorithms: [ES256]\n", []string{"promptmq.yaml:4: auth.jwt.algorithms: there is no key for any of them; it must have one of those that there are keys for: HS256"}},
	"authorities":      {"auth: {jwt: {jwks-url: 'https://127.0.0.1:1/', jwks-ca-file: DIR/short}}\n", []string{"short: auth.jwt.jwks-ca-file: it has no certificate that can be read; it must be a file with the certificates of authorities in PEM"}},
	"of the directory": {"auth:\n  http:\n    url: 'https://127.0.0.1:1/'\n    ca-file: DIR/none.pem\n", []string{"promptmq.yaml:4: auth.http.ca-file: stat DIR/none.pem: no such file or directory; it must be a file with"}},
	"a URL":            {"auth:\n  http: {url: 'http://192.0.2.1/'}\n", []string{"promptmq.yaml:2: auth.http.url: http is for this machine only"}},
	"both":             {"auth: {jwt: {key-file: DIR/none.pem},\n  http: {url: 'https://127.0.0.1:1/', ca-file: DIR/short}}\n", []string{"promptmq.yaml:1: auth.jwt.key-file: ", "short: auth.http.ca-file: "}},
}

// TestSourceFaults: what is wrong with how others say who a client is, is told with file, line,
// key and what is allowed, by config check, at the start and at a reload, which changes
// nothing; and without what is in the files.
func TestSourceFaults(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	_, public, _ := ecKey(t)
	for name, text := range map[string]string{
		"short": "short-canary", "secret": tokenSecret, "empty.json": `{"keys": []}`, "broken.json": "{\n\"keys\":\n[canary}\n",
		"private.pem": "\n" + public + "\n-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----\n",
	} {
		s.writeFile(name, text)
	}
	good := fmt.Sprintf("auth: {jwt: {secret-file: %q}}\n", filepath.Join(s.dir, "secret"))
	s.reload(good)
	told := func(what, where, text string, want []string) {
		t.Helper()
		if strings.Contains(text, "canary") {
			t.Errorf("%s, %s: tells what is in a file: %s", what, where, text)
		}
		lines := strings.Split(strings.TrimSpace(text), "\n")
		for i, line := range want {
			if line = filepath.Join(s.dir, strings.ReplaceAll(line, "DIR", s.dir)); len(lines) != len(want) || !strings.HasPrefix(lines[i], line) {
				t.Errorf("%s, %s: %q, want %q", what, where, lines, line)
			}
		}
	}
	file := filepath.Join(s.dir, "promptmq.yaml")
	for what, fault := range sourceFaults {
		s.write(strings.ReplaceAll(fault.yaml, "DIR", s.dir))
		r := run(t, nil, "config", "check", "--files", file)
		told(what, "config check", r.stderr, fault.want)
		if r.code != exitUsage {
			t.Errorf("%s: config check exits with %d", what, r.code)
		}
		r = run(t, nil, "server", "--config", file, "--data-dir", filepath.Join(t.TempDir(), "data"), "--server-bind", "127.0.0.1:0", "--server-ws-bind", "", "--metrics-enabled=false")
		told(what, "start", r.stderr, fault.want)
		if r.code != exitUsage {
			t.Errorf("%s: the start exits with %d", what, r.code)
		}
		reloaded := s.hangup()
		told(what, "reload", strings.Join(reloaded.texts("faults"), "\n"), fault.want)
		if reloaded.text("msg") != notReloaded {
			t.Errorf("%s: %v", what, reloaded)
		}
	}
	if got := s.logIn("", issued(t, "HS256", []byte(tokenSecret), nil)); got != codec.Success {
		t.Errorf("after all that: %v", got)
	}
}
