package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/x0a1b/promptmq/codec"
)

// settable has for every key another value than its default, as YAML.
var settable = map[string]string{
	"log.level": `"debug"`, "log.format": `"console"`,
	"server.bind": `"127.0.0.1:1"`, "server.ws-bind": `""`, "server.read-timeout": `"5s"`, "server.read-rate-min": "500", "server.connect-timeout": `"6s"`, "server.ws-origins": `"same,https://*.example.com"`, "server.write-timeout": `"1m30s"`, "server.ws-ping-interval": `"20s"`,
	"server.listeners":   `[{kind: unix, address: "/run/mqtt.sock", name: "local", max-connections: 5, anonymous: "no", mode: "0660"}]`,
	"server.read-buffer": "8192", "server.write-buffer": "16384", "server.shutdown-notice": "true", "server.shutdown-rate": "500",
	"mqtt.max-qos": "1", "mqtt.max-connections": "7", "mqtt.max-inflight": "8", "mqtt.receive-maximum": "9",
	"mqtt.keep-alive": "600", "mqtt.retain-available": "false", "mqtt.wildcard-available": "false", "mqtt.shared-sub-available": "false",
	"mqtt.max-packet-size": "268435455", "mqtt.topic-alias-maximum": "0", "mqtt.max-topic-levels": "11", "mqtt.max-subscriptions": "12",
	"mqtt.max-sessions": "13", "mqtt.max-queued-messages": "14", "mqtt.max-queued-bytes": "1125899906842624",
	"mqtt.will-grace": `"1m0s"`, "mqtt.max-retained-messages": "16", "mqtt.max-retained-bytes": "17000",
	"mqtt.sys-interval": `"15s"`, "mqtt.max-user-properties": "100", "limits.memory": "100000000", "limits.connection-rate": "100", "limits.connection-rate-per-address": "10",
	"limits.message-rate": "50", "limits.byte-rate": "100000", "limits.sessions-per-user": "5", "limits.retained-messages-per-user": "6", "limits.retained-bytes-per-user": "7000",
	"auth.allow-anonymous": "true",
	"auth.password-file":   `"/etc/mqtt users"`, "auth.remember-password": `"0s"`, "auth.hashing.workers": "3", "auth.hashing.waiting": "64", "auth.backoff-max": `"5s"`,
	"auth.ban.failures": "0", "auth.ban.window": `"1m0s"`, "auth.ban.time": `"2h0m0s"`, "auth.ban.exempt": `"172.17.0.1/32,fd00::/8"`,
	"auth.jwt.key-file": `"/etc/keys.pem"`, "auth.jwt.secret-file": `"/etc/secret"`, "auth.jwt.jwks-url": `"https://issuer.example/keys"`, "auth.jwt.jwks-ca-file": `"/etc/ca.pem"`,
	"auth.jwt.jwks-refresh": `"1h0m0s"`, "auth.jwt.algorithms": `"ES256,RS256"`, "auth.jwt.issuer": `"https://issuer.example"`, "auth.jwt.audience": `"mqtt"`, "auth.jwt.leeway": `"5s"`,
	"auth.jwt.require-expiry": "false", "auth.jwt.user-claim": `"name"`, "auth.jwt.groups-claim": `"roles"`, "auth.jwt.rules-claim": `""`, "auth.jwt.match-user": "false",
	"auth.http.url": `"http://127.0.0.1:8000/login"`, "auth.http.ca-file": `"/etc/ca.pem"`, "auth.http.timeout": `"2s"`, "auth.http.max-concurrent": "8", "auth.http.cache-time": `"0s"`,
	"auth.http.cache-deny-time": `"1s"`, "auth.http.cache-size": "100", "auth.http.breaker-failures": "2", "auth.http.breaker-pause": `"1s"`,
	"auth.rules-file": `"/etc/promptmq/rules"`, "auth.acl-file": `"/etc/mosquitto/acl"`,
	"storage.data-dir": `"/var/lib/prompt mq"`, "storage.max-size": "2000000",
	"storage.cleanup.check-interval": `"7m0s"`, "storage.cleanup.max-message-age": `"48h0m0s"`, "storage.cleanup.batch-size": "77",
	"mqtt.queue-policy": `"reject"`, "mqtt.max-session-expiry": "86400", "storage.sqlite.cache-size": "-2000", "storage.sqlite.temp-store": `"FILE"`,
	"storage.sqlite.mmap-size": "0", "storage.sqlite.busy-timeout": "250", "storage.sqlite.synchronous": `"EXTRA"`,
	"storage.sqlite.journal-mode": `"DELETE"`, "storage.sqlite.foreign-keys": "false",
	"metrics.enabled": "false", "metrics.bind": `"127.0.0.1:2"`, "metrics.path": `"/prom"`,
	"admin.bind": `"127.0.0.1:3"`, "admin.tls-cert": `"/etc/cert.pem"`, "admin.tls-key": `"/etc/key.pem"`, "admin.tokens-file": `"/etc/tokens"`,
}

func flagOf(path string) string {
	return "--" + strings.ReplaceAll(strings.TrimPrefix(path, "storage."), ".", "-")
}

func variableOf(path string) string {
	return "PROMPTMQ_" + strings.ToUpper(strings.ReplaceAll(strings.TrimPrefix(flagOf(path), "--"), "-", "_"))
}

// plain is a YAML value as it stands in a variable or flag.
func plain(value string) string { return strings.Trim(value, `"`) }

// shown is a YAML value as printed has it.
func shown(t *testing.T, literal string) string {
	t.Helper()
	var value any
	if err := yaml.Unmarshal([]byte(literal), &value); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(value)
}

// printed returns the effective configuration by path, and checks that
// `config check` accepts what was printed.
func printed(t *testing.T, env []string, args ...string) map[string]string {
	t.Helper()
	r := run(t, env, append([]string{"config", "print"}, args...)...)
	if r.code != 0 {
		t.Fatalf("config print: exit code %d\n%s", r.code, r.stderr)
	}
	name := yamlFile(t, r.stdout)
	if check := run(t, nil, "config", "check", name); check.code != 0 || check.stdout != name+": ok\n" {
		t.Errorf("config check of what was printed: exit code %d\n%s%s", check.code, check.stdout, check.stderr)
	}
	var tree map[string]any
	if err := yaml.Unmarshal([]byte(r.stdout), &tree); err != nil {
		t.Fatal(err)
	}
	values := make(map[string]string)
	flatten(values, "", tree)
	return values
}

func flatten(values map[string]string, path string, tree map[string]any) {
	for name, v := range tree {
		if sub, ok := v.(map[string]any); ok {
			flatten(values, path+name+".", sub)
		} else {
			values[path+name] = fmt.Sprint(v)
		}
	}
}

func yamlFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "promptmq.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// yamlOf writes values by path as a file.
func yamlOf(t *testing.T, values map[string]string) string {
	t.Helper()
	tree := make(map[string]any)
	for path, literal := range values {
		sections := strings.Split(path, ".")
		section := tree
		for _, name := range sections[:len(sections)-1] {
			if section[name] == nil {
				section[name] = make(map[string]any)
			}
			section = section[name].(map[string]any)
		}
		var value any
		if err := yaml.Unmarshal([]byte(literal), &value); err != nil {
			t.Fatal(err)
		}
		section[sections[len(sections)-1]] = value
	}
	text, err := yaml.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every key is taken from the file, from its variable and from its flag.
func TestEveryKeyFromEverySource(t *testing.T) {
	unraced(t)
	t.Parallel()
	defaults := printed(t, nil)
	for key := range defaults {
		if settable[key] == "" {
			t.Errorf("settable has no other value than the default for %s: add one, as YAML", key)
		}
	}
	for key := range settable {
		if _, found := defaults[key]; !found {
			t.Errorf("settable has %s, which is no key", key)
		}
	}
	if t.Failed() {
		return
	}
	var env, flags []string
	for path, value := range settable {
		if defaults[path] == plain(value) {
			t.Errorf("%s: %s is its default", path, value)
		}
		env = append(env, variableOf(path)+"="+plain(value))
		flags = append(flags, flagOf(path)+"="+plain(value))
	}
	for source, got := range map[string]map[string]string{
		"file":      printed(t, nil, "--config", yamlFile(t, yamlOf(t, settable))),
		"variables": printed(t, env),
		"flags":     printed(t, nil, flags...),
		"the file that a variable names": printed(t, []string{
			"PROMPTMQ_CONFIG=" + yamlFile(t, yamlOf(t, settable)),
		}),
	} {
		for path, want := range settable {
			if want := shown(t, want); got[path] != want {
				t.Errorf("%s from %s: %q, want %q", path, source, got[path], want)
			}
		}
	}
}

// Flag before variable before file before default, for a key of each type.
func TestPrecedence(t *testing.T) {
	unraced(t)
	t.Parallel()
	tests := []struct{ path, file, variable, flag string }{
		{"log.level", `"warn"`, "debug", "trace"},
		{"server.bind", `"127.0.0.1:1"`, "127.0.0.1:2", ""},
		{"server.read-timeout", `"1s"`, "2s", "3s"},
		{"mqtt.max-connections", "1", "2", "3"},
		{"mqtt.retain-available", "false", "true", "false"},
		{"storage.data-dir", `"a"`, "b", "c"},
		{"storage.sqlite.mmap-size", "1", "2", "0"},
		{"storage.sqlite.busy-timeout", "1", "2", "3"},
		{"metrics.path", `"/a"`, "/b", "/c"},
	}
	for _, test := range tests {
		t.Run(test.path, func(t *testing.T) {
			t.Parallel()
			file := yamlFile(t, yamlOf(t, map[string]string{test.path: test.file}))
			env := []string{variableOf(test.path) + "=" + test.variable}
			flag := flagOf(test.path) + "=" + test.flag
			for _, step := range []struct {
				got  map[string]string
				want string
			}{
				{printed(t, nil, "--config", file), plain(test.file)},
				{printed(t, env, "--config", file), test.variable},
				{printed(t, env, "--config", file, flag), test.flag},
				{printed(t, env, flag), test.flag},
				{printed(t, nil, "--config", file, flag), test.flag},
			} {
				if step.got[test.path] != step.want {
					t.Errorf("%q, want %q", step.got[test.path], step.want)
				}
			}
		})
	}
}

func TestConfigCheck(t *testing.T) {
	unraced(t)
	t.Parallel()
	name := yamlFile(t, "log:\n  level: info\nmqtt:\n  max-conections: 5\n  max-qos: 7\ncluster:\n  enabled: true\n")
	r := run(t, nil, "config", "check", name)
	want := name + ":4: mqtt.max-conections: unknown key; did you mean mqtt.max-connections?\n" +
		name + ":5: mqtt.max-qos: \"7\" is not allowed; it must be an integer from 0 to 2\n" +
		name + ":7: cluster.enabled: this version has no cluster, so that the key would have no effect; remove it\n"
	if r.code != exitUsage || r.stderr != want || r.stdout != "" {
		t.Errorf("exit code %d\ngot:\n%s\nwant:\n%s", r.code, r.stderr, want)
	}
	// Only the file is checked, not the environment of who checks it.
	name = yamlFile(t, "log:\n  level: info\n")
	if r := run(t, []string{"PROMPTMQ_LOG_LEVEL=x"}, "config", "check", name); r.code != 0 {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
}

// A wrong setting of any source ends the start before anything is opened.
func TestWrongSettingOpensNothing(t *testing.T) {
	unraced(t)
	t.Parallel()
	for name, test := range map[string]struct {
		yaml string
		env  []string
		args []string
		want string
	}{
		"file":             {yaml: "log:\n  levl: info\n", want: ":2: log.levl: unknown key; did you mean log.level?"},
		"variable":         {env: []string{"PROMPTMQ_MQTT_MAX_QOS=3"}, want: "PROMPTMQ_MQTT_MAX_QOS: mqtt.max-qos: \"3\" is not allowed"},
		"variable name":    {env: []string{"PROMPTMQ_MQTT_MAXQOS=1"}, want: "PROMPTMQ_MQTT_MAXQOS: no setting has this variable; did you mean PROMPTMQ_MQTT_MAX_QOS?"},
		"flag":             {args: []string{"--mqtt-max-qos=3"}, want: "--mqtt-max-qos: mqtt.max-qos: \"3\" is not allowed"},
		"flag name":        {args: []string{"--mqtt-maxqos=3"}, want: `unknown flag --mqtt-maxqos, did you mean "--mqtt-max-qos"?`},
		"variable refused": {env: []string{"PROMPTMQ_CLUSTER_ENABLED=true"}, want: "PROMPTMQ_CLUSTER_ENABLED: this version has no cluster"},
		"flag refused":     {args: []string{"--cluster-enabled=true"}, want: "unknown flag --cluster-enabled: this version has no cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			data := filepath.Join(t.TempDir(), "data")
			args := append([]string{"server", "--config", yamlFile(t, test.yaml), "--data-dir", data}, test.args...)
			r := run(t, test.env, args...)
			if r.code != exitUsage || !strings.Contains(r.stderr, test.want) {
				t.Errorf("exit code %d\n%s\nwant %s", r.code, r.stderr, test.want)
			}
			if _, err := os.Stat(data); !os.IsNotExist(err) {
				t.Errorf("the data directory exists: %v", err)
			}
		})
	}
}

// With --files the files are looked at that the file names.
func TestConfigCheckFiles(t *testing.T) {
	unraced(t)
	t.Parallel()
	dir := t.TempDir()
	rules := filepath.Join(dir, "rules")
	if err := os.WriteFile(rules, []byte("alow\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	name := yamlFile(t, fmt.Sprintf("auth: {rules-file: %q}\nserver:\n  listeners:\n  - {kind: tls, address: ':1', cert-file: %q, key-file: k}\n", rules, filepath.Join(dir, "none.pem")))
	if r := run(t, nil, "config", "check", name); r.code != 0 {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	r := run(t, nil, "config", "check", "--files", name)
	faults := strings.Split(strings.TrimSpace(r.stderr), "\n")
	if r.code != exitUsage || len(faults) != 2 || !strings.HasPrefix(faults[0], name+":4: server.listeners[0].cert-file: ") || !strings.HasPrefix(faults[1], rules+":1: auth.rules-file: ") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
}

func TestExamples(t *testing.T) {
	unraced(t)
	t.Parallel()
	files, err := filepath.Glob("../../examples/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("%v %v", files, err)
	}
	for _, name := range files {
		if r := run(t, nil, "config", "check", name); r.code != 0 {
			t.Errorf("%s: exit code %d\n%s", name, r.code, r.stderr)
		}
	}
}

func TestHelpAndVersion(t *testing.T) {
	unraced(t)
	t.Parallel()
	if r := run(t, nil, "--help"); r.code != 0 || !strings.Contains(r.stdout, "config check") {
		t.Errorf("--help: exit code %d\n%s", r.code, r.stdout)
	}
	r := run(t, nil, "server", "--help")
	for path := range settable {
		// A narrow terminal breaks lines, but not inside a name.
		if !strings.Contains(r.stdout, flagOf(path)) || !strings.Contains(r.stdout, "$"+variableOf(path)) {
			t.Errorf("server --help has no %s", path)
		}
	}
	if r := run(t, nil, "version"); r.code != 0 || !regexp.MustCompile(`^promptmq \d+\.\d+\.\d+ \(commit [^()]+\) go\S+ \S+/\S+\n$`).MatchString(r.stdout) {
		t.Errorf("version: exit code %d\n%s", r.code, r.stdout)
	}
	for _, args := range [][]string{{}, {"srever"}, {"config"}, {"config", "check"}} {
		if r := run(t, nil, args...); r.code != exitUsage || r.stderr == "" {
			t.Errorf("%q: exit code %d\n%s", args, r.code, r.stderr)
		}
	}
}

// What explain says of a key is what help, documentation and print say of it: TestEveryKey. Here
// is how it says it.
func TestConfigExplain(t *testing.T) {
	unraced(t)
	t.Parallel()
	want := `mqtt.max-packet-size

Largest packet in bytes that clients may send.

default    1048576
unit       bytes
allowed    an integer from 512 to 268435455
flag       --mqtt-max-packet-size
variable   PROMPTMQ_MQTT_MAX_PACKET_SIZE
a change   needs a restart
`
	for _, name := range []string{"mqtt.max-packet-size", "mqtt-max-packet-size", "--mqtt-max-packet-size", "PROMPTMQ_MQTT_MAX_PACKET_SIZE"} {
		if r := run(t, nil, "config", "explain", name); r.code != 0 || r.stdout != want {
			t.Errorf("%s: exit code %d\n%s%s", name, r.code, r.stdout, r.stderr)
		}
	}
	if r := run(t, nil, "config", "explain", "log"); r.code != 0 || !strings.HasPrefix(r.stdout, "log.level   reload   Least severe") || strings.Count(r.stdout, "\n") != 2 {
		t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if r := run(t, nil, "config", "explain", "log.levl"); r.code != exitUsage || !strings.Contains(r.stderr, "did you mean log.level?") {
		t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if r := run(t, nil, "config", "explain", "--json", "--log-level"); r.code != 0 || !strings.HasPrefix(r.stdout, `[{"key":"log.level",`) {
		t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if r := run(t, nil, "config", "explain", "--log-levl"); r.code != exitUsage || !strings.Contains(r.stderr, "did you mean log-level?") {
		t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}

// A reference is resolved by check, server and print, and what is behind it is shown nowhere.
func TestConfigReferences(t *testing.T) {
	unraced(t)
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(secret, []byte("http://127.0.0.1:1/?key=canary\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("mqtt: {max-qos: '${QOS}'}\nauth: {http: {url: 'file:%s'}}\n", secret)
	name := yamlFile(t, text)
	if r := run(t, nil, "config", "check", name); r.code != exitUsage || r.stderr != name+":1: mqtt.max-qos: the variable QOS is not set; set it, or write ${QOS:-default}\n" {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	env := []string{"QOS=1"}
	if r := run(t, env, "config", "check", name); r.code != 0 {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	for _, from := range [][]string{{"--config", name}, {"--auth-http-url", "file:" + secret, "--config", yamlFile(t, "mqtt: {max-qos: '${QOS}'}")}} {
		r := run(t, env, append([]string{"config", "print"}, from...)...)
		if r.code != 0 || !strings.Contains(r.stdout, "  max-qos: \"${QOS}\"\n") || !strings.Contains(r.stdout, "    url: \"file:"+secret+"\"\n") || strings.Contains(r.stdout, "canary") {
			t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
		}
	}
	s := startBinary(t, binary, env, text+"log: {level: trace}\n")
	if _, ack := connectRaw(t, s.mqtt, codec.Version5, "c", nil); ack.MaximumQoS != 1 || !ack.HasMaximumQoS {
		t.Errorf("%+v", ack)
	}
	s.logIn("ann", "password") // the directory does not answer
	if err := os.Remove(secret); err != nil {
		t.Fatal(err)
	}
	if r := run(t, nil, "reload", "--data-dir", s.dataDir()); r.code != exitUsage || !strings.Contains(r.stderr, "promptmq.yaml:2: auth.http.url: "+secret+": no such file or directory") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	_, metrics := s.get("/metrics")
	s.stop()
	if log := strings.Join(s.lines, "\n"); strings.Contains(log+metrics, "canary") || !strings.Contains(log, "auth.http.url") {
		t.Errorf("the log:\n%s", log)
	}
}
